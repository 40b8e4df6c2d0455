//! How results are printed: a table for people, JSON for programs.

use std::io::{IsTerminal, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use herald_sdk::v1;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde::{Serialize, Serializer};

use super::connect::{Color, Output};
use super::exit::Failed;
use crate::proto::DESCRIPTORS;

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("the build made the descriptors"));

static HAS_COLOUR: AtomicBool = AtomicBool::new(false);

/// Decides whether standard output has colours: the flag, then NO_COLOR (no-color.org), then whether it is a terminal.
pub fn choose_colour(choice: Color) {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let has_colour = match choice {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => !is_refused && std::io::stdout().is_terminal(),
    };
    HAS_COLOUR.store(has_colour, Ordering::Relaxed);
}

/// Whether standard output has colours.
pub fn has_colour() -> bool {
    HAS_COLOUR.load(Ordering::Relaxed)
}

/// Micros as whole units with two to six decimals: 7500 is 0.0075.
pub fn money(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (units, fraction) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let digits = format!("{fraction:06}");
    let short = digits.trim_end_matches('0');
    format!("{sign}{units}.{short:0<2}")
}

/// A change of credit, with its sign.
pub fn money_change(micros: i64) -> String {
    if micros > 0 { format!("+{}", money(micros)) } else { money(micros) }
}

/// Writes a line to standard output.
pub fn line(text: &str) -> Result<(), Failed> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// A message as ProtoJSON, with fields that have their default value, in the order of the proto file.
pub struct Json(DynamicMessage);

impl Json {
    /// `name` is the message's name within `herald.v1`; the SDK's and the server's types are the same bytes.
    pub fn new(name: &str, message: &impl prost::Message) -> anyhow::Result<Self> {
        let name = format!("herald.v1.{name}");
        let descriptor = POOL.get_message_by_name(&name).with_context(|| format!("there is no {name}"))?;
        Ok(Self(DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_with_options(serializer, &SerializeOptions::new().skip_default_fields(false))
    }
}

/// Writes a message of `herald.v1` as JSON.
pub fn json(output: Output, name: &str, message: &impl prost::Message) -> Result<(), Failed> {
    value(output, &Json::new(name, message)?)
}

/// Writes JSON: on one line, or indented.
pub fn value(output: Output, value: &impl Serialize) -> Result<(), Failed> {
    let text = match output {
        Output::Jsonl => serde_json::to_string(value),
        Output::Json | Output::Table => serde_json::to_string_pretty(value),
    };
    line(&text.context("the answer cannot be shown as JSON")?)
}

/// Names with their values, aligned; empty values are left out.
pub fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let shown = facts.iter().filter(|(_, value)| !value.is_empty());
    shown.map(|(name, value)| format!("{name:width$}  {}", visible(value))).collect::<Vec<_>>().join("\n")
}

/// The text with its control characters written out: what others wrote must not steer a terminal, nor break a line.
pub fn visible(text: &str) -> String {
    let show = |character: char| {
        if character.is_control() { character.escape_default().to_string() } else { character.to_string() }
    };
    text.chars().map(show).collect()
}

/// Rows in aligned columns under a header.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    let rows = rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect());
    let all: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let columns = all.iter().map(|row| row.len()).max().unwrap_or(0);
    let width =
        |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let show = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(show).collect::<Vec<_>>().join("\n")
}

/// A value of an enum as the API names it, without the enum's prefix; empty if unspecified.
pub fn word(name: &str, prefix: &str) -> String {
    let word = name.strip_prefix(prefix).unwrap_or(name);
    if word == "UNSPECIFIED" { String::new() } else { word.to_owned() }
}

/// `yes`, or nothing.
pub fn yes(is_so: bool) -> String {
    if is_so { "yes".to_owned() } else { String::new() }
}

/// What a repeated call is told by.
pub fn replayed(is_so: bool) -> String {
    if is_so { "yes: the same key was used before".to_owned() } else { String::new() }
}

/// A status without its prefix.
pub fn status_name(status: v1::message::Status) -> &'static str {
    let name = status.as_str_name();
    name.strip_prefix("STATUS_").unwrap_or(name)
}

/// A status as it moved, coloured on a terminal: `SENT -> DELIVERED`.
pub fn status_change(from: v1::message::Status, to: v1::message::Status) -> String {
    let to_name = paint(to, has_colour());
    match from {
        v1::message::Status::Unspecified => to_name,
        from => format!("{} -> {to_name}", status_name(from)),
    }
}

