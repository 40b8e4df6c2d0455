//! The price of a part by the longest prefix of the recipient's number.

use std::collections::{BTreeMap, HashMap};

use message::PhoneNumber;

/// Longest prefix: a whole number (ITU-T E.164).
const PREFIX_MAX: usize = 15;

/// Rates by currency, then by prefix.
#[derive(Clone, Debug, Default)]
pub struct RateTable {
    currencies: HashMap<String, BTreeMap<String, i64>>,
}

/// What a message costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The prefix that matched; empty = the default.
    pub prefix: String,
    /// Micros of the currency.
    pub part_price_micros: i64,
    pub total_micros: i64,
}

/// There is no price for this recipient, or it does not fit 63 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no rate for this recipient")]
pub struct NoRate;

/// Why a rate is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRate {
    #[error("prefix {0:?} must be at most 15 digits")]
    Prefix(String),
    #[error("the price of prefix {0:?} is negative")]
    Negative(String),
    #[error("prefix {0:?} stands twice")]
    Duplicate(String),
}

impl RateTable {
    /// Takes (currency, prefix, micros a part). The empty prefix is the default.
    pub fn new(rows: impl IntoIterator<Item = (String, String, i64)>) -> Result<Self, BadRate> {
        let mut currencies: HashMap<String, BTreeMap<String, i64>> = HashMap::new();
        for (currency, prefix, micros) in rows {
            if prefix.len() > PREFIX_MAX || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(BadRate::Prefix(prefix));
            }
            if micros < 0 {
                return Err(BadRate::Negative(prefix));
            }
            if currencies.entry(currency).or_default().insert(prefix.clone(), micros).is_some() {
                return Err(BadRate::Duplicate(prefix));
            }
        }
        Ok(Self { currencies })
    }

    /// The price of `parts` parts to a recipient.
    pub fn price(&self, currency: &str, to: &PhoneNumber, parts: u16) -> Result<Price, NoRate> {
        let rates = self.currencies.get(currency).ok_or(NoRate)?;
        let digits = to.digits();
        let (prefix, part_price_micros) = (0..=digits.len())
            .rev()
            .find_map(|length| rates.get_key_value(&digits[..length]))
            .ok_or(NoRate)?;
        let total_micros = part_price_micros.checked_mul(i64::from(parts)).ok_or(NoRate)?;
        Ok(Price { prefix: prefix.clone(), part_price_micros: *part_price_micros, total_micros })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn number(digits: &str) -> PhoneNumber {
        PhoneNumber::from_trusted(format!("+{digits}")).unwrap()
    }

    fn table(rows: &[(&str, i64)]) -> Result<RateTable, BadRate> {
        RateTable::new(rows.iter().map(|(prefix, micros)| ("USD".into(), (*prefix).into(), *micros)))
    }

    #[test]
    fn the_longest_prefix_wins_and_the_default_takes_the_rest() {
        let table = table(&[("", 10), ("1", 7), ("1202", 5), ("49", 60)]).unwrap();
        for (to, prefix, micros) in [
            ("12025550100", "1202", 5),
            ("14155550100", "1", 7),
            ("4915112345678", "49", 60),
            ("33612345678", "", 10),
        ] {
            let price = table.price("USD", &number(to), 3).unwrap();
            assert_eq!((price.prefix.as_str(), price.part_price_micros), (prefix, micros));
            assert_eq!(price.total_micros, 3 * micros);
        }
        assert_eq!(table.price("EUR", &number("12025550100"), 1), Err(NoRate));
    }

    #[test]
    fn without_a_default_an_unlisted_recipient_has_no_rate() {
        let table = table(&[("44", 7)]).unwrap();
        assert_eq!(table.price("USD", &number("12025550100"), 1), Err(NoRate));
        let dear = super::tests::table(&[("", i64::MAX)]).unwrap();
        assert_eq!(dear.price("USD", &number("12025550100"), 2), Err(NoRate));
    }

    #[test]
    fn bad_rates_are_refused() {
        assert!(matches!(table(&[("+1", 1)]), Err(BadRate::Prefix(_))));
        assert!(matches!(table(&[("1234567890123456", 1)]), Err(BadRate::Prefix(_))));
        assert!(matches!(table(&[("1", -1)]), Err(BadRate::Negative(_))));
        assert!(matches!(table(&[("1", 1), ("1", 2)]), Err(BadRate::Duplicate(_))));
    }

    proptest! {
        /// Compared with a look at every row.
        #[test]
        fn the_price_is_that_of_the_longest_listed_prefix(
            rows in proptest::collection::btree_map("[1-3]{0,4}", 0..1_000_000i64, 0..20),
            digits in "[1-3]{7,15}",
            parts in 1..256u16,
        ) {
            let listed: Vec<(&str, i64)> = rows.iter().map(|(prefix, micros)| (prefix.as_str(), *micros)).collect();
            let matching = listed.iter().filter(|(prefix, _)| digits.starts_with(prefix));
            let expected = matching.max_by_key(|(prefix, _)| prefix.len()).map(|(prefix, micros)| Price {
                prefix: (*prefix).to_owned(),
                part_price_micros: *micros,
                total_micros: micros * i64::from(parts),
            });
            let found = table(&listed).unwrap().price("USD", &number(&digits), parts);
            prop_assert_eq!(found, expected.ok_or(NoRate));
        }
    }
}
