//! Any sequence of claims, outcomes, reports and timers.

use std::collections::BTreeSet;
use std::time::Duration;

use delivery::model::{Client, MessageState, OpenMessage};
use delivery::timing::Timing;
use delivery::transition::{Change, Input, News, Offering, Outcome, apply};
use ledger::{CaptureOn, Policy, Resolution, SettleUnreported};
use message::Timestamp;
use message::event::EventType;
use message::report::{ProviderReport, ReportState};
use message::status::{LockState, OnUnknown, PartStates, Status};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::given::{NOW, after, claimed, client, message, rejected, report};

#[derive(Clone, Debug)]
enum Step {
    /// A worker claims it, at its due time if that is still ahead.
    Claim,
    Outcome(Outcome),
    /// Of the attempt so many before the current one.
    Report {
        state: ReportState,
        back: i32,
        part: u16,
    },
    /// The timer fires, at its time if that is still ahead.
    Timer,
    /// Time passes, and something looks at the message though its timer may not be due.
    Look {
        seconds: u64,
    },
    /// The client cancels it.
    Cancel,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = proptest::sample::select(vec![
        Outcome::Accepted { refs: vec!["r".into()] },
        rejected(true),
        rejected(false),
        Outcome::Throttled { retry_after: Duration::from_secs(1) },
        Outcome::Unavailable,
        Outcome::Unknown { detail: String::new() },
        Outcome::Unknown { detail: "again, since resending hangs on it".into() },
    ]);
    let step = prop_oneof![
        4 => Just(Step::Claim),
        4 => outcome.prop_map(Step::Outcome),
        4 => (proptest::sample::select(ReportState::ALL), 0..3i32, 0..4u16)
            .prop_map(|(state, back, part)| Step::Report { state, back, part }),
        3 => Just(Step::Timer),
        2 => prop_oneof![3 => 0..300u64, 1 => 0..200_000u64].prop_map(|seconds| Step::Look { seconds }),
        1 => Just(Step::Cancel),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What is given before the first step.
#[derive(Clone, Debug)]
struct Given {
    policy: Policy,
    on_unknown: OnUnknown,
    report_timeout: Duration,
    part_count: u16,
    is_scheduled: bool,
}

fn given() -> impl Strategy<Value = Given> {
    let policy = (proptest::sample::select(CaptureOn::ALL), proptest::sample::select(SettleUnreported::ALL))
        .prop_map(|(capture_on, settle_unreported)| Policy { capture_on, settle_unreported });
    // The shorter limit is below `resend_after`.
    let timeout = proptest::sample::select(vec![Duration::from_secs(20), Duration::from_secs(3_600)]);
    (policy, proptest::sample::select(OnUnknown::ALL), timeout, 1..3u16, any::<bool>()).prop_map(
        |(policy, on_unknown, report_timeout, part_count, is_scheduled)| Given {
            policy,
            on_unknown,
            report_timeout,
            part_count,
            is_scheduled,
        },
    )
}

/// One message with what an onlooker knows of it.
struct Course {
    client: Client,
    message: OpenMessage,
    now: Timestamp,
    resolutions: u32,
    /// Attempts that may still reach the recipient: neither refused nor reported as failed.
    open: BTreeSet<i32>,
}

impl Course {
    fn begin(given: &Given) -> Self {
        let client = Client { policy: given.policy, report_timeout: given.report_timeout, ..client() };
        let mut message = message(if given.is_scheduled { Status::Scheduled } else { Status::Queued });
        message.on_unknown = given.on_unknown;
        message.part_count = given.part_count;
        message.state.parts = PartStates::open(usize::from(given.part_count));
        Self { client, message, now: NOW, resolutions: 0, open: BTreeSet::new() }
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let state = &self.message.state;
        match step {
            Step::Claim => {
                if let Some(due) = state.due_at.filter(|_| state.status.is_claimable()) {
                    self.claim(due);
                }
                Ok(())
            }
            Step::Outcome(outcome) => {
                if state.status == Status::Sending && is_refusal(outcome) {
                    self.open.remove(&state.attempt);
                }
                self.learn(&Input::Outcome { fence: state.fence, outcome })
            }
            Step::Report { state: told, back, part } => {
                let attempt = state.attempt - back;
                if *told == ReportState::Failed {
                    self.open.remove(&attempt);
                }
                let report = ProviderReport { part: *part, ..report(*told) };
                self.learn(&Input::Report { provider: "simulator", attempt, part: 0, report: &report })
            }
            Step::Timer => {
                self.now = state.timer_at.map_or(self.now, |at| at.max(self.now));
                self.learn(&Input::Timer { is_lane_long: false })
            }
            Step::Look { seconds } => {
                self.now = self.now + Duration::from_secs(*seconds);
                self.learn(&Input::Timer { is_lane_long: false })
            }
            Step::Cancel => {
                let was = self.message.state.status;
                let may_arrive = !self.open.is_empty();
                self.learn(&Input::Cancel)?;
                let is_canceled = self.message.state.status == Status::Canceled;
                prop_assert!(
                    !is_canceled || was == Status::Canceled || !may_arrive,
                    "canceled while it may arrive"
                );
                Ok(())
            }
        }
    }

    fn claim(&mut self, due: Timestamp) {
        let at = self.now.max(due);
        if at < self.message.expire_at {
            self.now = at;
            self.message = claimed(&self.message, at);
            self.open.insert(self.message.state.attempt);
        }
    }

    fn learn(&mut self, input: &Input<'_>) -> Result<(), TestCaseError> {
        let Some(change) = apply(&Timing::default(), &self.client, &self.message, input, self.now) else {
            return Ok(());
        };
        let before = &self.message.state;
        check_state(&change.state)?;
        check_news(before, &change)?;
        prop_assert!(
            !before.status.is_final() || change.state.status == before.status,
            "a final status moved"
        );
        prop_assert!(change.state.fence >= before.fence);
        prop_assert!(!change.is_dead_letter || change.state.status == Status::FailedPerm);
        let is_due = change.state.due_at.is_some_and(|due| due <= self.now);
        prop_assert!(change.offering == Offering::None || is_due);
        if matches!(input, Input::Report { .. }) && !before.has_open_earlier_attempt {
            prop_assert!(change.state.status.rank() >= before.status.rank(), "a report moved it down");
        }
        self.check_money(&change)?;
        self.message = after(&self.message, &change);
        Ok(())
    }

    fn check_money(&mut self, change: &Change) -> Result<(), TestCaseError> {
        let Some(resolution) = change.resolution else {
            prop_assert_eq!(change.state.lock, self.message.state.lock);
            return Ok(());
        };
        self.resolutions += 1;
        prop_assert_eq!(self.resolutions, 1, "money is resolved once");
        prop_assert_eq!(self.message.state.lock, LockState::Held);
        prop_assert_eq!(change.state.lock, resolution.lock_state());
        prop_assert!(!change.news.is_empty(), "money moves with an event");
        if resolution == Resolution::Release && change.state.status.is_final() {
            prop_assert!(self.open.is_empty(), "released while attempts {:?} are open", self.open);
        }
        Ok(())
    }
}

fn is_refusal(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Accepted { .. } | Outcome::Unknown { .. })
}

fn check_state(state: &MessageState) -> Result<(), TestCaseError> {
    let is_held = state.lock == LockState::Held;
    let may_send = state.status.is_claimable() || state.status == Status::Sending;
    let may_resend = state.status == Status::Unknown && state.due_at.is_some();
    let is_scheduled = state.status == Status::Scheduled;
    prop_assert_eq!(state.timer_at.is_some(), is_held || may_send || may_resend, "timer: {:?}", state);
    prop_assert!(!is_scheduled || is_held, "scheduled for nothing: {:?}", state);
    prop_assert!(is_held || !(may_send || may_resend), "could be sent for nothing: {:?}", state);
    prop_assert!(!state.status.is_final() || !is_held, "final and held");
    prop_assert_eq!(state.status == Status::Sending, state.lease_until.is_some());
    prop_assert_eq!(state.due_at.is_some(), state.status.is_claimable() || may_resend || is_scheduled);
    prop_assert!((0..=Timing::default().max_attempts()).contains(&state.attempt));
    prop_assert!(state.status != Status::Delivered || state.parts.all_delivered());
    Ok(())
}

/// Each announced move is an arrow of the diagram, and begins where the one before it ended.
fn check_news(before: &MessageState, change: &Change) -> Result<(), TestCaseError> {
    let is_move =
        |news: &&News| !matches!(news.kind, EventType::MessageSettled | EventType::MessageReportIgnored);
    let mut at = None;
    for news in change.news.iter().filter(is_move) {
        let from = news.previous.unwrap();
        prop_assert!(arrows(from).contains(&news.status), "{from} -> {}", news.status);
        // The claim announced nothing: SENDING is told when it ends.
        let is_told_late = at.is_none() && news.status == Status::Sending && before.status == Status::Sending;
        prop_assert!(is_told_late || from == at.unwrap_or(before.status), "{:?}", change.news);
        prop_assert_eq!(news.kind, EventType::of(news.status));
        at = Some(news.status);
    }
    // Only what spends no attempt goes back without a word.
    let is_put_back = before.status == Status::Sending && change.state.attempt < before.attempt;
    let now_at = if is_put_back { change.state.status } else { at.unwrap_or(before.status) };
    prop_assert_eq!(now_at, change.state.status);
    Ok(())
}

fn arrows(from: Status) -> &'static [Status] {
    use Status::{
        Canceled, Delivered, Expired, FailedPerm, FailedTemp, Queued, Scheduled, Sending, Sent, Unknown,
    };
    match from {
        Scheduled => &[Queued, Canceled, Expired],
        Queued => &[Sending, Canceled, Expired],
        Sending => &[Sent, FailedTemp, FailedPerm, Unknown, Expired],
        // By reports and validity, while an earlier attempt is open.
        FailedTemp => &[Sending, Expired, Canceled, Sent, Delivered, FailedPerm, Unknown],
        Unknown => &[Sent, Delivered, FailedTemp, FailedPerm, Unknown],
        // UNKNOWN: the last attempt failed, and an earlier one is open.
        Sent => &[Delivered, FailedPerm, Unknown],
        _ => &[],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_happens_the_invariants_hold_and_the_money_comes_to_an_end(given in given(), steps in steps()) {
        let mut course = Course::begin(&given);
        for step in &steps {
            course.take(step)?;
        }
        // Left alone from here on: only timers fire.
        for _ in 0..500 {
            if course.message.state.timer_at.is_none() {
                break;
            }
            course.take(&Step::Timer)?;
        }
        prop_assert_eq!(course.message.state.timer_at, None);
        prop_assert_ne!(course.message.state.lock, LockState::Held);
        prop_assert_eq!(course.resolutions, 1);
    }
}
