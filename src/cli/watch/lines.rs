//! Reports and events as lines for a person.

use herald_sdk::v1;

use crate::cli::output;

/// A status change for a person.
pub fn report_line(report: &v1::DeliveryReport) -> String {
    let part = if report.part_number > 0 { format!("part {}", report.part_number) } else { String::new() };
    let attempt = if report.attempt > 0 { format!("attempt {}", report.attempt) } else { String::new() };
    let ignored = if report.ignored { "ignored: the message is final" } else { "" };
    words([
        &output::time(report.time.as_ref()),
        &report.message_id,
        &report.to,
        &output::status_change(report.previous_status(), report.status()),
        &part,
        &attempt,
        &output::failure(report.failure.as_ref()),
        ignored,
    ])
}

/// An event for a person.
pub fn event_line(event: &v1::Event) -> String {
    let status = event.report.as_ref().map(|report| {
        let change = output::status_change(report.previous_status(), report.status());
        words([&change, &output::failure(report.failure.as_ref())])
    });
    let credit = event.transaction.as_ref().map(|transaction| {
        format!(
            "available {} = {}, held {} = {}",
            output::money_change(transaction.available_delta_micros),
            output::money(transaction.available_after_micros),
            output::money_change(transaction.held_delta_micros),
            output::money(transaction.held_after_micros),
        )
    });
    words([
        &output::time(event.time.as_ref()),
        &format!("#{}", event.seq),
        &event.r#type,
        &event.message_id,
        &status.unwrap_or_default(),
        &credit.unwrap_or_default(),
    ])
}

fn words<const N: usize>(words: [&str; N]) -> String {
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use herald_sdk::v1::message::Status;

    use super::*;

    #[test]
    fn a_report_is_one_line_with_what_is_known() {
        let report = v1::DeliveryReport {
            message_id: "m1".into(),
            to: "+12025550111".into(),
            previous_status: Status::Sent.into(),
            status: Status::FailedPerm.into(),
            attempt: 1,
            failure: Some(v1::Failure {
                reason: v1::failure::Reason::RecipientUnreachable.into(),
                ..Default::default()
            }),
            time: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
            ..Default::default()
        };
        let expected =
            "1970-01-01T00:00:00Z  m1  +12025550111  SENT -> FAILED_PERM  attempt 1  RECIPIENT_UNREACHABLE";
        assert_eq!(report_line(&report), expected);
    }

    #[test]
    fn an_event_shows_its_money() {
        let event = v1::Event {
            seq: 7,
            r#type: "message.queued".into(),
            message_id: "m1".into(),
            transaction: Some(v1::Transaction {
                available_delta_micros: -7_500,
                available_after_micros: 99_992_500,
                held_delta_micros: 7_500,
                held_after_micros: 7_500,
                ..Default::default()
            }),
            ..Default::default()
        };
        let expected = "#7  message.queued  m1  available -0.0075 = 99.9925, held +0.0075 = 0.0075";
        assert_eq!(event_line(&event), expected);
    }
}
