//! Attempts whose outcome nobody knows.

use std::time::Duration;

use delivery::model::OpenMessage;
use delivery::timing::Timing;
use delivery::transition::{Change, Input, Offering, Outcome, apply};
use ledger::{Resolution, SettleUnreported};
use message::event::EventType;
use message::report::ReportState;
use message::status::{LockState, OnUnknown, Status};

use crate::given::{
    NOW, after, apply_report, claimed, client, fire_timer, kinds, learn_outcome, learn_report,
    learn_report_of, message, rejected,
};

#[test]
fn an_expired_claim_becomes_unknown_and_never_a_plain_retry() {
    let sending = message(Status::Sending);
    assert_eq!(fire_timer(&sending, NOW + Duration::from_secs(59)).unwrap().state.status, Status::Sending);
    let change = fire_timer(&sending, NOW + Duration::from_secs(60)).unwrap();
    assert_eq!(change.state.status, Status::Unknown);
    assert_eq!(change.state.due_at, None);
    assert!(change.state.fence > sending.state.fence, "the late worker must find its fence gone");
    assert_eq!(change.resolution, None);
    assert_eq!(change.offering, Offering::None);
}

#[test]
fn a_waiting_unknown_is_settled_at_the_limit_by_policy_and_keeps_its_status() {
    for (settle, lock) in
        [(SettleUnreported::Capture, LockState::Captured), (SettleUnreported::Release, LockState::Released)]
    {
        for status in [Status::Unknown, Status::Sent] {
            let mut client = client();
            client.policy.settle_unreported = settle;
            let open = message(status);
            let at = NOW + client.report_timeout;
            let change =
                apply(&Timing::default(), &client, &open, &Input::Timer { is_lane_long: false }, at).unwrap();
            assert_eq!(change.state.status, status);
            assert_eq!(change.state.lock, lock);
            assert_eq!(kinds(&change), [EventType::MessageSettled]);
            assert_eq!(change.state.timer_at, None);
            let late = apply_report(&client, &after(&open, &change), ReportState::Delivered, at).unwrap();
            assert_eq!(late.state.status, Status::Delivered, "a late report corrects the status");
            assert_eq!(late.resolution, None, "and not the money");
        }
    }
}

/// Becomes UNKNOWN at the attempt under way, and is due again by RESEND.
fn resent(sending: &OpenMessage) -> OpenMessage {
    let sending = OpenMessage { on_unknown: OnUnknown::Resend, ..sending.clone() };
    let unknown = learn_outcome(&sending, &unknown_outcome()).unwrap();
    let due = unknown.state.due_at.unwrap();
    assert_eq!(due, NOW + client().resend_after);
    let again = fire_timer(&after(&sending, &unknown), due).unwrap();
    assert_eq!(again.state.status, Status::FailedTemp);
    assert!(again.offering == Offering::New && again.state.has_open_earlier_attempt);
    after(&sending, &again)
}

fn unknown_outcome() -> Outcome {
    Outcome::Unknown { detail: "time-out".into() }
}

/// The change and the message after it.
fn learned(message: &OpenMessage, change: Option<Change>) -> (OpenMessage, Change) {
    let change = change.unwrap();
    (after(message, &change), change)
}

fn assert_given_back(change: &Change) {
    assert_eq!(change.state.status, Status::FailedPerm);
    assert_eq!(change.resolution, Some(Resolution::Release));
}

#[test]
fn a_resent_unknown_never_releases_the_credit_of_the_open_attempt() {
    let second = claimed(&resent(&message(Status::Sending)), NOW);
    let (waiting, refused) = learned(&second, learn_outcome(&second, &rejected(true)));
    assert_eq!(refused.state.status, Status::Unknown, "the first attempt may still arrive");
    assert_eq!(refused.resolution, None);
    let delivered = learn_report(&waiting, ReportState::Delivered).unwrap();
    assert_eq!(delivered.state.status, Status::Delivered);
    assert_eq!(delivered.resolution, Some(Resolution::Capture));
}

#[test]
fn the_failure_of_the_only_attempt_ends_the_message_whatever_was_planned() {
    let due_again = resent(&message(Status::Sending));
    let (taken, _) = learned(&due_again, learn_report(&due_again, ReportState::EnRoute));
    assert_eq!(taken.state.status, Status::Sent);
    let (overdue, _) = learned(&due_again, fire_timer(&due_again, due_again.expire_at));
    assert_eq!(overdue.state.status, Status::Unknown);
    for message in [due_again, taken, overdue] {
        let change = learn_report(&message, ReportState::Failed).unwrap();
        assert_given_back(&change);
        assert_eq!(change.state.parts.to_string(), "F");
    }
}

