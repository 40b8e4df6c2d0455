//! The ordinary life of a message.

use std::time::Duration;

use delivery::model::OpenMessage;
use delivery::timing::Timing;
use delivery::transition::{Input, Offering, Outcome, apply};
use ledger::{CaptureOn, Resolution};
use message::event::EventType;
use message::failure::FailureReason;
use message::report::{ProviderReport, ReportState};
use message::status::{LockState, PartStates, Status};

use crate::given::{
    NOW, after, apply_report, client, fire_timer, kinds, learn_outcome, learn_report, message, rejected,
    report,
};

#[test]
fn an_accepted_attempt_is_announced_as_sending_and_sent_and_keeps_the_hold() {
    let change =
        learn_outcome(&message(Status::Sending), &Outcome::Accepted { refs: vec!["r".into()] }).unwrap();
    assert_eq!(kinds(&change), [EventType::MessageSending, EventType::MessageSent]);
    assert_eq!(change.state.status, Status::Sent);
    assert_eq!(change.state.lock, LockState::Held);
    assert_eq!(change.state.provider_refs, ["r"]);
    assert_eq!(change.state.lease_until, None);
}

#[test]
fn a_client_that_pays_on_sent_pays_then_and_never_again() {
    let mut paying = client();
    paying.policy.capture_on = CaptureOn::Sent;
    let sending = message(Status::Sending);
    let input = Input::Outcome { fence: 1, outcome: &Outcome::Accepted { refs: vec!["r".into()] } };
    let sent = apply(&Timing::default(), &paying, &sending, &input, NOW).unwrap();
    assert_eq!(sent.resolution, Some(Resolution::Capture));
    let report = report(ReportState::Failed);
    let input = Input::Report { provider: "simulator", attempt: 1, part: 0, report: &report };
    let failed = apply(&Timing::default(), &paying, &after(&sending, &sent), &input, NOW).unwrap();
    assert_eq!(failed.state.status, Status::FailedPerm);
    assert_eq!(failed.resolution, None);
    assert_eq!(failed.state.lock, LockState::Captured);
}

#[test]
fn who_pays_at_sent_pays_for_what_failed_at_the_carrier_whichever_news_came_first() {
    let mut paying = client();
    paying.policy.capture_on = CaptureOn::Sent;
    for status in [Status::Sending, Status::Sent, Status::Unknown] {
        let failed = apply_report(&paying, &message(status), ReportState::Failed, NOW).unwrap();
        assert_eq!(failed.state.status, Status::FailedPerm);
        assert_eq!(failed.resolution, Some(Resolution::Capture), "{status}");
        assert_eq!(failed.state.lock, LockState::Captured, "{status}");
        let free = apply_report(&client(), &message(status), ReportState::Failed, NOW).unwrap();
        assert_eq!(free.resolution, Some(Resolution::Release), "{status}");
    }
    let overtaken = learn_report(&message(Status::Sending), ReportState::Failed).unwrap();
    let expected = [EventType::MessageSending, EventType::MessageSent, EventType::MessageFailedPerm];
    assert_eq!(kinds(&overtaken), expected);
}

#[test]
fn an_outcome_of_an_older_claim_is_void() {
    let sending = message(Status::Sending);
    let outcome = rejected(true);
    let input = Input::Outcome { fence: 0, outcome: &outcome };
    assert_eq!(apply(&Timing::default(), &client(), &sending, &input, NOW), None);
    for status in Status::ALL.iter().filter(|status| **status != Status::Sending) {
        assert_eq!(learn_outcome(&message(*status), &rejected(true)), None, "{status}");
    }
}

#[test]
fn a_temporary_failure_is_followed_by_the_next_attempt_at_its_time() {
    let change = learn_outcome(&message(Status::Sending), &rejected(false)).unwrap();
    assert_eq!(change.state.status, Status::FailedTemp);
    let due = change.state.due_at.unwrap();
    assert!(due >= NOW + Duration::from_secs(4) && due <= NOW + Duration::from_secs(6));
    assert_eq!(change.state.timer_at, Some(due));
    assert_eq!(change.news[1].next_attempt_at, Some(due));
    assert_eq!(change.resolution, None);
}

#[test]
fn the_last_temporary_failure_is_a_dead_letter_and_gives_the_credit_back() {
    let mut last = message(Status::Sending);
    last.state.attempt = Timing::default().max_attempts();
    let change = learn_outcome(&last, &rejected(false)).unwrap();
    assert_eq!(change.state.status, Status::FailedPerm);
    assert_eq!(change.state.failure.as_ref().unwrap().reason, FailureReason::RetriesExhausted);
    assert_eq!(change.resolution, Some(Resolution::Release));
    assert!(change.is_dead_letter);
    assert_eq!(change.state.timer_at, None);
}

#[test]
fn a_retry_past_the_validity_period_expires_at_once() {
    let mut sending = message(Status::Sending);
    sending.expire_at = NOW + Duration::from_secs(1);
    let change = learn_outcome(&sending, &rejected(false)).unwrap();
    assert_eq!(change.state.status, Status::Expired);
    assert_eq!(change.resolution, Some(Resolution::Release));
}

#[test]
fn a_throttled_attempt_is_not_spent_and_tells_nothing() {
    let throttled = Outcome::Throttled { retry_after: Duration::from_secs(3) };
    for outcome in [throttled, Outcome::Unavailable] {
        let change = learn_outcome(&message(Status::Sending), &outcome).unwrap();
        assert_eq!(change.state.status, Status::Queued);
        assert_eq!(change.state.attempt, 0);
        assert!(change.news.is_empty());
        assert!(change.state.due_at.unwrap() > NOW);
    }
}

