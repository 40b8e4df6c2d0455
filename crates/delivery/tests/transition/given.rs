//! A client, a message in any status, and how things are learned of it.

use std::time::Duration;

use delivery::model::{Client, ClientState, MessageKey, MessageState, OpenMessage};
use delivery::timing::Timing;
use delivery::transition::{Change, Input, Outcome, apply};
use ledger::Policy;
use message::class::Priority;
use message::event::EventType;
use message::failure::{Failure, FailureReason};
use message::id::{ClientId, Entropy, MessageId};
use message::report::{ProviderReport, ReportState};
use message::status::{LockState, OnUnknown, PartStates, Status};
use message::{PhoneNumber, Timestamp};

pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

pub(crate) fn client() -> Client {
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
        low_balance_micros: 0,
        created_at: NOW,
        revision: 1,
    }
}

pub(crate) fn message(status: Status) -> OpenMessage {
    let is_claimed = status == Status::Sending;
    let is_due = status.is_claimable() || status == Status::Scheduled;
    let attempt = i32::from(!matches!(status, Status::Queued | Status::Scheduled));
    OpenMessage {
        key: MessageKey { client: client().id, id: MessageId::new(NOW, Entropy([2; 10])) },
        to: PhoneNumber::parse("+12025550100").unwrap(),
        reference: String::new(),
        part_count: 1,
        price_micros: 100,
        on_unknown: OnUnknown::Wait,
        priority: Priority::Normal,
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

pub(crate) fn report(state: ReportState) -> ProviderReport {
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

pub(crate) fn learn_outcome(message: &OpenMessage, outcome: &Outcome) -> Option<Change> {
    let input = Input::Outcome { fence: message.state.fence, outcome };
    apply(&Timing::default(), &client(), message, &input, NOW)
}

pub(crate) fn learn_report(message: &OpenMessage, state: ReportState) -> Option<Change> {
    let report = report(state);
    let attempt = message.state.attempt;
    let input = Input::Report { provider: "simulator", attempt, part: 0, report: &report };
    apply(&Timing::default(), &client(), message, &input, NOW)
}

pub(crate) fn fire_timer(message: &OpenMessage, at: Timestamp) -> Option<Change> {
    apply(&Timing::default(), &client(), message, &Input::Timer { is_lane_long: false }, at)
}

pub(crate) fn rejected(is_permanent: bool) -> Outcome {
    Outcome::Rejected { is_permanent, failure: Failure::new(FailureReason::ProviderRejected) }
}

pub(crate) fn kinds(change: &Change) -> Vec<EventType> {
    change.news.iter().map(|news| news.kind).collect()
}

/// The message after the change, as the next transaction would load it.
pub(crate) fn after(message: &OpenMessage, change: &Change) -> OpenMessage {
    OpenMessage { state: change.state.clone(), ..message.clone() }
}

pub(crate) fn apply_report(
    client: &Client,
    message: &OpenMessage,
    state: ReportState,
    at: Timestamp,
) -> Option<Change> {
    let report = report(state);
    let input =
        Input::Report { provider: "simulator", attempt: message.state.attempt, part: 0, report: &report };
    apply(&Timing::default(), client, message, &input, at)
}

/// A report of any attempt, from its provider.
pub(crate) fn learn_report_of(message: &OpenMessage, attempt: i32, state: ReportState) -> Option<Change> {
    let report = report(state);
    let input = Input::Report { provider: "simulator", attempt, part: 0, report: &report };
    apply(&Timing::default(), &client(), message, &input, NOW)
}

/// The message as a worker's claim at `at` leaves it; the stores do the same in one statement.
pub(crate) fn claimed(message: &OpenMessage, at: Timestamp) -> OpenMessage {
    let mut claimed = message.clone();
    claimed.state.status = Status::Sending;
    claimed.state.fence += 1;
    claimed.state.attempt += 1;
    claimed.state.due_at = None;
    claimed.state.lease_until = Some(at + Timing::default().lease);
    claimed.state.provider = "simulator".into();
    claimed
}