fn paint(status: v1::message::Status, with_colour: bool) -> String {
    use v1::message::Status as S;
    let name = status_name(status);
    let colour = match status {
        S::Delivered => 32,
        S::FailedPerm | S::Expired => 31,
        S::FailedTemp | S::Unknown => 33,
        _ => return name.to_owned(),
    };
    if with_colour { format!("\x1b[{colour}m{name}\x1b[0m") } else { name.to_owned() }
}

/// Why a message failed: the reason, the provider's code and words, as far as known.
pub fn failure(failure: Option<&v1::Failure>) -> String {
    let Some(failure) = failure else { return String::new() };
    let name = word(failure.reason().as_str_name(), "REASON_");
    let parts = [&name, &failure.provider_code, &failure.detail].map(|part| visible(part));
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A span in the largest unit that fits, as options take it; empty if unset.
pub fn span(span: Option<&prost_types::Duration>) -> String {
    let Some(span) = span else { return String::new() };
    if span.nanos != 0 {
        return span.to_string();
    }
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    let fits = units.into_iter().find(|(unit, _)| span.seconds != 0 && span.seconds % unit == 0);
    let (unit, letter) = fits.unwrap_or((1, 's'));
    format!("{}{letter}", span.seconds / unit)
}

/// RFC 3339; empty if unset.
pub fn time(time: Option<&prost_types::Timestamp>) -> String {
    time.map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn money_keeps_every_micro_and_at_least_two_decimals() {
        let cases = [
            (100_000_000, "100.00"),
            (7_500, "0.0075"),
            (-1, "-0.000001"),
            (1_500_000, "1.50"),
            (i64::MIN, "-9223372036854.775808"),
        ];
        for (micros, expected) in cases {
            assert_eq!(money(micros), expected);
        }
    }

    #[test]
    fn json_is_that_of_the_api_with_zeros_shown() {
        let balance =
            v1::Balance { held_micros: 7_500, currency: "USD".into(), seq: 3, ..v1::Balance::default() };
        let shown = serde_json::to_string(&Json::new("Balance", &balance).unwrap()).unwrap();
        assert_eq!(
            shown,
            r#"{"availableMicros":"0","heldMicros":"7500","currency":"USD","seq":"3","isLow":false}"#
        );
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_blanks_at_their_end() {
        let rows = vec![vec!["1".to_owned(), "Zürich".to_owned()], vec!["1000".to_owned(), String::new()]];
        assert_eq!(table(&["ID", "WHERE"], &rows), "ID    WHERE\n1     Zürich\n1000");
        assert_eq!(facts(&[("id", "7".into()), ("sender", String::new())]), "id      7");
    }

    #[test]
    fn what_others_wrote_does_not_steer_the_terminal() {
        let rows = vec![vec!["a\u{1b}[31m\nb".to_owned()]];
        assert_eq!(table(&["TEXT"], &rows), "TEXT\na\\u{1b}[31m\\nb");
        assert_eq!(facts(&[("text", "a\tb".into())]), "text  a\\tb");
    }

    #[test]
    fn a_span_is_shown_as_options_take_it() {
        let shown = |seconds, nanos| span(Some(&prost_types::Duration { seconds, nanos }));
        let cases = [(0, "0s"), (90, "90s"), (600, "10m"), (172_800, "2d"), (90_000, "25h")];
        for (seconds, expected) in cases {
            assert_eq!(shown(seconds, 0), expected);
        }
        assert_eq!(shown(1, 500_000_000), "1.500s");
        assert_eq!(span(None), "");
    }

    #[test]
    fn a_status_has_a_colour_only_on_a_terminal() {
        use v1::message::Status;
        assert_eq!(paint(Status::Delivered, false), "DELIVERED");
        assert_eq!(paint(Status::Delivered, true), "\x1b[32mDELIVERED\x1b[0m");
        assert_eq!(status_change(Status::Unspecified, Status::Queued), "QUEUED");
        assert_eq!(status_change(Status::Queued, Status::Sending), "QUEUED -> SENDING");
    }

    #[test]
    fn a_failure_tells_what_is_known() {
        let known = v1::Failure {
            reason: v1::failure::Reason::RecipientUnreachable.into(),
            provider_code: "UNDELIV".into(),
            ..Default::default()
        };
        assert_eq!(failure(Some(&known)), "RECIPIENT_UNREACHABLE UNDELIV");
        assert_eq!(failure(Some(&v1::Failure::default())), "");
        assert_eq!(failure(None), "");
    }
}