#[test]
fn a_report_before_the_outcome_counts_and_voids_the_claim() {
    let sending = message(Status::Sending);
    let change = learn_report(&sending, ReportState::Delivered).unwrap();
    let expected = [EventType::MessageSending, EventType::MessageSent, EventType::MessageDelivered];
    assert_eq!(kinds(&change), expected);
    assert_eq!(change.resolution, Some(Resolution::Capture));
    let outcome = rejected(true);
    let input = Input::Outcome { fence: sending.state.fence, outcome: &outcome };
    assert_eq!(apply(&Timing::default(), &client(), &after(&sending, &change), &input, NOW), None);
}

#[test]
fn the_first_final_report_wins_and_a_conflicting_one_is_told_as_ignored() {
    let sent = message(Status::Sent);
    let delivered = after(&sent, &learn_report(&sent, ReportState::Delivered).unwrap());
    assert_eq!(learn_report(&delivered, ReportState::Delivered), None);
    let conflict = learn_report(&delivered, ReportState::Failed).unwrap();
    assert_eq!(conflict.state.status, Status::Delivered);
    assert_eq!(kinds(&conflict), [EventType::MessageReportIgnored]);
    assert!(conflict.news[0].ignored);
    assert_eq!(conflict.resolution, None);
}

#[test]
fn a_report_of_another_provider_or_of_an_attempt_that_never_was_proves_nothing() {
    let sent = message(Status::Sent);
    let report = report(ReportState::Delivered);
    for (provider, attempt) in [("other", 1), ("simulator", 2), ("simulator", 0)] {
        let input = Input::Report { provider, attempt, part: 0, report: &report };
        assert_eq!(apply(&Timing::default(), &client(), &sent, &input, NOW), None);
    }
}

#[test]
fn a_long_message_is_delivered_when_all_parts_are_and_fails_with_the_first_that_does() {
    let mut sent = message(Status::Sent);
    sent.part_count = 2;
    sent.state.parts = PartStates::open(2);
    let report = |part, state| ProviderReport { part, ..report(state) };
    let learn = |message: &OpenMessage, report: &ProviderReport| {
        let input = Input::Report { provider: "simulator", attempt: 1, part: 0, report };
        apply(&Timing::default(), &client(), message, &input, NOW)
    };
    let first = learn(&sent, &report(1, ReportState::Delivered)).unwrap();
    assert_eq!(first.state.status, Status::Sent);
    assert!(first.news.is_empty());
    let one_of_two = after(&sent, &first);
    let both = learn(&one_of_two, &report(2, ReportState::Delivered)).unwrap();
    assert_eq!(both.state.status, Status::Delivered);
    let failed = learn(&one_of_two, &report(2, ReportState::Failed)).unwrap();
    assert_eq!(failed.state.status, Status::FailedPerm);
    assert_eq!(failed.state.parts.to_string(), "DF");
}

#[test]
fn a_due_message_is_offered_again_with_growing_gaps_until_it_expires() {
    let mut queued = message(Status::Queued);
    let (mut at, mut gaps) = (NOW + Duration::from_secs(10), Vec::new());
    while at < queued.expire_at {
        let change = fire_timer(&queued, at).unwrap();
        let may_wait = at.since(NOW) < Timing::default().offer_gap_max;
        assert_eq!((change.offering, change.news.len()), (Offering::Again { may_wait }, 0));
        let next = change.state.timer_at.unwrap();
        gaps.push(next.since(at));
        queued = after(&queued, &change);
        at = next;
    }
    assert!(gaps.windows(2).take(gaps.len() - 2).all(|pair| pair[0] <= pair[1]), "{gaps:?}");
    assert!(gaps.len() < 400, "{} offers in 48 h", gaps.len());
    let change = fire_timer(&queued, at).unwrap();
    assert_eq!(change.state.status, Status::Expired);
    assert_eq!(change.resolution, Some(Resolution::Release));
}

#[test]
fn a_scheduled_message_is_queued_at_its_time_and_not_before() {
    let mut scheduled = message(Status::Scheduled);
    let at = NOW + Duration::from_secs(3_600);
    (scheduled.state.due_at, scheduled.state.timer_at) = (Some(at), Some(at));
    assert_eq!(fire_timer(&scheduled, at - Duration::from_micros(1)), None);
    let queued = fire_timer(&scheduled, at).unwrap();
    assert_eq!((queued.state.status, queued.state.due_at), (Status::Queued, Some(at)));
    assert_eq!(queued.offering, Offering::New);
    assert!(queued.state.timer_at.is_some_and(|timer| timer > at));
    assert_eq!(kinds(&queued), [EventType::MessageQueued]);
    assert_eq!(queued.resolution, None);
}

#[test]
fn a_message_is_canceled_for_nothing_while_no_attempt_may_have_taken_it() {
    let cancel = |message: &OpenMessage| apply(&Timing::default(), &client(), message, &Input::Cancel, NOW);
    let open = [Status::Scheduled, Status::Queued, Status::FailedTemp];
    for status in open {
        let mut open = message(status);
        let canceled = cancel(&open).unwrap();
        assert_eq!(canceled.state.status, Status::Canceled, "{status}");
        assert_eq!(canceled.resolution, Some(Resolution::Release), "{status}");
        assert_eq!((canceled.state.timer_at, canceled.state.due_at), (None, None), "{status}");
        assert_eq!(kinds(&canceled), [EventType::MessageCanceled], "{status}");
        open.state.has_open_earlier_attempt = true;
        assert_eq!(cancel(&open), None, "{status} with an attempt that may arrive");
    }
    for status in Status::ALL.iter().filter(|status| !open.contains(status)) {
        assert_eq!(cancel(&message(*status)), None, "{status}");
    }
}
