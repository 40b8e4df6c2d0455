//! `herald messages list`, `herald messages get ID` and `herald messages cancel ID`.

mod show;

use herald_sdk::v1;
use prost_types::Timestamp;

use super::choice::{self, Status};
use super::connect::{Global, Output};
use super::exit::Failed;
use super::output;
use super::page::{Limit, Shape};
use super::parse;

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
    /// Take back a message that no provider has yet; its credit is given back.
    Cancel {
        /// The message's id.
        id: String,
    },
}

/// Arguments of `herald messages list`.
#[derive(clap::Args)]
pub struct ListArgs {
    /// Only this status; may be repeated.
    #[arg(long, value_enum, ignore_case = true)]
    status: Vec<Status>,
    /// Only to this recipient.
    #[arg(long)]
    to: Option<String>,
    /// Only from this sender.
    #[arg(long)]
    from: Option<String>,
    /// Only with this reference.
    #[arg(long)]
    reference: Option<String>,
    /// Only those accepted then or later: an RFC 3339 time, or a span before now such as 1h.
    #[arg(long, value_name = "TIME", value_parser = parse::time_ago)]
    since: Option<Timestamp>,
    /// Only those accepted before.
    #[arg(long, value_name = "TIME", value_parser = parse::time_ago)]
    until: Option<Timestamp>,
    #[command(flatten)]
    limit: Limit,
}

const MESSAGES: Shape<v1::Message> =
    Shape { name: "Message", header: &["ID", "STATUS", "TO", "PARTS", "PRICE", "ACCEPTED"], row: show::row };

pub async fn run(global: &Global, command: Command) -> Result<(), Failed> {
    let client = global.client()?;
    let message = match command {
        Command::List(args) => return list(global, &client, args).await,
        Command::Get { id } => client.get_message(id).await?,
        Command::Cancel { id } => client.cancel_message(id).await?,
    };
    match global.output {
        Output::Table => output::line(&show::whole(&message)),
        mode => output::json(mode, "Message", &message),
    }
}

async fn list(global: &Global, client: &herald_sdk::Client, args: ListArgs) -> Result<(), Failed> {
    let filter = v1::ListMessagesRequest {
        statuses: choice::all(args.status),
        to: args.to.unwrap_or_default(),
        sender: args.from.unwrap_or_default(),
        reference: args.reference.unwrap_or_default(),
        created_after: args.since,
        created_before: args.until,
        ..Default::default()
    };
    let fetch = async |page_size, page_token| {
        let request = v1::ListMessagesRequest { page_size, page_token, ..filter.clone() };
        client.list_messages(request).await.map(|page| (page.messages, page.next_page_token))
    };
    MESSAGES.list(global.output, &args.limit, fetch).await
}
