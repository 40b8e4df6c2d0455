//! Dead letters, and reports that match no message.

use delivery::model::{DeadLetter, Message};
use delivery::port::UnmatchedReport;
use message::id::MessageId;
use message::report::ReportState;

use super::message::brief;
use super::{failure, timestamp};
use crate::proto::v1;

pub fn dead_letter(letter: &DeadLetter, message: &Message) -> v1::DeadLetter {
    v1::DeadLetter {
        client_id: letter.key.client.to_string(),
        message: Some(brief(message)),
        has_unknown_attempt: letter.has_unknown_attempt,
        time: Some(timestamp(letter.at)),
        replayed_as: letter.replayed_as.map(|id| id.to_string()).unwrap_or_default(),
    }
}

/// As the audit trail keeps it: of the message only the id.
pub fn bare_letter(letter: &DeadLetter, replayed_as: Option<MessageId>) -> v1::DeadLetter {
    v1::DeadLetter {
        client_id: letter.key.client.to_string(),
        message: Some(v1::Message { id: letter.key.id.to_string(), ..v1::Message::default() }),
        has_unknown_attempt: letter.has_unknown_attempt,
        time: Some(timestamp(letter.at)),
        replayed_as: replayed_as.map(|id| id.to_string()).unwrap_or_default(),
    }
}

pub fn unmatched_report(unmatched: &UnmatchedReport) -> v1::UnmatchedReport {
    let report = &unmatched.report;
    let status = match report.state {
        ReportState::Accepted | ReportState::EnRoute => v1::message::Status::Sent,
        ReportState::Delivered => v1::message::Status::Delivered,
        ReportState::Failed => v1::message::Status::FailedPerm,
        ReportState::Remark => v1::message::Status::Unspecified,
    };
    v1::UnmatchedReport {
        provider: unmatched.provider.clone(),
        provider_message_id: report.provider_ref.clone(),
        status: status.into(),
        failure: failure(report.failure.as_ref(), None),
        store_time: Some(timestamp(unmatched.stored_at)),
    }
}
