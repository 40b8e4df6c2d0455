//! `herald ledger audit`: checks the books.

use anyhow::anyhow;
use futures_util::StreamExt;
use herald_sdk::v1;

use super::connect::{Global, Output};
use super::exit::Failed;
use super::output;
use super::page::Shape;

/// What to do with the books.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Check the books of the client of --client, or of all. Exit code 1: some are not clean.
    Audit,
}

const BOOKS: Shape<v1::AuditLedgerResponse> = Shape {
    name: "AuditLedgerResponse",
    header: &["CLIENT", "EVENTS", "AVAILABLE DRIFT", "HELD DRIFT", "VIOLATIONS"],
    row,
};

pub async fn run(global: &Global, command: Command) -> Result<(), Failed> {
    let Command::Audit = command;
    let request = v1::AuditLedgerRequest { client_id: global.subject() };
    let mut books = global.operator()?.audit_ledger(request).await?;
    let mut unclean = 0;
    let mut checked = Vec::new();
    while let Some(book) = books.next().await {
        let book = book?;
        unclean += usize::from(!is_clean(&book));
        if global.output == Output::Jsonl {
            output::json(global.output, BOOKS.name, &book)?;
        } else {
            checked.push(book);
        }
    }
    if global.output != Output::Jsonl {
        BOOKS.print(global.output, &checked)?;
    }
    if unclean > 0 {
        return Err(anyhow!("the books of {unclean} clients are not clean").into());
    }
    Ok(())
}

fn is_clean(book: &v1::AuditLedgerResponse) -> bool {
    book.balance_drift_micros == 0 && book.held_drift_micros == 0 && book.violations.is_empty()
}

fn row(book: &v1::AuditLedgerResponse) -> Vec<String> {
    vec![
        book.client_id.clone(),
        book.last_seq.to_string(),
        output::money(book.balance_drift_micros),
        output::money(book.held_drift_micros),
        if is_clean(book) { "clean".to_owned() } else { book.violations.join("; ") },
    ]
}
