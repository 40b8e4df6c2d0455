//! `herald dead-letters`: messages that ended by exhaustion, and sending them again.

use anyhow::anyhow;
use herald_sdk::{Client, v1};
use prost_types::Timestamp;

use super::choice::{self, Reason};
use super::connect::{Global, Output};
use super::exit::{Failed, REFUSED, summary};
use super::output;
use super::page::{Limit, Shape};
use super::parse;

/// Most letters of one replay.
const LETTERS: usize = 100;

/// What to do with dead letters.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List dead letters, newest first: of the client of --client, or all.
    List(ListArgs),
    /// Send dead letters again, each as a new message. Exit code 3: some were refused.
    Replay(ReplayArgs),
}

/// Arguments of `herald dead-letters list`.
#[derive(clap::Args)]
pub struct ListArgs {
    /// Only of this provider.
    #[arg(long)]
    provider: Option<String>,
    /// Only with this reason.
    #[arg(long, value_enum, ignore_case = true)]
    reason: Option<Reason>,
    /// Only those that ended then or later: an RFC 3339 time, or a span before now such as 1h.
    #[arg(long, value_name = "TIME", value_parser = parse::time_ago)]
    since: Option<Timestamp>,
    /// Only those that ended before.
    #[arg(long, value_name = "TIME", value_parser = parse::time_ago)]
    until: Option<Timestamp>,
    /// Only those that were not replayed.
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    limit: Limit,
}

/// Arguments of `herald dead-letters replay`.
#[derive(clap::Args)]
pub struct ReplayArgs {
    /// The messages' ids.
    #[arg(required = true, value_name = "ID", num_args = 1..=LETTERS)]
    ids: Vec<String>,
    /// Also those whose recipient may have got them.
    #[arg(long)]
    accept_duplicate_risk: bool,
    /// Only tell what would be done.
    #[arg(long)]
    dry_run: bool,
}

const LETTERS_SHAPE: Shape<v1::DeadLetter> = Shape {
    name: "DeadLetter",
    header: &["ID", "CLIENT", "TO", "ENDED", "FAILURE", "OUTCOME UNKNOWN", "REPLAYED AS"],
    row,
};

pub async fn run(global: &Global, command: Command) -> Result<(), Failed> {
    let operator = global.operator()?;
    match command {
        Command::List(args) => list(global, &operator, args).await,
        Command::Replay(args) => replay(global.output, &operator, args).await,
    }
}

async fn list(global: &Global, operator: &Client, args: ListArgs) -> Result<(), Failed> {
    let filter = v1::ListDeadLettersRequest {
        client_id: global.subject(),
        provider: args.provider.unwrap_or_default(),
        reason: choice::or_unspecified(args.reason),
        created_after: args.since,
        created_before: args.until,
        open_only: args.open,
        ..Default::default()
    };
    let fetch = async |page_size, page_token| {
        let request = v1::ListDeadLettersRequest { page_size, page_token, ..filter.clone() };
        operator.list_dead_letters(request).await.map(|page| (page.dead_letters, page.next_page_token))
    };
    LETTERS_SHAPE.list(global.output, &args.limit, fetch).await
}

async fn replay(mode: Output, operator: &Client, args: ReplayArgs) -> Result<(), Failed> {
    let request = v1::ReplayDeadLettersRequest {
        message_ids: args.ids.clone(),
        accept_duplicate_risk: args.accept_duplicate_risk,
        validate_only: args.dry_run,
    };
    let answer = operator.replay_dead_letters(request).await?;
    match mode {
        Output::Table => {
            let rows = args.ids.iter().zip(&answer.outcomes);
            let rows: Vec<_> = rows.map(|(id, outcome)| outcome_row(id, outcome, args.dry_run)).collect();
            output::line(&output::table(&["ID", "OUTCOME", "PARTS", "PRICE"], &rows))?;
        }
        mode => output::json(mode, "ReplayDeadLettersResponse", &answer)?,
    }
    let is_refused = |outcome: &&v1::SendOutcome| error_of(outcome).is_some();
    match answer.outcomes.iter().filter(is_refused).count() {
        0 => Ok(()),
        refused => Err(Failed::new(REFUSED, anyhow!("{refused} of the letters were refused"))),
    }
}

fn error_of(outcome: &v1::SendOutcome) -> Option<herald_sdk::Error> {
    match &outcome.outcome {
        Some(v1::send_outcome::Outcome::Error(error)) => Some(error.clone().into()),
        _ => None,
    }
}

fn outcome_row(id: &str, outcome: &v1::SendOutcome, is_dry: bool) -> Vec<String> {
    if let Some(error) = error_of(outcome) {
        return vec![id.to_owned(), summary(&error)];
    }
    let Some(v1::send_outcome::Outcome::Accepted(accepted)) = &outcome.outcome else {
        return vec![id.to_owned()];
    };
    let told = match (accepted.message_id.as_str(), accepted.replayed) {
        ("", _) if is_dry => "would be sent".to_owned(),
        (new, true) => format!("sent before as {new}"),
        (new, false) => format!("sent as {new}"),
    };
    vec![id.to_owned(), told, accepted.part_count.to_string(), output::money(accepted.price_micros)]
}

fn row(letter: &v1::DeadLetter) -> Vec<String> {
    let message = letter.message.clone().unwrap_or_default();
    vec![
        message.id.clone(),
        letter.client_id.clone(),
        message.to.clone(),
        output::time(letter.time.as_ref()),
        output::failure(message.failure.as_ref()),
        output::yes(letter.has_unknown_attempt),
        letter.replayed_as.clone(),
    ]
}
