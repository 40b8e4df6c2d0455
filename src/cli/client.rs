//! `herald client`: customer accounts.

use herald_sdk::v1;

use super::choice::{self, CaptureOn, OnUnknown, SettleUnreported, State};
use super::connect::{Global, Output};
use super::exit::Failed;
use super::output;
use super::page::{Limit, Shape};
use super::parse;

/// What to do with clients.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a client, without credit or keys.
    Create(Box<CreateArgs>),
    /// Show one client.
    Get {
        /// The client's id.
        id: String,
    },
    /// List clients, oldest first.
    List(ListArgs),
    /// Change the settings that are given.
    Update(Box<UpdateArgs>),
    /// Refuse the client's new sends.
    Suspend {
        /// The client's id.
        id: String,
        /// Why.
        #[arg(long)]
        note: String,
    },
    /// Let the client send again.
    Resume {
        /// The client's id.
        id: String,
        /// Why.
        #[arg(long)]
        note: Option<String>,
    },
}

/// Arguments of `herald client create`.
#[derive(clap::Args)]
pub struct CreateArgs {
    /// Its name.
    name: String,
    /// ISO 4217.
    #[arg(long, default_value = "USD")]
    currency: String,
    /// It reaches the simulator only.
    #[arg(long)]
    sandbox: bool,
    /// The idempotency key: the same key and settings make one client. Made if absent.
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

/// Arguments of `herald client list`.
#[derive(clap::Args)]
pub struct ListArgs {
    /// Only these.
    #[arg(long, value_enum, ignore_case = true)]
    state: Option<State>,
    /// Only those whose name begins with it.
    #[arg(long, value_name = "PREFIX")]
    name: Option<String>,
    #[command(flatten)]
    limit: Limit,
}

/// Arguments of `herald client update`.
#[derive(clap::Args)]
pub struct UpdateArgs {
    /// The client's id.
    id: String,
    /// Its new name.
    #[arg(long)]
    name: Option<String>,
    /// Set this back to its default, such as report_timeout; may be repeated.
    #[arg(long, value_name = "SETTING")]
    unset: Vec<String>,
    #[command(flatten)]
    settings: Settings,
}

/// What can be changed later, too.
#[derive(clap::Args)]
struct Settings {
    /// When it pays.
    #[arg(long, value_enum, ignore_case = true)]
    capture_on: Option<CaptureOn>,
    /// What becomes of holds that no report resolves.
    #[arg(long, value_enum, ignore_case = true)]
    settle_unreported: Option<SettleUnreported>,
    /// How long a report is awaited, such as 72h.
    #[arg(long, value_name = "SPAN", value_parser = parse::span)]
    report_timeout: Option<prost_types::Duration>,
    /// Sustained rate in parts per second; 0 = no limit.
    #[arg(long)]
    parts_per_second: Option<i32>,
    /// Parts that may come at once; 0 = as many as in a second.
    #[arg(long)]
    burst_parts: Option<i32>,
    /// The sender of messages that name none.
    #[arg(long)]
    default_sender: Option<String>,
    /// Most parts of one message.
    #[arg(long)]
    max_parts: Option<i32>,
    /// The balance is called low below it, such as 10.00; 0 = never.
    #[arg(long, value_name = "AMOUNT", value_parser = parse::micros)]
    low_balance: Option<i64>,
    /// What happens when an attempt's outcome is unknown.
    #[arg(long, value_enum, ignore_case = true)]
    on_unknown: Option<OnUnknown>,
    /// With resend: how long after the outcome became unknown, such as 10m.
    #[arg(long, value_name = "SPAN", value_parser = parse::span)]
    resend_after: Option<prost_types::Duration>,
}

const CLIENTS: Shape<v1::Client> =
    Shape { name: "Client", header: &["ID", "NAME", "STATE", "CURRENCY", "SANDBOX", "PARTS/S", "MADE"], row };

pub async fn run(global: &Global, command: Command) -> Result<(), Failed> {
    let operator = global.operator()?;
    let client = match command {
        Command::Create(args) => {
            let key = args.key.unwrap_or_else(herald_sdk::new_idempotency_key);
            let mut client = v1::Client {
                name: args.name,
                currency: args.currency,
                is_sandbox: args.sandbox,
                ..Default::default()
            };
            args.settings.put(&mut client);
            let request = v1::CreateClientRequest { client: Some(client), idempotency_key: key.clone() };
            let made = operator.create_client(request).await;
            made.map_err(|error| Failed::of_keyed_call(error, &key))?
        }
        Command::Get { id } => operator.get_client(id).await?,
        Command::List(args) => return list(global, &operator, args).await,
        Command::Update(args) => operator.update_client(update(*args)).await?,
        Command::Suspend { id, note } => {
            operator.suspend_client(v1::SuspendClientRequest { client_id: id, note }).await?
        }
        Command::Resume { id, note } => {
            let note = note.unwrap_or_default();
            operator.resume_client(v1::ResumeClientRequest { client_id: id, note }).await?
        }
    };
    match global.output {
        Output::Table => output::line(&show(&client)),
        mode => output::json(mode, "Client", &client),
    }
}

async fn list(global: &Global, operator: &herald_sdk::Client, args: ListArgs) -> Result<(), Failed> {
    let filter = v1::ListClientsRequest {
        state: choice::or_unspecified(args.state),
        name_prefix: args.name.unwrap_or_default(),
        ..Default::default()
    };
    let fetch = async |page_size, page_token| {
        let request = v1::ListClientsRequest { page_size, page_token, ..filter.clone() };
        operator.list_clients(request).await.map(|page| (page.clients, page.next_page_token))
    };
    CLIENTS.list(global.output, &args.limit, fetch).await
}

/// Names what is given, and nothing else.
fn update(args: UpdateArgs) -> v1::UpdateClientRequest {
    let mut client = v1::Client { id: args.id, ..Default::default() };
    let mut paths = args.settings.put(&mut client);
    if let Some(name) = args.name {
        client.name = name;
        paths.push("name".to_owned());
    }
    paths.extend(args.unset);
    v1::UpdateClientRequest { client: Some(client), update_mask: Some(prost_types::FieldMask { paths }) }
}

impl Settings {
    /// Sets what is given; the names of the fields that it set.
    fn put(self, client: &mut v1::Client) -> Vec<String> {
        let mut paths = Vec::new();
        let mut named = |is_given: bool, path: &str| {
            if is_given {
                paths.push(path.to_owned());
            }
        };
        named(self.capture_on.is_some(), "capture_on");
        named(self.settle_unreported.is_some(), "settle_unreported");
        named(self.report_timeout.is_some(), "report_timeout");
        named(self.parts_per_second.is_some(), "parts_per_second");
        named(self.burst_parts.is_some(), "burst_parts");
        named(self.default_sender.is_some(), "default_sender");
        named(self.max_parts.is_some(), "max_parts");
        named(self.low_balance.is_some(), "low_balance_micros");
        named(self.on_unknown.is_some(), "on_unknown");
        named(self.resend_after.is_some(), "resend_after");
        client.capture_on = choice::or_unspecified(self.capture_on);
        client.settle_unreported = choice::or_unspecified(self.settle_unreported);
        client.report_timeout = self.report_timeout;
        client.parts_per_second = self.parts_per_second.unwrap_or_default();
        client.burst_parts = self.burst_parts.unwrap_or_default();
        client.default_sender = self.default_sender.unwrap_or_default();
        client.max_parts = self.max_parts.unwrap_or_default();
        client.low_balance_micros = self.low_balance.unwrap_or_default();
        client.on_unknown = choice::or_unspecified(self.on_unknown);
        client.resend_after = self.resend_after;
        paths
    }
}

fn row(client: &v1::Client) -> Vec<String> {
    vec![
        client.id.clone(),
        client.name.clone(),
        output::word(client.state().as_str_name(), "STATE_"),
        client.currency.clone(),
        output::yes(client.is_sandbox),
        client.parts_per_second.to_string(),
        output::time(client.create_time.as_ref()),
    ]
}

/// A client for a person.
pub fn show(client: &v1::Client) -> String {
    let unless_zero = |number: i64, text: String| if number == 0 { "none".to_owned() } else { text };
    let rate = unless_zero(client.parts_per_second.into(), client.parts_per_second.to_string());
    let low = unless_zero(client.low_balance_micros, output::money(client.low_balance_micros));
    output::facts(&[
        ("id", client.id.clone()),
        ("name", client.name.clone()),
        ("state", output::word(client.state().as_str_name(), "STATE_")),
        ("suspended for", client.suspend_reason.clone()),
        ("currency", client.currency.clone()),
        ("sandbox", output::yes(client.is_sandbox)),
        ("pays when", output::word(client.capture_on().as_str_name(), "CAPTURE_ON_")),
        ("unreported", output::word(client.settle_unreported().as_str_name(), "SETTLE_UNREPORTED_")),
        ("report timeout", output::span(client.report_timeout.as_ref())),
        ("parts/s", rate),
        ("burst parts", client.burst_parts.to_string()),
        ("default sender", client.default_sender.clone()),
        ("max parts", client.max_parts.to_string()),
        ("low balance", low),
        ("on unknown", output::word(client.on_unknown().as_str_name(), "ON_UNKNOWN_")),
        ("resend after", output::span(client.resend_after.as_ref())),
        ("made", output::time(client.create_time.as_ref())),
    ])
}
