//! The life of one message, as claims on [`delivery::transition::apply`].
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use delivery::model::{Client, ClientState, MessageKey, MessageState, OpenMessage};
use delivery::timing::Timing;
use delivery::transition::{Change, Input, Outcome, apply};
use ledger::{CaptureOn, Policy, Resolution, SettleUnreported};
use message::event::EventType;
use message::failure::{Failure, FailureReason};
use message::id::{ClientId, Entropy, MessageId};
use message::report::{ProviderReport, ReportState};
use message::status::{LockState, OnUnknown, PartStates, Status};
use message::{PhoneNumber, Timestamp};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn client() -> Client {
    Client {
        id: ClientId::new(NOW, Entropy([1; 10])),
        name: "test".into(),
        state: ClientState::Active,
        suspend_reason: String::new(),
        currency: "USD".into(),
        is_sandbox: true,
        policy: Policy::default(),
        report_timeout: Duration::from_secs(3_600),
        on_unknown: OnUnknown::Wait,
        resend_after: Duration::from_secs(60),
        parts_per_second: 0,
        burst_parts: 0,
        default_sender: String::new(),
        max_parts: 10,
        created_at: NOW,
    }
}

fn message(status: Status) -> OpenMessage {
    let is_claimed = status == Status::Sending;
    let is_due = status.is_claimable();
    let attempt = i32::from(status != Status::Queued);
    OpenMessage {
        key: MessageKey { client: client().id, id: MessageId::new(NOW, Entropy([2; 10])) },
        to: PhoneNumber::parse("+12025550100").unwrap(),
        reference: String::new(),
        part_count: 1,
        price_micros: 100,
        on_unknown: OnUnknown::Wait,
        expire_at: NOW + Duration::from_secs(48 * 3_600),
        state: MessageState {
            status,
            status_at: NOW,
            lock: LockState::Held,
            fence: i64::from(attempt),
            attempt,
            due_at: is_due.then_some(NOW),
            lease_until: is_claimed.then(|| NOW + Duration::from_secs(60)),
            timer_at: Some(NOW + Duration::from_secs(10)),
            provider: if attempt > 0 { "simulator".into() } else { String::new() },
            provider_refs: Vec::new(),
            failure: None,
            parts: PartStates::open(1),
            has_open_earlier_attempt: false,
            last_event_seq: 1,
        },
    }
}

fn report(state: ReportState) -> ProviderReport {
    let failure = (state == ReportState::Failed).then(|| Failure::new(FailureReason::RecipientUnreachable));
    ProviderReport {
        provider_ref: "ref-1".into(),
        attempt_ref: None,
        state,
        part: 0,
        done_date: String::new(),
        failure,
    }
}

fn learn_outcome(message: &OpenMessage, outcome: &Outcome) -> Option<Change> {
    let input = Input::Outcome { fence: message.state.fence, outcome };
    apply(&Timing::default(), &client(), message, &input, NOW)
}

fn learn_report(message: &OpenMessage, state: ReportState) -> Option<Change> {
    let report = report(state);
    let attempt = message.state.attempt;
    let input = Input::Report { provider: "simulator", attempt, part: 0, report: &report };
    apply(&Timing::default(), &client(), message, &input, NOW)
}

fn fire_timer(message: &OpenMessage, at: Timestamp) -> Option<Change> {
    apply(&Timing::default(), &client(), message, &Input::Timer, at)
}

fn rejected(is_permanent: bool) -> Outcome {
    Outcome::Rejected { is_permanent, failure: Failure::new(FailureReason::ProviderRejected) }
}

fn kinds(change: &Change) -> Vec<EventType> {
    change.news.iter().map(|news| news.kind).collect()
}

