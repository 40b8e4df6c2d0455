//! `herald balance`.

use herald_sdk::v1;
use serde::Serialize;

use super::connect::{Global, Output};
use super::exit::Failed;
use super::output::{self, Json};

/// Arguments of `herald balance`.
#[derive(clap::Args)]
pub struct Args {
    /// Show the newest credit movements too.
    #[arg(long)]
    transactions: bool,
    /// How many of them.
    #[arg(long, default_value_t = 50, requires = "transactions", value_parser = clap::value_parser!(i32).range(1..=500))]
    limit: i32,
}

/// The balance with its transactions, as JSON.
#[derive(Serialize)]
struct Statement {
    balance: Json,
    transactions: Vec<Json>,
}

pub async fn run(global: &Global, args: Args) -> Result<(), Failed> {
    let client = global.client()?;
    let balance = client.balance().await?;
    let transactions = if args.transactions {
        let request = v1::ListTransactionsRequest { page_size: args.limit, ..Default::default() };
        client.transactions(request).await?.transactions
    } else {
        Vec::new()
    };
    if global.output == Output::Table {
        return output::line(&show(&balance, args.transactions.then_some(&transactions[..])));
    }
    if !args.transactions {
        return output::json(global.output, "Balance", &balance);
    }
    let transactions = transactions.iter().map(|row| Json::new("Transaction", row));
    let statement = Statement {
        balance: Json::new("Balance", &balance)?,
        transactions: transactions.collect::<anyhow::Result<_>>()?,
    };
    output::value(global.output, &statement)
}

fn show(balance: &v1::Balance, transactions: Option<&[v1::Transaction]>) -> String {
    let with_currency = |micros| format!("{} {}", output::money(micros), balance.currency);
    let facts = output::facts(&[
        ("available", with_currency(balance.available_micros)),
        ("held", with_currency(balance.held_micros)),
    ]);
    let Some(transactions) = transactions else { return facts };
    let rows: Vec<_> = transactions.iter().map(row).collect();
    let header =
        ["SEQ", "TIME", "TYPE", "AVAILABLE", "HELD", "AVAILABLE AFTER", "HELD AFTER", "MESSAGE OR NOTE"];
    format!("{facts}\n\n{}", output::table(&header, &rows))
}

fn row(transaction: &v1::Transaction) -> Vec<String> {
    let kind = transaction.r#type().as_str_name();
    vec![
        transaction.seq.to_string(),
        output::time(transaction.time.as_ref()),
        kind.strip_prefix("TYPE_").unwrap_or(kind).to_owned(),
        output::money_change(transaction.available_delta_micros),
        output::money_change(transaction.held_delta_micros),
        output::money(transaction.available_after_micros),
        output::money(transaction.held_after_micros),
        if transaction.message_id.is_empty() {
            transaction.note.clone()
        } else {
            transaction.message_id.clone()
        },
    ]
}
