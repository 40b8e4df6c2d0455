//! Magic recipients: numbers that a sandbox client sends to in order to see one course of events on
//! purpose. `+1 <area code> 555 01NN` is magic and NN decides. The range is set aside for fiction by the
//! North American Numbering Plan, so nobody owns these numbers.
//!
//! This is the one table. The accept use case reads [`Magic::call`], the simulator reads
//! [`Magic::script`], and `docs/magic-recipients.md` repeats what [`markdown`] renders (a test compares).

pub mod script;
mod table;

use std::fmt::Write as _;
use std::time::Duration;

use message::phone::PhoneNumber;

pub use script::{Answer, Cause, Course, Parts, Report, ReportTime, Script, Step};
pub use table::TABLE;

/// One row of the table.
#[derive(Debug)]
pub struct Magic {
    /// The last two digits of the number, 0 to 99.
    pub nn: u8,
    /// Set when the call itself is to be refused; sandbox clients only.
    pub call: Option<Refusal>,
    /// What the simulator does with a message that reaches it.
    pub script: Script,
    /// What happens, for the documentation.
    pub describes: &'static str,
    /// The status that the message ends in, and the failure's reason.
    pub ends_as: &'static str,
    /// What becomes of the hold.
    pub credit: &'static str,
}

/// How the call that submits the message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NoRoute,
    NoRate,
    InsufficientCredit,
    RateLimited {
        retry_after: Duration,
    },
    RecipientOptedOut,
    /// The message is committed, yet the first call with each idempotency key is told that nobody knows.
    OutcomeUncertainOnce,
}

/// Numbers outside the range that behave as 00, for countries whose regulator sets numbers aside for
/// fiction: Australia (ACMA) and Sweden (PTS).
const ALSO_PLAIN: [&str; 2] = ["+61491570006", "+46701740605"];

/// The row for a magic number; an NN without a row of its own gets 00's. `None` = an ordinary number.
pub fn of(number: &PhoneNumber) -> Option<&'static Magic> {
    lookup(number.as_str())
}

/// How a sandbox client's call to this number is refused, if it is.
pub fn refusal(number: &PhoneNumber) -> Option<Refusal> {
    of(number).and_then(|row| row.call)
}

/// [`of`] for a number in E.164 that is not parsed, as the simulator's own process gets it.
pub fn lookup(e164: &str) -> Option<&'static Magic> {
    if ALSO_PLAIN.contains(&e164) {
        return Some(plain());
    }
    let nn = nn(e164)?;
    Some(TABLE.iter().find(|row| row.nn == nn).unwrap_or_else(plain))
}

/// The script for any number at all: ordinary numbers behave as 00.
pub fn script(e164: &str) -> &'static Script {
    &lookup(e164).unwrap_or_else(plain).script
}

/// Row 00.
fn plain() -> &'static Magic {
    &TABLE[0]
}

/// The NN of `+1 <area code> 555 01NN`.
fn nn(e164: &str) -> Option<u8> {
    let national = e164.strip_prefix("+1")?;
    if national.len() != 10 || !national.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    national.get(3..)?.strip_prefix("55501")?.parse().ok()
}

/// The table as Markdown, as the documentation shows it.
pub fn markdown() -> String {
    let mut text = String::from("| NN | what happens | ends as | credit |\n|---|---|---|---|\n");
    for row in TABLE {
        let name = match row.nn {
            0 => "00, an NN not listed here, any other number".to_owned(),
            nn => format!("{nn:02}"),
        };
        writeln!(text, "| {name} | {} | {} | {} |", row.describes, row.ends_as, row.credit)
            .expect("writing to a String does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn nn_of(e164: &str) -> Option<u8> {
        lookup(e164).map(|row| row.nn)
    }

    #[test]
    fn only_the_fictional_range_is_magic() {
        for (number, expected) in [
            ("+12025550100", Some(0)),
            ("+14155550142", Some(42)),
            ("+19075550190", Some(90)),
            ("+12025550199", Some(0)),
            ("+61491570006", Some(0)),
            ("+46701740605", Some(0)),
            ("+12025550242", None),
            ("+12025560142", None),
            ("+1202555014", None),
            ("+120255501422", None),
            ("+1202555014x", None),
            ("+442025550142", None),
            ("12025550142", None),
            ("+1é2555014", None),
            ("", None),
        ] {
            assert_eq!(nn_of(number), expected, "{number}");
        }
    }

    #[test]
    fn an_ordinary_number_has_the_plain_script() {
        assert!(std::ptr::eq(script("+4915112345678"), &plain().script));
    }

    #[test]
    fn rows_are_sorted_and_unique_and_begin_with_00() {
        assert_eq!(TABLE[0].nn, 0);
        assert!(TABLE.windows(2).all(|pair| pair[0].nn < pair[1].nn));
        assert!(TABLE.iter().all(|row| row.nn < 100));
    }

    #[test]
    fn every_number_of_the_published_table_has_a_row() {
        let numbers = [0..=6, 10..=14, 20..=31, 40..=43, 50..=55, 90..=90].into_iter().flatten();
        assert_eq!(TABLE.iter().map(|row| row.nn).collect::<Vec<_>>(), numbers.collect::<Vec<u8>>());
    }

    #[test]
    fn exactly_the_fifties_refuse_the_call() {
        for row in TABLE {
            assert_eq!(row.call.is_some(), (50..=55).contains(&row.nn), "{}", row.nn);
        }
    }

    #[test]
    fn an_ordinary_number_refuses_no_call() {
        let refused = |number: &str| refusal(&PhoneNumber::parse(number).unwrap());
        assert_eq!(refused("+12025550150"), Some(Refusal::NoRoute));
        assert_eq!(refused("+12025550100"), None);
        assert_eq!(refused("+4915112345678"), None);
    }

    #[test]
    fn shares_of_a_mix_add_up_to_a_hundred() {
        for row in TABLE {
            if let Script::Mix(courses) = &row.script {
                assert_eq!(courses.iter().map(|(share, _)| u32::from(*share)).sum::<u32>(), 100);
            }
        }
    }

    #[test]
    fn the_documentation_shows_this_table() {
        let page = include_str!("../../../docs/magic-recipients.md");
        let shown: Vec<&str> = page.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(shown, markdown().lines().collect::<Vec<_>>());
    }
}
