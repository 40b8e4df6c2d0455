//! One row of a client's event log: a status change and/or a credit movement.

use crate::failure::Failure;
use crate::id::{ClientId, EventId, MessageId};
use crate::phone::PhoneNumber;
use crate::status::Status;
use crate::time::Timestamp;
use crate::words;

words! {
    /// What an event tells. The set is open towards clients: they ignore types they do not know.
    pub enum EventType {
        /// Accepted for a later time.
        MessageScheduled = "message.scheduled",
        MessageQueued = "message.queued",
        MessageSending = "message.sending",
        MessageSent = "message.sent",
        MessageDelivered = "message.delivered",
        MessageFailedTemp = "message.failed_temp",
        MessageFailedPerm = "message.failed_perm",
        MessageUnknown = "message.unknown",
        MessageExpired = "message.expired",
        MessageCanceled = "message.canceled",
        /// The time limit for a report settled the money; the status stays.
        MessageSettled = "message.settled",
        /// A report that came after a final status, or for an attempt that no longer counts.
        MessageReportIgnored = "message.report_ignored",
        CreditToppedUp = "credit.topped_up",
        /// An operator corrected the available credit.
        CreditAdjusted = "credit.adjusted",
    }
}

impl EventType {
    /// The type that announces a move to `status`.
    pub const fn of(status: Status) -> Self {
        match status {
            Status::Scheduled => Self::MessageScheduled,
            Status::Queued => Self::MessageQueued,
            Status::Sending => Self::MessageSending,
            Status::Sent => Self::MessageSent,
            Status::Delivered => Self::MessageDelivered,
            Status::FailedTemp => Self::MessageFailedTemp,
            Status::FailedPerm => Self::MessageFailedPerm,
            Status::Unknown => Self::MessageUnknown,
            Status::Expired => Self::MessageExpired,
            Status::Canceled => Self::MessageCanceled,
        }
    }
}

words! {
    /// The kind of a credit movement, with its deltas (available, held) for a price p or amount a.
    pub enum TransactionType {
        /// (+a, 0)
        TopUp = "TOP_UP",
        /// (-p, +p)
        Hold = "HOLD",
        /// (0, -p)
        Capture = "CAPTURE",
        /// (+p, -p)
        Release = "RELEASE",
        /// (+a, 0) or (-a, 0)
        Adjustment = "ADJUSTMENT",
    }
}

/// One status change as told to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryReport {
    pub message: MessageId,
    /// The client's own reference; empty if none was given.
    pub reference: String,
    pub to: PhoneNumber,
    pub status: Status,
    /// `None` for the first.
    pub previous: Option<Status>,
    /// The part it speaks of, from 1; 0 = the whole message.
    pub part: u16,
    /// From 1; 0 = before the first attempt.
    pub attempt: i32,
    /// Empty before the first attempt.
    pub provider: String,
    pub provider_ref: String,
    pub failure: Option<Failure>,
    /// When FAILED_TEMP: the time of the next attempt.
    pub next_attempt_at: Option<Timestamp>,
    /// It came after a final status, which stands.
    pub ignored: bool,
}

/// One credit movement with the balances after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub kind: TransactionType,
    pub message: Option<MessageId>,
    /// Micros of the client's currency.
    pub available_delta: i64,
    pub held_delta: i64,
    /// An operator's note; empty if none.
    pub note: String,
}

/// One row of a client's event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub client: ClientId,
    /// 1, 2, 3 ... without a gap, in commit order.
    pub seq: i64,
    pub kind: EventType,
    pub at: Timestamp,
    /// The `seq` of the previous event of the same message; 0 = none. A message's history is this chain.
    pub previous_seq: i64,
    pub report: Option<DeliveryReport>,
    pub transaction: Option<Transaction>,
    /// The balances after this event, whether it moved them or not.
    pub available_after: i64,
    pub held_after: i64,
}

impl Event {
    /// The same in every sink and at every reading.
    pub fn id(&self) -> EventId {
        EventId::of(self.client, self.seq, self.at)
    }

    pub fn message(&self) -> Option<MessageId> {
        match (&self.report, &self.transaction) {
            (Some(report), _) => Some(report.message),
            (None, Some(transaction)) => transaction.message,
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_announced_by_its_own_type() {
        for status in Status::ALL {
            let word = format!("message.{}", status.as_str().to_lowercase());
            assert_eq!(EventType::of(*status).as_str(), word);
        }
    }
}
