//! Prices of a CSV file.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, bail};
use csv::ReaderBuilder;
use herald_sdk::{Client, v1};
use serde::Deserialize;

use crate::cli::exit::Failed;
use crate::cli::parse;

/// Most prices of one call.
const RATES: usize = 5_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    prefix: String,
    price: String,
    #[serde(default)]
    currency: String,
}

/// Reads the whole file, or says which line is wrong.
pub fn read(file: &Path, currency: &str) -> anyhow::Result<Vec<v1::Rate>> {
    let name = file.display();
    let reader = ReaderBuilder::new().trim(csv::Trim::All).from_path(file);
    let mut reader = reader.with_context(|| format!("cannot read {name}"))?;
    let header = reader.headers().with_context(|| format!("cannot read {name}"))?.clone();
    let mut rates = Vec::new();
    let mut lines = HashMap::new();
    for record in reader.records() {
        let record = record.with_context(|| format!("cannot read {name}"))?;
        let number = record.position().map_or(0, csv::Position::line);
        let here = || format!("{name}, line {number}");
        let line: Line = record.deserialize(Some(&header)).with_context(here)?;
        let rate = rate(line, currency).map_err(anyhow::Error::msg).with_context(here)?;
        if let Some(before) = lines.insert((rate.currency.clone(), rate.prefix.clone()), number) {
            return Err(anyhow::anyhow!("the same currency and prefix are in line {before}"))
                .with_context(here);
        }
        rates.push(rate);
    }
    if rates.is_empty() {
        bail!("{name} has no prices");
    }
    Ok(rates)
}

/// Sets them: all or none of each 5,000.
pub async fn set(operator: &Client, rates: Vec<v1::Rate>) -> Result<i64, Failed> {
    let mut count = 0;
    for some in rates.chunks(RATES) {
        match operator.set_rates(some.to_vec()).await {
            Ok(set) => count += i64::from(set),
            Err(error) => {
                if count > 0 {
                    eprintln!("the first {count} are set; setting them again does no harm");
                }
                return Err(error.into());
            }
        }
    }
    Ok(count)
}

fn rate(line: Line, currency: &str) -> Result<v1::Rate, String> {
    let prefix = super::prefix(&line.prefix).map_err(|problem| format!("prefix: {problem}"))?;
    let price = parse::micros(&line.price).map_err(|problem| format!("price: {problem}"))?;
    let currency = if line.currency.is_empty() { currency.to_owned() } else { line.currency };
    Ok(v1::Rate { currency, prefix, part_price_micros: price })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read_text(content: &str) -> anyhow::Result<Vec<v1::Rate>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rates.csv");
        std::fs::write(&file, content).unwrap();
        read(&file, "USD")
    }

    #[test]
    fn a_file_of_prices_is_read_whole() {
        let rates = read_text("prefix,price,currency\n44,0.05,\n+44,0.06,EUR\ndefault, 0.01,\n").unwrap();
        let rates: Vec<_> = rates
            .iter()
            .map(|rate| (rate.currency.as_str(), rate.prefix.as_str(), rate.part_price_micros))
            .collect();
        assert_eq!(rates, [("USD", "44", 50_000), ("EUR", "44", 60_000), ("USD", "", 10_000)]);
        assert_eq!(read_text("price,prefix\n1,44\n").unwrap()[0].part_price_micros, 1_000_000);
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (content, told) in [
            ("prefix,price\n44,0.05\n44,0.06\n", "line 3: the same currency and prefix are in line 2"),
            ("prefix,price\n44,cheap\n", "line 2: price:"),
            ("prefix,price\nGB,1\n", "line 2: prefix:"),
            ("prefix,cost\n44,1\n", "line 2"),
            ("prefix,price\n", "has no prices"),
        ] {
            let error = format!("{:#}", read_text(content).unwrap_err());
            assert!(error.contains(told), "{error}");
        }
    }
}
