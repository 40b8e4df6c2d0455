//! `herald topup CLIENT AMOUNT` and `herald adjust CLIENT AMOUNT`.

use herald_sdk::{Booking, new_idempotency_key, v1};

use super::connect::{Global, Output};
use super::exit::Failed;
use super::output;
use super::parse;

/// Arguments of `herald topup`.
#[derive(clap::Args)]
pub struct Args {
    /// The client's id.
    #[arg(value_name = "CLIENT")]
    to: String,
    /// In whole units of the client's currency, such as 25.50; at most six decimals.
    #[arg(value_parser = parse::amount)]
    amount: i64,
    /// The idempotency key: the same key and amount are booked once. Made if absent.
    #[arg(long)]
    key: Option<String>,
    /// A guard: refuse if this is not the client's currency.
    #[arg(long)]
    currency: Option<String>,
    /// Why.
    #[arg(long)]
    note: Option<String>,
}

/// Arguments of `herald adjust`.
#[derive(clap::Args)]
pub struct AdjustArgs {
    /// The client's id.
    #[arg(value_name = "CLIENT")]
    to: String,
    /// In whole units of the client's currency, such as 25.50 or -25.50; at most six decimals.
    #[arg(value_parser = parse::change, allow_negative_numbers = true)]
    amount: i64,
    /// Why.
    #[arg(long)]
    note: String,
    /// The idempotency key: the same key and amount are booked once. Made if absent.
    #[arg(long)]
    key: Option<String>,
}

pub async fn run(global: &Global, args: Args) -> Result<(), Failed> {
    let key = args.key.unwrap_or_else(new_idempotency_key);
    let request = v1::TopUpRequest {
        client_id: args.to,
        amount_micros: args.amount,
        currency: args.currency.unwrap_or_default(),
        idempotency_key: key.clone(),
        note: args.note.unwrap_or_default(),
    };
    let booked = global.operator()?.top_up(request).await;
    print(global, &booked.map_err(|error| Failed::of_keyed_call(error, &key))?)
}

pub async fn run_adjust(global: &Global, args: AdjustArgs) -> Result<(), Failed> {
    let key = args.key.unwrap_or_else(new_idempotency_key);
    let request = v1::AdjustBalanceRequest {
        client_id: args.to,
        delta_micros: args.amount,
        idempotency_key: key.clone(),
        note: args.note,
    };
    let booked = global.operator()?.adjust_balance(request).await;
    print(global, &booked.map_err(|error| Failed::of_keyed_call(error, &key))?)
}

fn print(global: &Global, booking: &Booking) -> Result<(), Failed> {
    let booked = &booking.transaction;
    if global.output != Output::Table {
        return output::json(global.output, "Transaction", booked);
    }
    output::line(&output::facts(&[
        ("booked", format!("{} {}", output::money_change(booked.available_delta_micros), booked.currency)),
        ("available", format!("{} {}", output::money(booked.available_after_micros), booked.currency)),
        ("transaction", booked.id.clone()),
        ("replayed", output::replayed(booking.replayed)),
    ]))
}
