//! What the table of magic recipients promises, read from its own words: so the documentation, which repeats them,
//! cannot promise anything else.

use message::failure::FailureReason;
use message::status::{LockState, OnUnknown, Status};
use provider::magic::Magic;

/// How a message to a magic recipient ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// SENT and UNKNOWN: it stays so, and its money is settled.
    pub(crate) status: Status,
    pub(crate) reason: Option<FailureReason>,
    /// `None` = as the client's `settle_unreported` says.
    pub(crate) credit: Option<LockState>,
    /// The attempt that the words name.
    pub(crate) attempt: Option<i32>,
    pub(crate) is_dead_letter: bool,
}

/// The end of a message of `part_count` parts; `None` = the row promises no single end, or no message.
pub(crate) fn end(row: &Magic, on_unknown: OnUnknown, part_count: u16) -> Option<End> {
    let words = |text: &'static str| for_parts(for_policy(text, on_unknown), part_count);
    let (ends_as, credit) = (words(row.ends_as), words(row.credit));
    if ends_as == "as 00" {
        return end(provider::magic::lookup("+12025550100")?, on_unknown, part_count);
    }
    if matches!(ends_as, "varies" | "no message") {
        return None;
    }
    let mut end =
        End { status: Status::Queued, reason: None, credit: None, attempt: None, is_dead_letter: false };
    for phrase in ends_as.split([',', ';']).map(str::trim) {
        read_phrase(&mut end, phrase)
            .unwrap_or_else(|| panic!("row {:02} says {phrase:?}: what is that?", row.nn));
    }
    assert_ne!(end.status, Status::Queued, "row {:02} names no status", row.nn);
    end.credit = match credit {
        "captured" | "captured once" => Some(LockState::Captured),
        "released" => Some(LockState::Released),
        "by `settle_unreported`" => None,
        other => panic!("row {:02} says of credit {other:?}: what is that?", row.nn),
    };
    Some(end)
}

/// `WAIT: one thing; RESEND: another`.
fn for_policy(text: &'static str, on_unknown: OnUnknown) -> &'static str {
    let Some((wait, resend)) = text.strip_prefix("WAIT: ").and_then(|rest| rest.split_once("; RESEND: "))
    else {
        return text;
    };
    if on_unknown == OnUnknown::Wait { wait } else { resend }
}

/// `one thing (one part: another)`.
fn for_parts(text: &'static str, part_count: u16) -> &'static str {
    let Some((several, one)) = text.split_once(" (one part: ") else { return text };
    if part_count == 1 { one.trim_end_matches(')') } else { several }
}

fn read_phrase(end: &mut End, phrase: &str) -> Option<()> {
    let word = phrase.strip_prefix("stays ").unwrap_or(phrase);
    let (word, attempt) = word.split_once(" on attempt ").unzip();
    let word = word.unwrap_or(phrase.strip_prefix("stays ").unwrap_or(phrase));
    if let Some(attempt) = attempt {
        end.attempt = Some(attempt.parse().ok()?);
    }
    if let Ok(status) = word.parse::<Status>() {
        end.status = status;
    } else if let Ok(reason) = word.parse::<FailureReason>() {
        end.reason = Some(reason);
    } else {
        match word {
            "settled at the limit" | "settled at the limit with REPORT_TIMEOUT" => {
                end.reason = Some(FailureReason::ReportTimeout);
            }
            "a dead letter" => end.is_dead_letter = true,
            // Counted by the events.
            "no extra event" | "one message" => {}
            _ => return None,
        }
    }
    Some(())
}

#[test]
fn every_row_of_the_table_can_be_read() {
    for row in provider::magic::TABLE {
        for on_unknown in [OnUnknown::Wait, OnUnknown::Resend] {
            for part_count in [1, 3] {
                let end = end(row, on_unknown, part_count);
                let is_open = row.nn == 90 || (50..55).contains(&row.nn);
                assert_eq!(end.is_none(), is_open, "{:02}", row.nn);
            }
        }
    }
    let row = provider::magic::lookup("+12025550142").expect("42 has a row");
    let resent = end(row, OnUnknown::Resend, 1).expect("it ends");
    assert_eq!((resent.status, resent.attempt), (Status::Delivered, Some(2)));
    let waits = end(row, OnUnknown::Wait, 1).expect("it ends");
    assert_eq!((waits.status, waits.reason), (Status::Unknown, Some(FailureReason::ReportTimeout)));
}