#[test]
fn the_first_attempts_failure_ends_a_message_whose_second_was_refused() {
    let second = claimed(&resent(&message(Status::Sending)), NOW);
    let (waiting, _) = learned(&second, learn_outcome(&second, &rejected(true)));
    assert_given_back(&learn_report_of(&waiting, 1, ReportState::Failed).unwrap());
}

#[test]
fn after_the_first_attempts_failure_the_second_decides_alone() {
    let second = claimed(&resent(&message(Status::Sending)), NOW);
    let (alone, change) = learned(&second, learn_report_of(&second, 1, ReportState::Failed));
    assert_eq!(alone.state.status, Status::Sending);
    assert!(change.news.is_empty() && change.resolution.is_none());
    assert_given_back(&learn_outcome(&alone, &rejected(true)).unwrap());
    let (sent, _) = learned(&alone, learn_outcome(&alone, &Outcome::Accepted { refs: vec!["r".into()] }));
    assert_given_back(&learn_report_of(&sent, 2, ReportState::Failed).unwrap());
    let again = learn_outcome(&alone, &rejected(false)).unwrap();
    assert_eq!(again.state.status, Status::FailedTemp);
    assert!(!again.state.has_open_earlier_attempt);
}

#[test]
fn a_failure_gives_nothing_back_while_another_attempt_is_open() {
    let second = claimed(&resent(&message(Status::Sending)), NOW);
    let third = claimed(&resent(&second), NOW);
    let (both_open, _) = learned(&second, learn_outcome(&second, &unknown_outcome()));
    let due_again = resent(&second);
    let (overdue, _) = learned(&due_again, fire_timer(&due_again, due_again.expire_at));
    for message in [both_open.clone(), due_again, third, overdue] {
        let change = learn_report_of(&message, 1, ReportState::Failed);
        assert!(change.is_none_or(|change| change.resolution.is_none() && change.news.is_empty()));
    }
    // Once both have failed, it is over.
    let (one_open, _) = learned(&both_open, learn_report_of(&both_open, 1, ReportState::Failed));
    assert_given_back(&learn_report_of(&one_open, 2, ReportState::Failed).unwrap());
}

#[test]
fn a_report_of_a_refused_attempt_stops_no_retry() {
    let second = claimed(&resent(&message(Status::Sending)), NOW);
    let (retry_due, _) = learned(&second, learn_outcome(&second, &rejected(false)));
    assert_eq!(retry_due.state.status, Status::FailedTemp);
    assert_eq!(learn_report_of(&retry_due, 2, ReportState::Failed), None);
}

#[test]
fn a_failure_of_the_second_attempt_leaves_delivery_to_the_first() {
    let second = claimed(&resent(&message(Status::Sending)), NOW);
    let (sent, _) = learned(&second, learn_outcome(&second, &Outcome::Accepted { refs: vec!["r".into()] }));
    let (waiting, failed) = learned(&sent, learn_report_of(&sent, 2, ReportState::Failed));
    assert_eq!(failed.state.status, Status::Unknown);
    let delivered = learn_report_of(&waiting, 1, ReportState::Delivered).unwrap();
    assert_eq!(delivered.state.status, Status::Delivered);
    assert_eq!(delivered.resolution, Some(Resolution::Capture));
}

#[test]
fn what_is_to_be_sent_again_is_not_settled_before() {
    let mut client = client();
    client.report_timeout = Duration::from_secs(10);
    client.policy.settle_unreported = SettleUnreported::Release;
    let sending = OpenMessage { on_unknown: OnUnknown::Resend, ..message(Status::Sending) };
    let (mut unknown, _) = learned(&sending, learn_outcome(&sending, &unknown_outcome()));
    unknown.state.timer_at = Some(NOW + client.report_timeout);
    let look =
        |at| apply(&Timing::default(), &client, &unknown, &Input::Timer { is_lane_long: false }, at).unwrap();
    let early = look(NOW + client.report_timeout);
    assert_eq!((early.resolution, early.state.timer_at), (None, unknown.state.due_at));
    let due = look(NOW + client.resend_after);
    assert_eq!((due.state.status, due.state.lock), (Status::FailedTemp, LockState::Held));
}
