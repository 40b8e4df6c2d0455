//! `herald balance`: now, live, and the movements that led to it.

use herald_sdk::{Client, Item, v1};
use prost_types::Timestamp;

use super::choice::{self, TransactionType};
use super::connect::{Global, Output};
use super::exit::Failed;
use super::output;
use super::page::{Limit, Shape};
use super::parse;
use super::serve::shutdown_signal;

/// Arguments of `herald balance`.
#[derive(clap::Args)]
pub struct Args {
    /// Go on and print each change.
    #[arg(long, conflicts_with = "transactions")]
    watch: bool,
    /// With --watch: the mark below which the balance is called low; else the client's.
    #[arg(long, requires = "watch", value_name = "AMOUNT", value_parser = parse::amount)]
    low: Option<i64>,
    /// With --watch: stop after this many.
    #[arg(long, requires = "watch", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// List the credit movements, newest first, in the place of the balance.
    #[arg(long)]
    transactions: bool,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    limit: Limit,
}

#[derive(clap::Args)]
struct Filter {
    /// With --transactions: only this type; may be repeated.
    #[arg(long = "type", requires = "transactions", value_enum, ignore_case = true, value_name = "TYPE")]
    types: Vec<TransactionType>,
    /// With --transactions: only of this message.
    #[arg(long, requires = "transactions", value_name = "ID")]
    message: Option<String>,
    /// With --transactions: only those booked then or later: an RFC 3339 time, or a span before now such as 1h.
    #[arg(long, requires = "transactions", value_name = "TIME", value_parser = parse::time_ago)]
    since: Option<Timestamp>,
    /// With --transactions: only those booked before.
    #[arg(long, requires = "transactions", value_name = "TIME", value_parser = parse::time_ago)]
    until: Option<Timestamp>,
}

const TRANSACTIONS: Shape<v1::Transaction> = Shape {
    name: "Transaction",
    header: &["SEQ", "TIME", "TYPE", "AVAILABLE", "HELD", "AVAILABLE AFTER", "HELD AFTER", "MESSAGE OR NOTE"],
    row,
};

pub async fn run(global: &Global, args: Args) -> Result<(), Failed> {
    let client = global.client()?;
    if args.transactions {
        return list(global, &client, args.filter, &args.limit).await;
    }
    if args.watch {
        return tokio::select! {
            watched = watch(global, &client, &args) => watched,
            () = shutdown_signal() => Ok(()),
        };
    }
    let balance = client.balance().await?;
    match global.output {
        Output::Table => output::line(&show(&balance)),
        mode => output::json(mode, "Balance", &balance),
    }
}

async fn list(global: &Global, client: &Client, filter: Filter, limit: &Limit) -> Result<(), Failed> {
    let filter = v1::ListTransactionsRequest {
        types: choice::all(filter.types),
        message_id: filter.message.unwrap_or_default(),
        created_after: filter.since,
        created_before: filter.until,
        ..Default::default()
    };
    let fetch = async |page_size, page_token| {
        let request = v1::ListTransactionsRequest { page_size, page_token, ..filter.clone() };
        client.transactions(request).await.map(|page| (page.transactions, page.next_page_token))
    };
    TRANSACTIONS.list(global.output, limit, fetch).await
}

async fn watch(global: &Global, client: &Client, args: &Args) -> Result<(), Failed> {
    let request = v1::WatchBalanceRequest { low_balance_micros: args.low.unwrap_or_default() };
    let mut balances = client.watch_balance(request).give_up_after(Some(global.patience()));
    let mut seen = 0;
    while let Some(frame) = balances.next().await {
        let Item::Entry(balance) = frame?.item else { continue };
        if seen == 0 {
            // Once there was a server, it is waited for.
            balances = balances.give_up_after(None);
        }
        match global.output {
            Output::Table => output::line(&change_line(&balance))?,
            mode => output::json(mode, "Balance", &balance)?,
        }
        seen += 1;
        if Some(seen) == args.count {
            break;
        }
    }
    Ok(())
}

fn show(balance: &v1::Balance) -> String {
    let with_currency = |micros| format!("{} {}", output::money(micros), balance.currency);
    output::facts(&[
        ("available", with_currency(balance.available_micros)),
        ("held", with_currency(balance.held_micros)),
        ("low", output::yes(balance.is_low)),
    ])
}

fn change_line(balance: &v1::Balance) -> String {
    let (available, held) = (output::money(balance.available_micros), output::money(balance.held_micros));
    let low = if balance.is_low { "  low" } else { "" };
    format!("#{}  available {available}  held {held}  {}{low}", balance.seq, balance.currency)
}

fn row(transaction: &v1::Transaction) -> Vec<String> {
    vec![
        transaction.seq.to_string(),
        output::time(transaction.time.as_ref()),
        output::word(transaction.r#type().as_str_name(), "TYPE_"),
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
