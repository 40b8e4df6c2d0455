//! `herald retention`: how long things are kept.

use herald_sdk::v1;
use prost_types::Duration;

use super::connect::{Global, Output};
use super::exit::Failed;
use super::output;
use super::parse;

/// What keeps a thing for ever.
const FOREVER: &str = "forever";

/// What to do with the settings.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Show how long things are kept.
    Show,
    /// Change what is given; the rest stays.
    Set(SetArgs),
}

/// Arguments of `herald retention set`.
#[derive(clap::Args)]
#[group(required = true, multiple = true)]
pub struct SetArgs {
    /// Events: a span such as 90d, or `forever`.
    #[arg(long, value_name = "SPAN", value_parser = limit)]
    events: Option<Kept>,
    /// Messages that are final and settled: a span such as 365d, or `forever`.
    #[arg(long, value_name = "SPAN", value_parser = limit)]
    messages: Option<Kept>,
    /// Audit entries: a span such as 730d, or `forever`.
    #[arg(long, value_name = "SPAN", value_parser = limit)]
    audit_entries: Option<Kept>,
}

/// How long.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    Forever,
    For(Duration),
}

pub async fn run(global: &Global, command: Command) -> Result<(), Failed> {
    let operator = global.operator()?;
    let mut retention = operator.retention().await?;
    if let Command::Set(args) = command {
        // The API sets all of them at once.
        retention.events = args.events.map_or(retention.events, Kept::into_span);
        retention.messages = args.messages.map_or(retention.messages, Kept::into_span);
        retention.audit_entries = args.audit_entries.map_or(retention.audit_entries, Kept::into_span);
        retention = operator.update_retention(retention).await?;
    }
    match global.output {
        Output::Table => output::line(&show(&retention)),
        mode => output::json(mode, "Retention", &retention),
    }
}

impl Kept {
    fn into_span(self) -> Option<Duration> {
        match self {
            Self::Forever => None,
            Self::For(span) => Some(span),
        }
    }
}

fn limit(text: &str) -> Result<Kept, String> {
    if text == FOREVER { Ok(Kept::Forever) } else { parse::span(text).map(Kept::For) }
}

fn show(retention: &v1::Retention) -> String {
    let kept = |span: &Option<Duration>| {
        span.as_ref().map_or_else(|| FOREVER.to_owned(), |span| output::span(Some(span)))
    };
    output::facts(&[
        ("events", kept(&retention.events)),
        ("messages", kept(&retention.messages)),
        ("audit entries", kept(&retention.audit_entries)),
    ])
}
