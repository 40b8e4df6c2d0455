//! What of a client's event log a caller wants to hear: the filters of subscriptions and lists.

use delivery::accept::prepare::{REFERENCE_MAX, is_printable};
use message::event::{DeliveryReport, Event, EventType};
use message::id::MessageId;
use message::status::Status;
use tonic::Status as CallStatus;

use super::convert::event::{event, is_final, report};
use super::convert::read_status;
use super::faults::Faults;
use crate::proto::v1;

/// Most statuses, types and messages of one filter.
pub const STATUSES_MAX: usize = 16;
const TYPES_MAX: usize = 16;
const MESSAGES_MAX: usize = 100;

/// Picks rows of the log and tells them in the words of one RPC.
pub trait Filter: Send + Sync + 'static {
    type Item: Send + 'static;

    /// `None` = the filter hides it.
    fn item(&self, event: &Event) -> Option<Self::Item>;
}

/// Status changes.
#[derive(Debug)]
pub struct Reports {
    /// Empty = all.
    statuses: Vec<Status>,
    final_only: bool,
    /// Empty = all.
    reference: String,
    /// Empty = all.
    messages: Vec<MessageId>,
}

/// All kinds of rows.
#[derive(Debug)]
pub struct Events {
    /// Empty = all.
    types: Vec<Pattern>,
    currency: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Pattern {
    Only(EventType),
    /// With its dot, as in `message.`.
    Kind(&'static str),
}

/// A reference to look for must be one that a message can have.
pub fn check_reference(faults: &mut Faults, reference: &str) {
    let is_one = reference.chars().count() <= REFERENCE_MAX && is_printable(reference);
    faults.check("reference", is_one, "must be at most 128 characters without control characters");
}

impl Reports {
    pub fn read(
        faults: &mut Faults,
        statuses: &[i32],
        final_only: bool,
        reference: String,
        messages: &[String],
    ) -> Self {
        faults.check("statuses", statuses.len() <= STATUSES_MAX, "must have at most 16 entries");
        faults.check("message_ids", messages.len() <= MESSAGES_MAX, "must have at most 100 entries");
        check_reference(faults, &reference);
        let statuses = statuses.iter().take(STATUSES_MAX);
        let statuses = statuses.filter_map(|number| read_status(faults, "statuses", *number)).collect();
        let messages = messages.iter().take(MESSAGES_MAX);
        let messages = messages.filter_map(|id| faults.take("message_ids", id.parse())).collect();
        Self { statuses, final_only, reference, messages }
    }

    fn shows(&self, report: &DeliveryReport) -> bool {
        (self.statuses.is_empty() || self.statuses.contains(&report.status))
            && (!self.final_only || is_final(report))
            && (self.reference.is_empty() || self.reference == report.reference)
            && (self.messages.is_empty() || self.messages.contains(&report.message))
    }
}

impl Filter for Reports {
    type Item = v1::DeliveryReport;

    fn item(&self, event: &Event) -> Option<v1::DeliveryReport> {
        event.report.as_ref().filter(|report| self.shows(report))?;
        report(event)
    }
}

impl Events {
    /// `currency` is that of the client's money.
    pub fn read(types: &[String], currency: String) -> Result<Self, CallStatus> {
        let mut faults = Faults::default();
        faults.check("types", types.len() <= TYPES_MAX, "must have at most 16 entries");
        let patterns = types.iter().take(TYPES_MAX).filter_map(|text| {
            let pattern = Pattern::read(text);
            faults.check("types", pattern.is_some(), "must hold types of events, message.* or credit.*");
            pattern
        });
        let types = patterns.collect();
        faults.into_result()?;
        Ok(Self { types, currency })
    }
}

impl Filter for Events {
    type Item = v1::Event;

    fn item(&self, told: &Event) -> Option<v1::Event> {
        let is_shown = self.types.is_empty() || self.types.iter().any(|pattern| pattern.fits(told.kind));
        is_shown.then(|| event(told, &self.currency))
    }
}

impl Pattern {
    fn read(text: &str) -> Option<Self> {
        match text {
            "message.*" => Some(Self::Kind("message.")),
            "credit.*" => Some(Self::Kind("credit.")),
            name => name.parse().ok().map(Self::Only),
        }
    }

    fn fits(&self, kind: EventType) -> bool {
        match self {
            Self::Only(only) => *only == kind,
            Self::Kind(prefix) => kind.as_str().starts_with(prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::convert::message::tests::{message_id, report_event};
    use super::*;

    fn reports(statuses: &[i32], final_only: bool, reference: &str, messages: &[String]) -> Reports {
        let mut faults = Faults::default();
        let filter = Reports::read(&mut faults, statuses, final_only, reference.to_owned(), messages);
        faults.into_result().unwrap();
        filter
    }

    #[test]
    fn every_condition_of_a_filter_must_hold() {
        let sent = report_event(3, Status::Sent, 2, false);
        let delivered = report_event(4, Status::Delivered, 2, false);
        let shows = |filter: &Reports| [&sent, &delivered].map(|event| filter.item(event).is_some());
        let told = v1::message::Status::Sent as i32;
        assert_eq!(shows(&reports(&[], false, "", &[])), [true, true]);
        assert_eq!(shows(&reports(&[told], false, "", &[])), [true, false]);
        assert_eq!(shows(&reports(&[], true, "", &[])), [false, true]);
        assert_eq!(shows(&reports(&[told], true, "", &[])), [false, false]);
        assert_eq!(shows(&reports(&[], false, "r", &[message_id(2).to_string()])), [true, true]);
        assert_eq!(shows(&reports(&[], false, "other", &[])), [false, false]);
        assert_eq!(shows(&reports(&[], false, "", &[message_id(9).to_string()])), [false, false]);
    }

    #[test]
    fn types_are_names_or_kinds_and_nothing_else() {
        let events = |types: &[&str]| {
            let types: Vec<String> = types.iter().map(|name| (*name).to_owned()).collect();
            Events::read(&types, "USD".to_owned())
        };
        let sent = report_event(3, Status::Sent, 2, false);
        for (types, is_shown) in [
            (&[][..], true),
            (&["message.*"][..], true),
            (&["message.sent", "credit.*"][..], true),
            (&["credit.*"][..], false),
            (&["message.delivered"][..], false),
        ] {
            assert_eq!(events(types).unwrap().item(&sent).is_some(), is_shown, "{types:?}");
        }
        for refused in ["*", "message.", "sent", ""] {
            assert!(events(&[refused]).is_err(), "{refused}");
        }
        assert!(events(&["message.*"; 17]).is_err());
    }
}
