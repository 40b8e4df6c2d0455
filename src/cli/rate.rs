//! `herald rate`: what a part costs.

mod import;

use std::path::PathBuf;

use herald_sdk::{Client, v1};
use serde_json::json;

use super::connect::{Global, Output};
use super::exit::Failed;
use super::output;
use super::page::{Limit, Shape};
use super::parse;

/// Stands for the rate of every recipient that has no other.
const DEFAULT: &str = "default";

/// What to do with prices.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List prices by currency and prefix.
    List {
        /// Only of this currency.
        #[arg(long)]
        currency: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Set prices, all or none.
    Set {
        /// The digits that a number begins with and the price of a part, such as 44=0.05; `default=0.01` is for
        /// numbers that have no other rate.
        #[arg(required = true, value_name = "PREFIX=PRICE", value_parser = prefix_and_price)]
        rates: Vec<(String, i64)>,
        /// ISO 4217.
        #[arg(long, default_value = "USD")]
        currency: String,
    },
    /// Remove prices.
    Delete {
        /// The digits that a number begins with, or `default`.
        #[arg(required = true, value_name = "PREFIX", value_parser = prefix)]
        prefixes: Vec<String>,
        /// ISO 4217.
        #[arg(long, default_value = "USD")]
        currency: String,
    },
    /// Set the prices of a CSV file. Its first row names its columns: prefix, price, and if you like currency.
    Import {
        /// The file.
        #[arg(value_name = "FILE.csv")]
        file: PathBuf,
        /// ISO 4217: of the rows that name none.
        #[arg(long, default_value = "USD")]
        currency: String,
    },
}

const RATES: Shape<v1::Rate> = Shape { name: "Rate", header: &["CURRENCY", "PREFIX", "PART PRICE"], row };

pub async fn run(global: &Global, command: Command) -> Result<(), Failed> {
    match command {
        Command::List { currency, limit } => {
            list(global, &global.operator()?, currency.unwrap_or_default(), &limit).await
        }
        Command::Set { rates, currency } => {
            let rates = rates.into_iter().map(|(prefix, part_price_micros)| v1::Rate {
                currency: currency.clone(),
                prefix,
                part_price_micros,
            });
            let count = global.operator()?.set_rates(rates.collect()).await?;
            print(global.output, "set", count.into())
        }
        Command::Delete { prefixes, currency } => {
            let rates = prefixes.into_iter().map(|prefix| v1::Rate {
                currency: currency.clone(),
                prefix,
                part_price_micros: 0,
            });
            let count = global.operator()?.delete_rates(rates.collect()).await?;
            print(global.output, "deleted", count.into())
        }
        Command::Import { file, currency } => {
            let rates = import::read(&file, &currency).map_err(|error| Failed::new(2, error))?;
            let count = import::set(&global.operator()?, rates).await?;
            print(global.output, "set", count)
        }
    }
}

async fn list(global: &Global, operator: &Client, currency: String, limit: &Limit) -> Result<(), Failed> {
    let fetch = async |page_size, page_token| {
        let request = v1::ListRatesRequest { currency: currency.clone(), page_size, page_token };
        operator.list_rates(request).await.map(|page| (page.rates, page.next_page_token))
    };
    RATES.list(global.output, limit, fetch).await
}

fn print(mode: Output, done: &str, count: i64) -> Result<(), Failed> {
    match mode {
        Output::Table => output::line(&format!("{done} {count}")),
        mode => output::value(mode, &json!({ format!("{done}Count"): count })),
    }
}

fn row(rate: &v1::Rate) -> Vec<String> {
    let prefix = if rate.prefix.is_empty() { DEFAULT.to_owned() } else { rate.prefix.clone() };
    vec![rate.currency.clone(), prefix, output::money(rate.part_price_micros)]
}

/// Digits with or without the plus; `default` is the empty prefix.
fn prefix(text: &str) -> Result<String, String> {
    if text == DEFAULT {
        return Ok(String::new());
    }
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("a prefix is digits, such as 44, or `default`".to_owned());
    }
    Ok(digits.to_owned())
}

fn prefix_and_price(text: &str) -> Result<(String, i64), String> {
    let (before, price) = text.split_once('=').ok_or("it must be PREFIX=PRICE, such as 44=0.05")?;
    Ok((prefix(before)?, parse::micros(price)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_prefix_and_a_price() {
        assert_eq!(prefix_and_price("44=0.05"), Ok(("44".to_owned(), 50_000)));
        assert_eq!(prefix_and_price("+1202=0"), Ok(("1202".to_owned(), 0)));
        assert_eq!(prefix_and_price("default=0.0075"), Ok((String::new(), 7_500)));
        for text in ["44", "=1", "x=1", "44=", "44=-1"] {
            assert!(prefix_and_price(text).is_err(), "{text}");
        }
    }
}
