//! Prices of a CSV file. Rows are counted as a spreadsheet counts them: the one with the columns is row 1.

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
struct Row {
    prefix: String,
    price: String,
    #[serde(default)]
    currency: String,
}

/// Reads the whole file, or says which row is wrong.
pub fn read(file: &Path, currency: &str) -> anyhow::Result<Vec<v1::Rate>> {
    let name = file.display();
    let reader = ReaderBuilder::new().trim(csv::Trim::All).from_path(file);
    let mut reader = reader.with_context(|| format!("cannot read {name}"))?;
    let header = reader.headers().with_context(|| format!("cannot read {name}"))?.clone();
    let mut rates = Vec::new();
    let mut rows = HashMap::new();
    for (number, record) in (2..).zip(reader.records()) {
        let here = || format!("{name}, row {number}");
        let record = record.with_context(here)?;
        let row: Row = record.deserialize(Some(&header)).with_context(here)?;
        let rate = rate(row, currency).map_err(anyhow::Error::msg).with_context(here)?;
        if let Some(before) = rows.insert((rate.currency.clone(), rate.prefix.clone()), number) {
            return Err(anyhow::anyhow!("the same currency and prefix are in row {before}"))
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

fn rate(row: Row, currency: &str) -> Result<v1::Rate, String> {
    let prefix = super::prefix(&row.prefix).map_err(|problem| format!("prefix: {problem}"))?;
    let price = parse::micros(&row.price).map_err(|problem| format!("price: {problem}"))?;
    let currency = if row.currency.is_empty() { currency.to_owned() } else { row.currency };
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
    fn a_wrong_row_is_named() {
        for (content, told) in [
            ("prefix,price\n44,0.05\n44,0.06\n", "row 3: the same currency and prefix are in row 2"),
            ("prefix,price\n44,cheap\n", "row 2: price:"),
            ("prefix,price\nGB,1\n", "row 2: prefix:"),
            ("prefix,cost\n44,1\n", "row 2"),
            ("prefix,price\n", "has no prices"),
        ] {
            let error = format!("{:#}", read_text(content).unwrap_err());
            assert!(error.contains(told), "{error}");
        }
    }
}
