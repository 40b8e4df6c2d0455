//! Messages.

use delivery::model::{Message, MessageRecord};
use message::encoding::Coding;
use message::event::Event;
use message::parts::{self, Content, Part, PartsError, SplitBy};
use message::status::{LockState, PartState, Status};

use super::{class, count, encoding, failure, national_table, priority, status, timestamp};
use crate::proto::v1;

/// A message as lists carry it: without parts and history.
pub fn brief(message: &Message) -> v1::Message {
    let Message { record, state } = message;
    let (text, data) = match &record.content {
        Content::Text(text) => (text.as_str().to_owned(), Vec::new()),
        Content::Binary(data) => (String::new(), data.clone()),
    };
    let next_attempt_at = state.due_at.filter(|_| state.status == Status::FailedTemp);
    v1::Message {
        id: record.key.id.to_string(),
        to: record.to.as_str().to_owned(),
        sender: record.sender.clone(),
        text,
        data,
        status: status(state.status).into(),
        failure: failure(state.failure.as_ref(), next_attempt_at),
        encoding: encoding(record.encoding).into(),
        part_count: i32::from(record.part_count),
        price_micros: record.price_micros,
        currency: record.currency.clone(),
        credit: credit(state.lock).into(),
        reference: record.reference.clone(),
        metadata: record.metadata.clone().into_iter().collect(),
        attempt_count: state.attempt,
        provider: state.provider.clone(),
        provider_message_id: state.provider_refs.first().cloned().unwrap_or_default(),
        create_time: Some(timestamp(record.created_at)),
        status_time: Some(timestamp(state.status_at)),
        schedule_time: record.scheduled_at.map(timestamp),
        expire_time: Some(timestamp(record.expire_at)),
        replay_of: record.replay_of.map(|id| id.to_string()).unwrap_or_default(),
        parts: Vec::new(),
        history: Vec::new(),
        is_transliterated: record.is_transliterated,
        national_table: national_table(record.shifts.table()).into(),
        priority: priority(record.priority).into(),
        flash: record.is_flash,
        message_class: class(record.class).into(),
    }
}

/// The message with its parts, as receipts carry it.
///
/// Errors: the stored content does not split as it did at accept, which is damage.
pub fn with_parts(message: &Message) -> Result<v1::Message, PartsError> {
    let parts = parts(message)?;
    Ok(v1::Message { parts, ..brief(message) })
}

/// The message with parts and history, from the events of the message in ascending order.
pub fn whole(message: &Message, events: &[Event]) -> Result<v1::Message, PartsError> {
    // The two were read one after the other: what came in between is left for the next call.
    let known = events.iter().filter(|event| event.seq <= message.state.last_event_seq);
    let history = known.filter_map(status_change).collect();
    Ok(v1::Message { history, ..with_parts(message)? })
}

fn parts(message: &Message) -> Result<Vec<v1::Part>, PartsError> {
    let Message { record, state } = message;
    // Split again as it was at accept: content, coding and reference size are frozen.
    let coding = coding(record);
    let parts = parts::split(&record.content, coding, record.reference_bits, SplitBy::Grapheme)?;
    // A provider gives a reference for each part, or one for the whole message.
    let has_own_refs = state.provider_refs.len() == parts.len();
    let told = parts.iter().enumerate().map(|(index, part)| v1::Part {
        status: status(part_status(state.parts.get(part.number), state.status)).into(),
        provider_message_id: state
            .provider_refs
            .get(index)
            .filter(|_| has_own_refs)
            .cloned()
            .unwrap_or_default(),
        ..bare_part(part, &record.content)
    });
    Ok(told.collect())
}

/// A part of a message that nobody has sent.
pub fn bare_part(part: &Part, content: &Content) -> v1::Part {
    v1::Part {
        number: i32::from(part.number),
        text: part.text(content).unwrap_or_default().to_owned(),
        units: count(part.units),
        unit_limit: count(part.unit_limit),
        ..v1::Part::default()
    }
}

fn coding(record: &MessageRecord) -> Coding {
    Coding { encoding: record.encoding, shifts: record.shifts }
}

fn part_status(part: Option<PartState>, message: Status) -> Status {
    match part {
        Some(PartState::Delivered) => Status::Delivered,
        Some(PartState::Failed) => Status::FailedPerm,
        Some(PartState::Open) | None => message,
    }
}

/// A step in the message's life; `None` for what did not move it.
fn status_change(event: &Event) -> Option<v1::StatusChange> {
    let report = event.report.as_ref().filter(|report| !report.ignored)?;
    Some(v1::StatusChange {
        status: status(report.status).into(),
        time: Some(timestamp(event.at)),
        attempt: report.attempt,
        provider: report.provider.clone(),
        failure: failure(report.failure.as_ref(), report.next_attempt_at),
    })
}

