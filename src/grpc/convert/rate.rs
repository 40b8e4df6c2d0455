//! Prices.

use std::collections::HashSet;

use delivery::port::RateRow;
use tonic::Status;

use crate::grpc::faults::{Faults, ListFaults};
use crate::proto::v1;
use crate::status;

/// Rates of one request.
const RATES_MAX: usize = 5_000;
/// Longest prefix: a whole number (ITU-T E.164).
const PREFIX_MAX: usize = 15;

pub fn rate(row: &RateRow) -> v1::Rate {
    v1::Rate {
        currency: row.currency.clone(),
        prefix: row.prefix.clone(),
        part_price_micros: row.part_price_micros,
    }
}

/// The prices to set.
pub fn read_rates(told: Vec<v1::Rate>) -> Result<Vec<RateRow>, Status> {
    read(told, |faults, rate, is_named_before| {
        faults.check("part_price_micros", rate.part_price_micros >= 0, "must not be negative");
        faults.check("", !is_named_before, "has the currency and prefix of one before it");
    })
}

/// The prices to remove, each once. What they are is not looked at.
pub fn read_rate_names(told: Vec<v1::Rate>) -> Result<Vec<RateRow>, Status> {
    let mut named = read(told, |_, _, _| {})?;
    named.sort_unstable_by(|one, next| name(one).cmp(&name(next)));
    named.dedup_by(|one, next| name(one) == name(next));
    Ok(named)
}

/// What names a price.
pub fn name(row: &RateRow) -> (&str, &str) {
    (&row.currency, &row.prefix)
}

fn read(told: Vec<v1::Rate>, check: impl Fn(&mut Faults, &v1::Rate, bool)) -> Result<Vec<RateRow>, Status> {
    if told.is_empty() || told.len() > RATES_MAX {
        return Err(status::invalid_field("rates", "must have 1 to 5,000 entries"));
    }
    let mut faults = ListFaults::of("rates");
    let mut names = HashSet::new();
    for (index, rate) in told.iter().enumerate() {
        let mut item = Faults::default();
        let is_currency = ledger::is_currency(&rate.currency);
        item.check("currency", is_currency, "must be three upper-case letters (ISO 4217)");
        let is_prefix =
            rate.prefix.len() <= PREFIX_MAX && rate.prefix.bytes().all(|byte| byte.is_ascii_digit());
        item.check("prefix", is_prefix, "must be at most 15 digits");
        check(&mut item, rate, !names.insert((rate.currency.as_str(), rate.prefix.as_str())));
        faults.absorb(index, item);
    }
    faults.into_result()?;
    let row = |rate: v1::Rate| RateRow {
        currency: rate.currency,
        prefix: rate.prefix,
        part_price_micros: rate.part_price_micros,
    };
    Ok(told.into_iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tonic_types::StatusExt;

    use super::*;

    fn rate(currency: &str, prefix: &str, part_price_micros: i64) -> v1::Rate {
        v1::Rate { currency: currency.into(), prefix: prefix.into(), part_price_micros }
    }

    fn refused(rates: Vec<v1::Rate>) -> Vec<String> {
        let status = read_rates(rates).unwrap_err();
        let violations = status.get_details_bad_request().unwrap().field_violations;
        violations.into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn every_bad_rate_is_named_with_its_place() {
        let rates = vec![
            rate("USD", "", 0),
            rate("usd", "+1", -1),
            rate("USD", "1234567890123456", 1),
            rate("USD", "", 5),
            rate("EUR", "", 5),
        ];
        let expected = [
            "rates[1].currency",
            "rates[1].prefix",
            "rates[1].part_price_micros",
            "rates[2].prefix",
            "rates[3]",
        ];
        assert_eq!(refused(rates), expected);
        assert_eq!(refused(vec![]), ["rates"]);
        assert_eq!(refused(vec![rate("USD", "1", 1); RATES_MAX + 1]), ["rates"]);
    }

    #[test]
    fn what_is_removed_is_named_once_and_its_price_does_not_matter() {
        let named = read_rate_names(vec![rate("USD", "1", -5), rate("EUR", "", 1), rate("USD", "1", 7)]);
        let named = named.unwrap();
        assert_eq!(named.iter().map(name).collect::<Vec<_>>(), [("EUR", ""), ("USD", "1")]);
    }
}
