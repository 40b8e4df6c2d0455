//! `herald topup CLIENT AMOUNT`.

use herald_sdk::v1;

use super::connect::{Global, Output};
use super::exit::Failed;
use super::output;

/// Arguments of `herald topup`.
#[derive(clap::Args)]
pub struct Args {
    /// The client's id.
    #[arg(value_name = "CLIENT")]
    to: String,
    /// In whole units of the client's currency, such as 25.50; at most six decimals.
    #[arg(value_parser = micros)]
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

pub async fn run(global: &Global, args: Args) -> Result<(), Failed> {
    let request = v1::TopUpRequest {
        client_id: args.to,
        amount_micros: args.amount,
        currency: args.currency.unwrap_or_default(),
        idempotency_key: args.key.unwrap_or_default(),
        note: args.note.unwrap_or_default(),
    };
    let receipt = global.operator()?.top_up(request).await?;
    let booked = &receipt.transaction;
    if global.output != Output::Table {
        return output::json(global.output, "Transaction", booked);
    }
    output::line(&output::facts(&[
        ("added", format!("{} {}", output::money(booked.available_delta_micros), booked.currency)),
        ("available", format!("{} {}", output::money(booked.available_after_micros), booked.currency)),
        ("transaction", booked.id.clone()),
        (
            "replayed",
            if receipt.replayed { "yes: the same key was used before".into() } else { String::new() },
        ),
    ]))
}

/// An amount with at most six decimals, exactly, in micros.
fn micros(text: &str) -> Result<i64, String> {
    let form = || "it must be an amount above zero with at most six decimals, such as 25.50".to_owned();
    let (units, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(units) || !is_number(decimals) || decimals.len() > 6 {
        return Err(form());
    }
    let fraction: i64 = format!("{decimals:0<6}").parse().map_err(|_| form())?;
    let whole = units.parse::<i64>().ok().and_then(|units| units.checked_mul(1_000_000));
    let micros = whole.and_then(|whole| whole.checked_add(fraction)).ok_or("it is too large")?;
    if micros > 0 { Ok(micros) } else { Err(form()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly_or_refused() {
        let good = [
            ("25.50", 25_500_000),
            ("25", 25_000_000),
            ("0.000001", 1),
            ("0.1", 100_000),
            ("9223372036854.775807", i64::MAX),
        ];
        for (text, expected) in good {
            assert_eq!(micros(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "0",
            "0.0",
            "-1",
            "+1",
            "1e3",
            "1,5",
            "0.0000001",
            "9223372036854.775808",
            "١",
        ] {
            assert!(micros(text).is_err(), "{text}");
        }
    }
}