fn credit(lock: LockState) -> v1::message::Credit {
    match lock {
        LockState::Held => v1::message::Credit::Held,
        LockState::Captured => v1::message::Credit::Captured,
        LockState::Released => v1::message::Credit::Released,
    }
}

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used)]
    use delivery::model::{MessageKey, MessageRecord, MessageState};
    use message::class::{MessageClass, Priority};
    use message::encoding::{Encoding, NationalTable, Shifts};
    use message::event::{DeliveryReport, EventType};
    use message::id::{ClientId, Entropy, MessageId};
    use message::parts::{MessageText, ReferenceBits};
    use message::phone::PhoneNumber;
    use message::status::{OnUnknown, PartStates};
    use message::time::Timestamp;

    use super::*;

    pub fn client() -> ClientId {
        ClientId::new(Timestamp::from_micros(1), Entropy([1; 10]))
    }

    pub fn message_id(byte: u8) -> MessageId {
        MessageId::new(Timestamp::from_micros(2_000), Entropy([byte; 10]))
    }

    /// A message of two parts.
    fn message() -> Message {
        let content = Content::Text(MessageText::from("a".repeat(200)));
        let record = MessageRecord {
            key: MessageKey { client: client(), id: message_id(2) },
            to: PhoneNumber::parse("+12025550100").unwrap(),
            sender: "Herald".into(),
            content,
            encoding: Encoding::Gsm7,
            shifts: Shifts::NONE,
            is_transliterated: false,
            reference_bits: ReferenceBits::Eight,
            part_count: 2,
            price_micros: 15_000,
            currency: "USD".into(),
            reference: "r".into(),
            metadata: [("k".to_owned(), "v".to_owned())].into(),
            on_unknown: OnUnknown::Wait,
            priority: Priority::High,
            is_flash: true,
            class: MessageClass::Otp,
            replay_of: Some(message_id(9)),
            created_at: Timestamp::from_micros(10),
            scheduled_at: Some(Timestamp::from_micros(12)),
            expire_at: Timestamp::from_micros(20),
        };
        let state = MessageState {
            status: Status::Sent,
            status_at: Timestamp::from_micros(15),
            lock: LockState::Held,
            fence: 1,
            attempt: 1,
            due_at: None,
            lease_until: None,
            timer_at: None,
            provider: "simulator".into(),
            provider_refs: vec!["p1".into(), "p2".into()],
            failure: None,
            parts: PartStates::open(2),
            has_open_earlier_attempt: false,
            last_event_seq: 3,
        };
        Message { record, state }
    }

    pub fn report_event(seq: i64, status: Status, message: u8, ignored: bool) -> Event {
        Event {
            client: client(),
            seq,
            kind: if ignored { EventType::MessageReportIgnored } else { EventType::of(status) },
            at: Timestamp::from_micros(seq),
            previous_seq: seq - 1,
            report: Some(DeliveryReport {
                message: message_id(message),
                reference: "r".into(),
                to: PhoneNumber::parse("+12025550100").unwrap(),
                status,
                previous: (seq > 1).then_some(Status::Queued),
                part: 0,
                attempt: 1,
                provider: "simulator".into(),
                provider_ref: "p1".into(),
                failure: None,
                next_attempt_at: None,
                ignored,
            }),
            transaction: None,
            available_after: 1,
            held_after: 2,
        }
    }

    #[test]
    fn parts_are_split_again_with_their_own_status_and_reference() {
        let mut message = message();
        message.state.parts.note(2, PartState::Failed);
        let told = with_parts(&message).unwrap();
        let expected = [
            (1, 153, 153, v1::message::Status::Sent, "p1"),
            (2, 47, 153, v1::message::Status::FailedPerm, "p2"),
        ];
        assert_eq!(told.parts.len(), expected.len());
        for (part, (number, units, limit, status, reference)) in told.parts.iter().zip(expected) {
            assert_eq!((part.number, part.units, part.unit_limit), (number, units, limit));
            assert_eq!(part.status(), status);
            assert_eq!(part.provider_message_id, reference);
        }
        assert_eq!(told.parts.iter().map(|part| part.text.as_str()).collect::<String>(), told.text);
        assert_eq!(told.provider_message_id, "p1");
    }

    #[test]
    fn a_reference_for_the_whole_message_is_not_a_parts_own() {
        let mut message = message();
        message.state.provider_refs.truncate(1);
        let told = with_parts(&message).unwrap();
        assert!(told.parts.iter().all(|part| part.provider_message_id.is_empty()));
        assert_eq!(told.provider_message_id, "p1");
    }

    #[test]
    fn history_leaves_out_ignored_reports_and_what_came_after_the_message_was_read() {
        let events = [
            report_event(1, Status::Queued, 2, false),
            report_event(2, Status::Sending, 2, false),
            report_event(3, Status::Delivered, 2, true),
            report_event(4, Status::Delivered, 2, false),
        ];
        let told = whole(&message(), &events).unwrap();
        let statuses: Vec<_> = told.history.iter().map(v1::StatusChange::status).collect();
        assert_eq!(statuses, [v1::message::Status::Queued, v1::message::Status::Sending]);
    }

    #[test]
    fn lists_leave_parts_and_history_out_and_the_next_attempt_is_told_while_it_waits_only() {
        let mut message = message();
        message.state.due_at = Some(Timestamp::from_micros(99));
        assert!(brief(&message).parts.is_empty());
        assert_eq!(brief(&message).failure, None);
        message.state.status = Status::FailedTemp;
        assert!(brief(&message).failure.is_some_and(|failure| failure.next_attempt_time.is_some()));
    }

    #[test]
    fn what_the_request_asked_for_is_told() {
        let told = brief(&message());
        assert_eq!(told.schedule_time, Some(timestamp(Timestamp::from_micros(12))));
        assert_eq!(told.replay_of, message_id(9).to_string());
        assert_eq!((told.priority(), told.message_class()), (v1::Priority::High, v1::MessageClass::Otp));
        assert!(told.flash && !told.is_transliterated);
        assert_eq!(told.national_table(), v1::NationalTable::Unspecified);
    }

    #[test]
    fn a_text_of_a_national_table_is_split_with_it() {
        let mut message = message();
        message.record.content = Content::Text(MessageText::from("ş".repeat(100)));
        message.record.shifts = Shifts { single: Some(NationalTable::Turkish), locking: None };
        let told = with_parts(&message).unwrap();
        assert_eq!(told.national_table(), v1::NationalTable::Turkish);
        assert_eq!(told.parts.iter().map(|part| part.units).sum::<i32>(), 200);
        message.record.shifts = Shifts::NONE;
        assert!(with_parts(&message).is_err(), "the letter is in the national table only");
    }
}
