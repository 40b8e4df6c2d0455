//! `herald messages list` and `herald messages get ID`.

use herald_sdk::{Client, v1};

use super::connect::{Global, Output};
use super::exit::Failed;
use super::output::{self, Json};

/// Most messages on a page.
const PAGE: usize = 500;

/// What to do with messages.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List messages, newest first.
    List(ListArgs),
    /// Show one message with its parts and its history.
    Get {
        /// The message's id.
        id: String,
    },
}

/// Arguments of `herald messages list`.
#[derive(clap::Args)]
pub struct ListArgs {
    /// Stop after this many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// List every message.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

pub async fn run(global: &Global, command: Command) -> Result<(), Failed> {
    let client = global.client()?;
    match command {
        Command::List(args) => {
            let limit = if args.all { usize::MAX } else { args.limit as usize };
            list(&client, global.output, limit).await
        }
        Command::Get { id } => {
            let message = client.get_message(id).await?;
            match global.output {
                Output::Table => output::line(&show(&message)),
                mode => output::json(mode, "Message", &message),
            }
        }
    }
}

async fn list(client: &Client, mode: Output, limit: usize) -> Result<(), Failed> {
    let mut rows = Vec::new();
    let mut values = Vec::new();
    let mut page_token = String::new();
    let mut left = limit;
    loop {
        let page_size = i32::try_from(left.min(PAGE)).expect("a page is small");
        let page = client.list_messages(v1::ListMessagesRequest { page_size, page_token }).await?;
        for message in page.messages.iter().take(left) {
            match mode {
                Output::Table => rows.push(row(message)),
                Output::Json => values.push(Json::new("Message", message)?),
                Output::Jsonl => output::json(mode, "Message", message)?,
            }
        }
        left = left.saturating_sub(page.messages.len());
        page_token = page.next_page_token;
        if left == 0 || page_token.is_empty() {
            break;
        }
    }
    match mode {
        Output::Table => {
            output::line(&output::table(&["ID", "STATUS", "TO", "PARTS", "PRICE", "ACCEPTED"], &rows))
        }
        Output::Json => output::value(mode, &values),
        Output::Jsonl => Ok(()),
    }
}

fn row(message: &v1::Message) -> Vec<String> {
    vec![
        message.id.clone(),
        output::status_name(message.status()).to_owned(),
        message.to.clone(),
        message.part_count.to_string(),
        format!("{} {}", output::money(message.price_micros), message.currency),
        output::time(message.create_time.as_ref()),
    ]
}

fn show(message: &v1::Message) -> String {
    let enum_name = |name: &'static str, prefix| name.strip_prefix(prefix).unwrap_or(name).to_owned();
    let labels: Vec<String> =
        message.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let facts = output::facts(&[
        ("id", message.id.clone()),
        ("status", output::status_name(message.status()).to_owned()),
        ("failure", output::failure(message.failure.as_ref())),
        ("to", message.to.clone()),
        ("from", message.sender.clone()),
        ("text", message.text.clone()),
        (
            "data",
            if message.data.is_empty() { String::new() } else { format!("{} octets", message.data.len()) },
        ),
        ("encoding", enum_name(message.encoding().as_str_name(), "ENCODING_")),
        ("parts", message.part_count.to_string()),
        ("price", format!("{} {}", output::money(message.price_micros), message.currency)),
        ("credit", enum_name(message.credit().as_str_name(), "CREDIT_")),
        ("reference", message.reference.clone()),
        ("metadata", labels.join(" ")),
        ("attempts", message.attempt_count.to_string()),
        ("provider", message.provider.clone()),
        ("provider id", message.provider_message_id.clone()),
        ("accepted", output::time(message.create_time.as_ref())),
        ("expires", output::time(message.expire_time.as_ref())),
    ]);
    let parts: Vec<_> = message.parts.iter().map(part_row).collect();
    let history: Vec<_> = message.history.iter().map(history_row).collect();
    [
        facts,
        output::table(&["PART", "STATUS", "UNITS", "PROVIDER ID"], &parts),
        output::table(&["TIME", "STATUS", "ATTEMPT", "PROVIDER", "FAILURE"], &history),
    ]
    .join("\n\n")
}

fn part_row(part: &v1::Part) -> Vec<String> {
    vec![
        part.number.to_string(),
        output::status_name(part.status()).to_owned(),
        format!("{}/{}", part.units, part.unit_limit),
        part.provider_message_id.clone(),
    ]
}

fn history_row(change: &v1::StatusChange) -> Vec<String> {
    vec![
        output::time(change.time.as_ref()),
        output::status_name(change.status()).to_owned(),
        change.attempt.to_string(),
        change.provider.clone(),
        output::failure(change.failure.as_ref()),
    ]
}
