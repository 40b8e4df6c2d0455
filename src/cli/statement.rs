//! `herald statement`: a period in figures.

use herald_sdk::v1;
use prost_types::Timestamp;

use super::connect::{Global, Output};
use super::exit::Failed;
use super::output;
use super::parse;

/// Arguments of `herald statement`.
#[derive(clap::Args)]
pub struct Args {
    /// Where the period begins, included: an RFC 3339 time, or a span before now such as 30d.
    #[arg(long, value_name = "TIME", value_parser = parse::time_ago)]
    since: Timestamp,
    /// Where it ends, not included; else now.
    #[arg(long, value_name = "TIME", value_parser = parse::time_ago)]
    until: Option<Timestamp>,
}

pub async fn run(global: &Global, args: Args) -> Result<(), Failed> {
    let request = v1::GetStatementRequest { start_time: Some(args.since), end_time: args.until };
    let statement = global.client()?.statement(request).await?;
    match global.output {
        Output::Table => output::line(&show(&statement)),
        mode => output::json(mode, "Statement", &statement),
    }
}

fn show(statement: &v1::Statement) -> String {
    let edge = |name: &str, available, held| {
        vec![name.to_owned(), String::new(), output::money(available), output::money(held)]
    };
    let mut rows =
        vec![edge("opening balance", statement.opening_available_micros, statement.opening_held_micros)];
    rows.extend(statement.lines.iter().map(|line| {
        vec![
            output::word(line.r#type().as_str_name(), "TYPE_"),
            line.count.to_string(),
            output::money_change(line.available_delta_micros),
            output::money_change(line.held_delta_micros),
        ]
    }));
    rows.push(edge("closing balance", statement.closing_available_micros, statement.closing_held_micros));
    let facts = output::facts(&[
        ("from", output::time(statement.start_time.as_ref())),
        ("to", output::time(statement.end_time.as_ref())),
        ("currency", statement.currency.clone()),
    ]);
    format!("{facts}\n\n{}", output::table(&["", "COUNT", "AVAILABLE", "HELD"], &rows))
}
