//! How amounts, times and spans are written on the command line.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

/// Seconds of each unit.
const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
/// A hundred years: no span of the API comes near it, and no sum with a time overflows.
const LONGEST: u64 = 100 * 366 * 86_400;

/// An amount above zero with at most six decimals, exactly, in micros.
pub fn amount(text: &str) -> Result<i64, String> {
    let micros = micros(text)?;
    if micros > 0 { Ok(micros) } else { Err("it must be above zero".to_owned()) }
}

/// An amount above or below zero, in micros.
pub fn change(text: &str) -> Result<i64, String> {
    match text.strip_prefix('-') {
        Some(positive) => amount(positive).map(|micros| -micros),
        None => amount(text.strip_prefix('+').unwrap_or(text)),
    }
}

/// An amount of zero or more, in micros.
pub fn micros(text: &str) -> Result<i64, String> {
    let form = || "it must be an amount with at most six decimals, such as 25.50".to_owned();
    let (units, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(units) || !is_number(decimals) || decimals.len() > 6 {
        return Err(form());
    }
    let fraction: i64 = format!("{decimals:0<6}").parse().map_err(|_| form())?;
    let whole = units.parse::<i64>().ok().and_then(|units| units.checked_mul(1_000_000));
    whole.and_then(|whole| whole.checked_add(fraction)).ok_or_else(|| "it is too large".to_owned())
}

/// A span such as `90s`, `10m`, `48h`, `7d` or `1h30m`; a bare number is seconds.
pub fn span(text: &str) -> Result<prost_types::Duration, String> {
    let span = seconds(text)?;
    Ok(prost_types::Duration { seconds: i64::try_from(span).map_err(|_| "it is too long")?, nanos: 0 })
}

/// A time ahead: RFC 3339, or `+` and a span from now by this machine's clock.
pub fn time_ahead(text: &str) -> Result<Timestamp, String> {
    match text.strip_prefix('+') {
        Some(span) => Ok((SystemTime::now() + Duration::from_secs(seconds(span)?)).into()),
        None => time(text, "+10m"),
    }
}

/// A time that has passed: RFC 3339, or a span before now by this machine's clock.
pub fn time_ago(text: &str) -> Result<Timestamp, String> {
    match seconds(text) {
        Ok(span) => Ok((SystemTime::now() - Duration::from_secs(span)).into()),
        Err(_) => time(text, "1h"),
    }
}

/// Your own label.
pub fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn time(text: &str, span: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|_| format!("it must be a time such as 2026-01-31T12:00:00Z, or a span such as {span}"))
}

fn seconds(text: &str) -> Result<u64, String> {
    let form = || "it must be a span such as 90s, 10m, 48h or 7d".to_owned();
    if text.is_empty() {
        return Err(form());
    }
    let mut rest = text;
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..end].parse().map_err(|_| form())?;
        let mut after = rest[end..].chars();
        let unit = match after.next() {
            Some(letter) => UNITS.iter().find(|(name, _)| *name == letter).ok_or_else(form)?.1,
            None if rest.len() == text.len() => 1,
            None => return Err(form()),
        };
        sum = number.checked_mul(unit).and_then(|more| sum.checked_add(more)).ok_or("it is too long")?;
        rest = after.as_str();
    }
    if sum <= LONGEST { Ok(sum) } else { Err("it is too long".to_owned()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

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
            assert_eq!(amount(text), Ok(expected), "{text}");
            assert_eq!(change(&format!("-{text}")), Ok(-expected), "-{text}");
            assert_eq!(change(&format!("+{text}")), Ok(expected), "+{text}");
        }
        let bad =
            ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "0.0000001", "9223372036854.775808", "١", "--1"];
        for text in bad.into_iter().chain(["0", "0.0"]) {
            assert!(amount(text).is_err(), "{text}");
        }
        for text in bad {
            assert!(micros(text).is_err(), "{text}");
        }
        assert_eq!(micros("0.0"), Ok(0));
        assert!(change("-0").is_err());
    }

    #[test]
    fn spans_are_read_in_their_units_or_refused() {
        let good =
            [("90", 90), ("90s", 90), ("10m", 600), ("48h", 172_800), ("7d", 604_800), ("1h30m", 5_400)];
        for (text, expected) in good {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "h", "1x", "1h30", "-1h", "1.5h", "1 h", "99999999999d", "40000d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_is_absolute_or_counted_from_now() {
        let now = Timestamp::from(SystemTime::now()).seconds;
        let ahead = time_ahead("+10m").unwrap().seconds;
        let ago = time_ago("1h").unwrap().seconds;
        assert!((now + 600..now + 660).contains(&ahead), "{now} {ahead}");
        assert!((now - 3_660..=now - 3_600 + 60).contains(&ago), "{now} {ago}");
        for read in [time_ahead, time_ago] {
            assert_eq!(read("2026-01-31T12:00:00Z").unwrap().to_string(), "2026-01-31T12:00:00Z");
            assert_eq!(read("2026-01-31T12:00:00+02:00").unwrap().to_string(), "2026-01-31T10:00:00Z");
            assert!(read("tomorrow").is_err());
        }
        assert!(time_ahead("10m").is_err(), "a time ahead says so");
    }

    #[test]
    fn a_label_is_split_at_its_first_equals_sign() {
        assert_eq!(label("order=a=b"), Ok(("order".to_owned(), "a=b".to_owned())));
        assert!(label("order").is_err());
    }
}
