//! Messages of a CSV file, sent as a stream: each row has its own key, so that the same command with the same key is
//! safe to repeat.

mod rows;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::anyhow;
use futures_util::stream;
use herald_sdk::{Acknowledged, Error, v1};
use serde_json::{Value, json};

use crate::cli::connect::{Global, Output};
use crate::cli::exit::{Failed, REFUSED, error_json, summary};
use crate::cli::output::{self, Json};
use rows::{Row, Rows};

/// What became of the file.
#[derive(Default)]
struct Tally {
    accepted: u64,
    replayed: u64,
    refused: u64,
    /// For one JSON value at the end.
    outcomes: Vec<Value>,
}

pub async fn run(
    global: &Global,
    file: PathBuf,
    options: v1::SendMessageRequest,
    key: String,
) -> Result<(), Failed> {
    // Before the first is sent, all can be read: a mistake in row 1,000 is no reason to send 999.
    let open = || Rows::open(&file, options.clone(), key.clone()).map_err(|error| Failed::new(2, error));
    for row in open()? {
        row.map_err(|error| Failed::new(2, error))?;
    }
    let broken = Arc::new(Mutex::new(None));
    let messages = stream::iter(until_broken(open()?, broken.clone()));
    let mut volume = global.client()?.send_stream(messages);
    let mut tally = Tally::default();
    eprintln!("the key is {key}: with --key {key} the same command can be repeated, and sends nothing twice");
    while let Some(next) = volume.next().await {
        match next {
            Ok(acknowledged) => tally.tell(global.output, &acknowledged)?,
            Err(error) => {
                tally.sum_up(global.output, &key)?;
                let left = volume.unacknowledged().count();
                let failed = Failed::from(error);
                let hint = format!("  {left} rows or more are not acknowledged; repeat with --key {key}");
                return Err(Failed::new(failed.code, anyhow!("{}\n{hint}", failed.error)));
            }
        }
    }
    tally.sum_up(global.output, &key)?;
    if let Some(error) = broken.lock().expect("nobody panics with it").take() {
        return Err(Failed::new(1, error));
    }
    match tally.refused {
        0 => Ok(()),
        refused => Err(Failed::new(REFUSED, anyhow!("{refused} of the messages were refused"))),
    }
}

/// The messages; a file that changed meanwhile, and cannot be read on, ends them.
fn until_broken(
    rows: impl Iterator<Item = anyhow::Result<Row>>,
    broken: Arc<Mutex<Option<anyhow::Error>>>,
) -> impl Iterator<Item = v1::SendMessageRequest> {
    rows.map_while(move |row| match row {
        Ok(row) => Some(row.message),
        Err(error) => {
            *broken.lock().expect("nobody panics with it") = Some(error);
            None
        }
    })
}

impl Tally {
    fn tell(&mut self, mode: Output, acknowledged: &Acknowledged) -> Result<(), Failed> {
        match &acknowledged.outcome {
            Ok(accepted) => {
                self.accepted += 1;
                self.replayed += u64::from(accepted.replayed);
            }
            Err(_) => self.refused += 1,
        }
        match mode {
            Output::Table => output::line(&outcome_line(acknowledged)),
            Output::Jsonl => output::value(mode, &outcome_json(acknowledged)?),
            Output::Json => {
                self.outcomes.push(outcome_json(acknowledged)?);
                Ok(())
            }
        }
    }

    fn sum_up(&mut self, mode: Output, key: &str) -> Result<(), Failed> {
        let Self { accepted, replayed, refused, outcomes } = self;
        match mode {
            Output::Table => {
                output::line(&format!("accepted {accepted} (of which before: {replayed}), refused {refused}"))
            }
            Output::Json => output::value(
                mode,
                &json!({
                    "idempotencyKey": key,
                    "outcomes": std::mem::take(outcomes),
                    "acceptedCount": accepted,
                    "replayedCount": replayed,
                    "refusedCount": refused,
                }),
            ),
            Output::Jsonl => Ok(()),
        }
    }
}

fn outcome_line(acknowledged: &Acknowledged) -> String {
    let row = row_of(acknowledged);
    match &acknowledged.outcome {
        Ok(accepted) => {
            let parts = if accepted.part_count == 1 { "part" } else { "parts" };
            let before = if accepted.replayed { "  accepted before" } else { "" };
            format!(
                "row {row}  {}  {}  {} {parts}  {}{before}",
                output::status_name(accepted.status()),
                accepted.message_id,
                accepted.part_count,
                output::money(accepted.price_micros),
            )
        }
        Err(error) => format!("row {row}  REFUSED  {}", output::visible(&summary(error))),
    }
}

fn outcome_json(acknowledged: &Acknowledged) -> anyhow::Result<Value> {
    let (row, key) = (row_of(acknowledged), &acknowledged.idempotency_key);
    let outcome = |name: &str, value: Value| json!({"row": row, "idempotencyKey": key, name: value});
    let told: Result<&v1::Accepted, &Error> = acknowledged.outcome.as_ref();
    Ok(match told {
        Ok(accepted) => outcome("accepted", serde_json::to_value(Json::new("Accepted", accepted)?)?),
        Err(error) => outcome("error", error_json(error)),
    })
}

/// The row's number, which its key ends with.
fn row_of(acknowledged: &Acknowledged) -> u64 {
    let number = acknowledged.idempotency_key.rsplit_once('/').map(|(_, row)| row);
    number.and_then(|row| row.parse().ok()).unwrap_or_default()
}
