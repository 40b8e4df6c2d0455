//! Events, delivery reports and transactions.

use delivery::model::{Client, Head};
use delivery::port::Total;
use message::event::{DeliveryReport, Event, TransactionType};
use message::status::Status;

use super::{failure, read_enum, status, timestamp};
use crate::grpc::faults::Faults;
use crate::proto::v1;

/// An event of a client whose money is in `currency`.
pub fn event(event: &Event, currency: &str) -> v1::Event {
    v1::Event {
        seq: event.seq,
        id: event.id().to_string(),
        r#type: event.kind.as_str().to_owned(),
        time: Some(timestamp(event.at)),
        message_id: event.message().map(|id| id.to_string()).unwrap_or_default(),
        report: report(event),
        transaction: transaction(event, currency),
    }
}

/// The status change that the event tells, if it tells one.
pub fn report(event: &Event) -> Option<v1::DeliveryReport> {
    let report = event.report.as_ref()?;
    Some(v1::DeliveryReport {
        seq: event.seq,
        event_id: event.id().to_string(),
        message_id: report.message.to_string(),
        reference: report.reference.clone(),
        to: report.to.as_str().to_owned(),
        status: status(report.status).into(),
        previous_status: report.previous.map_or(v1::message::Status::Unspecified, status).into(),
        is_final: is_final(report),
        part_number: i32::from(report.part),
        attempt: report.attempt,
        provider: report.provider.clone(),
        provider_message_id: report.provider_ref.clone(),
        failure: failure(report.failure.as_ref(), report.next_attempt_at),
        time: Some(timestamp(event.at)),
        ignored: report.ignored,
    })
}

/// Nothing but an ignored report can follow. One that was ignored itself changed nothing: the status that stood
/// before it stands.
pub fn is_final(report: &DeliveryReport) -> bool {
    if report.ignored { report.previous.is_some_and(Status::is_final) } else { report.status.is_final() }
}

/// The credit movement that the event tells, if it tells one.
pub fn transaction(event: &Event, currency: &str) -> Option<v1::Transaction> {
    let moved = event.transaction.as_ref()?;
    Some(v1::Transaction {
        seq: event.seq,
        id: event.id().to_string(),
        r#type: transaction_type(moved.kind).into(),
        message_id: moved.message.map(|id| id.to_string()).unwrap_or_default(),
        available_delta_micros: moved.available_delta,
        held_delta_micros: moved.held_delta,
        available_after_micros: event.available_after,
        held_after_micros: event.held_after,
        currency: currency.to_owned(),
        note: moved.note.clone(),
        time: Some(timestamp(event.at)),
    })
}

fn transaction_type(kind: TransactionType) -> v1::transaction::Type {
    match kind {
        TransactionType::TopUp => v1::transaction::Type::TopUp,
        TransactionType::Hold => v1::transaction::Type::Hold,
        TransactionType::Capture => v1::transaction::Type::Capture,
        TransactionType::Release => v1::transaction::Type::Release,
        TransactionType::Adjustment => v1::transaction::Type::Adjustment,
    }
}

/// The balance of the head.
pub fn balance(client: &Client, head: &Head) -> v1::Balance {
    let available = head.balance.available();
    v1::Balance {
        available_micros: available,
        held_micros: head.balance.held(),
        currency: client.currency.clone(),
        seq: head.last_seq,
        is_low: is_low(available, client.low_balance_micros),
    }
}

/// Below the mark; a mark of 0 is none.
pub fn is_low(available_micros: i64, mark_micros: i64) -> bool {
    mark_micros > 0 && available_micros < mark_micros
}

/// The movements of one type.
pub fn statement_line(total: &Total) -> v1::StatementLine {
    v1::StatementLine {
        r#type: transaction_type(total.kind).into(),
        count: total.count,
        available_delta_micros: total.available_delta,
        held_delta_micros: total.held_delta,
    }
}

/// The kinds of a filter, sorted, each once.
pub fn read_transaction_types(
    faults: &mut Faults,
    field: &'static str,
    numbers: &[i32],
) -> Vec<TransactionType> {
    use v1::transaction::Type;
    let mut kinds = Vec::new();
    for number in numbers {
        match read_enum(faults, field, *number) {
            None => {}
            Some(Type::Unspecified) => faults.add(field, "must not hold TYPE_UNSPECIFIED"),
            Some(Type::TopUp) => kinds.push(TransactionType::TopUp),
            Some(Type::Hold) => kinds.push(TransactionType::Hold),
            Some(Type::Capture) => kinds.push(TransactionType::Capture),
            Some(Type::Release) => kinds.push(TransactionType::Release),
            Some(Type::Adjustment) => kinds.push(TransactionType::Adjustment),
        }
        if kinds.len() > 2 * TransactionType::ALL.len() {
            faults.add(field, "names kinds more than once");
            break;
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use message::event::{EventType, Transaction};
    use message::time::Timestamp;

    use super::super::message::tests::{client, report_event};
    use super::*;

    #[test]
    fn an_ignored_report_is_final_when_what_it_could_not_change_is() {
        let told = |status, previous, ignored| {
            let mut event = report_event(7, status, 2, ignored);
            event.report.as_mut().unwrap().previous = previous;
            report(&event).unwrap().is_final
        };
        assert!(told(Status::Delivered, Some(Status::Sent), false));
        assert!(!told(Status::Sent, Some(Status::Sending), false));
        assert!(told(Status::Delivered, Some(Status::FailedPerm), true));
        assert!(!told(Status::FailedPerm, Some(Status::Sending), true));
    }

    #[test]
    fn a_top_up_has_a_transaction_and_no_report() {
        let topped_up = Event {
            client: client(),
            seq: 1,
            kind: EventType::CreditToppedUp,
            at: Timestamp::from_micros(5),
            previous_seq: 0,
            report: None,
            transaction: Some(Transaction {
                kind: TransactionType::TopUp,
                message: None,
                available_delta: 100,
                held_delta: 0,
                note: "first".into(),
            }),
            available_after: 100,
            held_after: 0,
        };
        let told = event(&topped_up, "EUR");
        assert_eq!(told.r#type, "credit.topped_up");
        assert_eq!((told.report, told.message_id.as_str()), (None, ""));
        let moved = told.transaction.unwrap();
        assert_eq!(moved.r#type(), v1::transaction::Type::TopUp);
        assert_eq!((moved.available_after_micros, moved.currency.as_str()), (100, "EUR"));
        assert_eq!(moved.id, told.id);
    }

    #[test]
    fn a_balance_is_low_below_its_mark_and_never_without_one() {
        let low =
            [(0, 0), (0, 1), (9, 10), (10, 10), (11, 10)].map(|(available, mark)| is_low(available, mark));
        assert_eq!(low, [false, true, true, false, false]);
    }

    #[test]
    fn kinds_are_sorted_and_unknown_ones_refused() {
        let mut faults = Faults::default();
        let kinds = read_transaction_types(&mut faults, "types", &[4, 1, 4]);
        assert_eq!(kinds, [TransactionType::TopUp, TransactionType::Release]);
        assert!(faults.fields().is_empty());
        assert_eq!(read_transaction_types(&mut faults, "types", &[5]), [TransactionType::Adjustment]);
        read_transaction_types(&mut faults, "types", &[0, 6]);
        assert_eq!(faults.fields(), ["types", "types"]);
    }
}