/// The message after the change, as the next transaction would load it.
fn after(message: &OpenMessage, change: &Change) -> OpenMessage {
    OpenMessage { state: change.state.clone(), ..message.clone() }
}

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
fn an_expired_claim_becomes_unknown_and_never_a_plain_retry() {
    let sending = message(Status::Sending);
    assert_eq!(fire_timer(&sending, NOW + Duration::from_secs(59)).unwrap().state.status, Status::Sending);
    let change = fire_timer(&sending, NOW + Duration::from_secs(60)).unwrap();
    assert_eq!(change.state.status, Status::Unknown);
    assert_eq!(change.state.due_at, None);
    assert!(change.state.fence > sending.state.fence, "the late worker must find its fence gone");
    assert_eq!(change.resolution, None);
    assert!(!change.offer);
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
            let change = apply(&Timing::default(), &client, &open, &Input::Timer, at).unwrap();
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

fn apply_report(client: &Client, message: &OpenMessage, state: ReportState, at: Timestamp) -> Option<Change> {
    let report = report(state);
    let input =
        Input::Report { provider: "simulator", attempt: message.state.attempt, part: 0, report: &report };
    apply(&Timing::default(), client, message, &input, at)
}

#[test]
fn a_resent_unknown_never_releases_the_credit_of_the_open_attempt() {
    let mut sending = message(Status::Sending);
    sending.on_unknown = OnUnknown::Resend;
    let unknown = learn_outcome(&sending, &Outcome::Unknown { detail: "time-out".into() }).unwrap();
    let due = unknown.state.due_at.unwrap();
    assert_eq!(due, NOW + client().resend_after);
    let again = fire_timer(&after(&sending, &unknown), due).unwrap();
    assert_eq!(again.state.status, Status::FailedTemp);
    assert!(again.offer && again.state.has_open_earlier_attempt);
    let mut claimed = after(&sending, &again);
    claimed.state.status = Status::Sending;
    claimed.state.attempt = 2;
    claimed.state.due_at = None;
    claimed.state.lease_until = Some(due + Duration::from_secs(60));
    let refused = learn_outcome(&claimed, &rejected(true)).unwrap();
    assert_eq!(refused.state.status, Status::Unknown, "the first attempt may still arrive");
    assert_eq!(refused.resolution, None);
    let delivered = learn_report(&after(&claimed, &refused), ReportState::Delivered).unwrap();
    assert_eq!(delivered.state.status, Status::Delivered);
    assert_eq!(delivered.resolution, Some(Resolution::Capture));
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
        assert!(change.offer && change.news.is_empty());
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

#[derive(Clone, Debug)]
enum Step {
    Claim,
    Outcome(u8),
    Report(u8, bool),
    Wait(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Step::Claim),
        (0..6u8).prop_map(Step::Outcome),
        (0..5u8, any::<bool>()).prop_map(|(state, current)| Step::Report(state, current)),
        (1..200_000u32).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..60)
}

fn take_step(client: &Client, message: &OpenMessage, step: &Step, now: &mut Timestamp) -> Option<Change> {
    let timing = Timing::default();
    match step {
        Step::Claim => {
            let is_due = message.state.due_at.is_some_and(|due| due <= *now);
            if !message.state.status.is_claimable() || !is_due || message.expire_at <= *now {
                return None;
            }
            let mut change = Change {
                state: message.state.clone(),
                news: Vec::new(),
                resolution: None,
                is_dead_letter: false,
                offer: false,
            };
            change.state.status = Status::Sending;
            change.state.fence += 1;
            change.state.attempt += 1;
            change.state.due_at = None;
            change.state.lease_until = Some(*now + timing.lease);
            change.state.provider = "simulator".into();
            Some(change)
        }
        Step::Outcome(kind) => {
            let outcome = match kind {
                0 => Outcome::Accepted { refs: vec!["r".into()] },
                1 => rejected(true),
                2 => rejected(false),
                3 => Outcome::Throttled { retry_after: Duration::from_secs(1) },
                4 => Outcome::Unavailable,
                _ => Outcome::Unknown { detail: String::new() },
            };
            let input = Input::Outcome { fence: message.state.fence, outcome: &outcome };
            apply(&timing, client, message, &input, *now)
        }
        Step::Report(state, is_current) => {
            let report = report(ReportState::ALL[usize::from(*state)]);
            let attempt = if *is_current { message.state.attempt } else { message.state.attempt - 1 };
            let input = Input::Report { provider: "simulator", attempt, part: 0, report: &report };
            apply(&timing, client, message, &input, *now)
        }
        Step::Wait(seconds) => {
            *now = *now + Duration::from_secs(u64::from(*seconds));
            apply(&timing, client, message, &Input::Timer, *now)
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_a_lock_resolves_once_and_an_open_message_has_a_timer(
        steps in steps(),
        resend: bool,
        on_sent: bool,
        settle_release: bool,
    ) {
        let mut client = client();
        if on_sent { client.policy.capture_on = CaptureOn::Sent; }
        if settle_release { client.policy.settle_unreported = SettleUnreported::Release; }
        let mut message = message(Status::Queued);
        if resend { message.on_unknown = OnUnknown::Resend; }
        let (mut now, mut resolutions, mut had_unknown) = (NOW, 0, false);
        for step in &steps {
            let before = message.state.clone();
            let Some(change) = take_step(&client, &message, step, &mut now) else { continue };
            let state = &change.state;
            resolutions += i32::from(change.resolution.is_some());
            prop_assert!(resolutions <= 1);
            prop_assert!(!before.status.is_final() || state.status == before.status, "a final status moved");
            if change.resolution.is_some() {
                prop_assert!(!change.news.is_empty(), "money moves with an event");
            }
            had_unknown |= state.status == Status::Unknown;
            if state.has_open_earlier_attempt && before.has_open_earlier_attempt {
                let by_failure = matches!(state.status, Status::Expired | Status::FailedPerm);
                prop_assert!(!by_failure || before.status.is_final(), "an open attempt was given up");
            }
            let is_held = state.lock == LockState::Held;
            let needs_timer = is_held || matches!(state.status, Status::Queued | Status::FailedTemp | Status::Sending);
            prop_assert_eq!(needs_timer && state.timer_at.is_none(), false, "forgotten: {:?}", state);
            prop_assert!(!state.status.is_final() || !is_held, "final and held");
            prop_assert_eq!(state.status == Status::Sending, state.lease_until.is_some());
            prop_assert_eq!(state.status.is_claimable() && state.due_at.is_none(), false);
            prop_assert!(state.attempt <= Timing::default().max_attempts());
            prop_assert!(state.fence >= before.fence);
            if !had_unknown {
                prop_assert!(!state.has_open_earlier_attempt);
            }
            message = after(&message, &change);
        }
        // Left alone, every message comes to an end of its money.
        for _ in 0..50 {
            let Some(timer) = message.state.timer_at else { break };
            now = now.max(timer);
            if let Some(change) = apply(&Timing::default(), &client, &message, &Input::Timer, now) {
                resolutions += i32::from(change.resolution.is_some());
                message = after(&message, &change);
            }
            if message.state.status.is_claimable() {
                now = now.max(message.expire_at);
            }
        }
        prop_assert_ne!(message.state.lock, LockState::Held);
        prop_assert_eq!(resolutions, 1);
    }
}
