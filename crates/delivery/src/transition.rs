//! What happens to one message when something is learned about it. Pure: [`apply`] is the whole life of a
//! message after accept, and every use case that moves one goes through it.

use std::time::Duration;

use ledger::Resolution;
use message::event::EventType;
use message::failure::{Failure, FailureReason};
use message::report::{ProviderReport, ReportState};
use message::status::{LockState, OnUnknown, PartState, Status};
use message::time::Timestamp;

use crate::model::{Client, MessageState, OpenMessage};
use crate::retry;
use crate::timing::Timing;

/// What was learned.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// How the attempt that was claimed with `fence` ended.
    Outcome { fence: i64, outcome: &'a Outcome },
    /// A provider's report of an attempt.
    Report { provider: &'a str, attempt: i32, part: u16, report: &'a ProviderReport },
    /// The message's timer fired. If its lane is long, an id that waits in it will not be taken for a while.
    Timer { is_lane_long: bool },
    /// The client does not want it any more.
    Cancel,
}

/// How an attempt ended, in the words of the provider contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted { refs: Vec<String> },
    Rejected { is_permanent: bool, failure: Failure },
    Throttled { retry_after: Duration },
    Unavailable,
    Unknown { detail: String },
}

/// What becomes of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The new state; `last_event_seq` is still the old one.
    pub state: MessageState,
    /// Announced in this order.
    pub news: Vec<News>,
    /// How the credit lock leaves HELD; goes with the last of `news`.
    pub resolution: Option<Resolution>,
    pub is_dead_letter: bool,
    pub offering: Offering,
}

/// Whether the message is due now, and so offered to the queue after the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offering {
    None,
    /// For the first time since it became due.
    New,
    /// Nobody claimed it since. With `may_wait`, that is not long ago: while its lane is long, its id is surely in there.
    Again {
        may_wait: bool,
    },
}

/// One event to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub kind: EventType,
    pub status: Status,
    pub previous: Option<Status>,
    pub attempt: i32,
    pub part: u16,
    pub failure: Option<Failure>,
    pub next_attempt_at: Option<Timestamp>,
    pub ignored: bool,
}

/// Decides what `input` does to `message` at `now`. `None` = nothing: it is void, late or known already.
pub fn apply(
    timing: &Timing,
    client: &Client,
    message: &OpenMessage,
    input: &Input<'_>,
    now: Timestamp,
) -> Option<Change> {
    let change = unchanged(&message.state);
    let mut step = Step { timing, client, message, now, is_lane_long: false, change };
    match input {
        Input::Outcome { fence, outcome } => step.outcome(*fence, outcome),
        Input::Report { provider, attempt, part, report } => step.report(provider, *attempt, *part, report),
        Input::Timer { is_lane_long } => {
            step.is_lane_long = *is_lane_long;
            step.timer();
        }
        Input::Cancel => step.cancel(),
    }
    step.finish(matches!(input, Input::Timer { .. }))
}

fn unchanged(state: &MessageState) -> Change {
    Change {
        state: state.clone(),
        news: Vec::new(),
        resolution: None,
        is_dead_letter: false,
        offering: Offering::None,
    }
}

struct Step<'a> {
    timing: &'a Timing,
    client: &'a Client,
    message: &'a OpenMessage,
    now: Timestamp,
    is_lane_long: bool,
    change: Change,
}

impl Step<'_> {
    fn outcome(&mut self, fence: i64, outcome: &Outcome) {
        let state = &self.change.state;
        // A claim that expired, or that a report has overtaken, has no say any more.
        if (state.status != Status::Sending || state.fence != fence) && !planted!(NoFence) {
            return;
        }
        match outcome {
            Outcome::Accepted { refs } => {
                self.announce_sending();
                self.change.state.provider_refs.clone_from(refs);
                self.become_sent();
            }
            Outcome::Rejected { is_permanent: true, failure } => {
                self.announce_sending();
                self.fail(failure.clone());
            }
            Outcome::Rejected { is_permanent: false, failure } => {
                self.announce_sending();
                self.retry_or_give_up(failure);
            }
            Outcome::Throttled { retry_after } => self.put_back(*retry_after),
            Outcome::Unavailable => self.put_back(self.timing.unavailable_pause),
            Outcome::Unknown { detail } => {
                self.announce_sending();
                self.become_unknown(detail);
            }
        }
    }

    fn report(&mut self, provider: &str, attempt: i32, bound_part: u16, report: &ProviderReport) {
        let state = &self.change.state;
        // A reference that names an attempt this message never had, or another provider's, proves nothing.
        if attempt < 1 || attempt > state.attempt || (attempt == state.attempt && provider != state.provider)
        {
            return;
        }
        let part = if report.part == 0 { bound_part } else { report.part };
        match report.state {
            ReportState::Remark => {}
            ReportState::Accepted | ReportState::EnRoute => self.learn_accepted(attempt, report),
            ReportState::Delivered => self.learn_delivered(part, report),
            ReportState::Failed => self.learn_failed(attempt, part, report),
        }
    }

    /// The carrier has it: a report implies the acceptance that the attempt may not have told.
    fn learn_accepted(&mut self, attempt: i32, report: &ProviderReport) {
        let state = &self.change.state;
        match state.status {
            Status::Sending if attempt == state.attempt => {
                self.announce_sending();
                self.void_claim();
            }
            Status::Unknown => {}
            // The earlier attempt whose outcome was open turns out taken: it needs no second one.
            Status::FailedTemp if state.has_open_earlier_attempt => {}
            _ => return,
        }
        self.remember_ref(report);
        self.become_sent();
    }

    fn learn_delivered(&mut self, part: u16, report: &ProviderReport) {
        let status = self.change.state.status;
        if status == Status::FailedPerm || status == Status::Expired || status == Status::Canceled {
            return self.ignore(Status::Delivered, part, None);
        }
        if status == Status::Delivered {
            return;
        }
        self.change.state.parts.note(part, PartState::Delivered);
        if status == Status::Sending {
            self.announce_sending();
            self.void_claim();
            self.remember_ref(report);
            self.become_sent();
        }
        self.remember_ref(report);
        if self.change.state.parts.all_delivered() {
            self.change.state.failure = None;
            self.move_to(Status::Delivered, None);
        } else if status != Status::Sent && status != Status::Sending {
            self.become_sent();
        }
    }

    fn learn_failed(&mut self, attempt: i32, part: u16, report: &ProviderReport) {
        let failure = report.failure.clone().unwrap_or_else(|| Failure::new(FailureReason::ProviderRejected));
        let state = &self.change.state;
        match state.status {
            Status::Delivered => self.ignore(Status::FailedPerm, part, Some(failure)),
            status if status.is_final() => {}
            _ if attempt < state.attempt => self.learn_earlier_failed(failure),
            // The attempt itself was refused already, and a retry is due.
            Status::FailedTemp if attempt > 1 || !state.has_open_earlier_attempt => {}
            Status::Sending | Status::Sent | Status::Unknown | Status::FailedTemp => {
                if state.status == Status::Sending {
                    self.announce_sending();
                    self.void_claim();
                    self.remember_ref(report);
                    self.become_sent();
                }
                self.pay_as_sent();
                let state = &mut self.change.state;
                // While there is one attempt only, the flag can but mean this one, which is open no more.
                state.has_open_earlier_attempt &= attempt > 1;
                // While an earlier attempt may still deliver every part, no part has failed for good.
                if !state.has_open_earlier_attempt {
                    state.parts.note(part, PartState::Failed);
                }
                self.remember_ref(report);
                self.fail(failure);
            }
            _ => {}
        }
    }

    /// An attempt before the current one failed, which by itself decides nothing. If it was the only one that was
    /// open, the current one decides from now on, or has decided already. Which of several are open is not kept,
    /// so with more than two attempts the flag stays, and a report or the settlement decides.
    fn learn_earlier_failed(&mut self, failure: Failure) {
        use FailureReason::{OutcomeUnknown, ReportTimeout, ValidityExpired};
        let state = &mut self.change.state;
        let is_current_refused = state.failure.as_ref().is_some_and(|failure| {
            !matches!(failure.reason, OutcomeUnknown | ReportTimeout | ValidityExpired)
        });
        // FAILED_TEMP comes of a refusal, or of an open attempt that is to be repeated.
        let is_only_open = state.attempt == 2 && (state.status != Status::FailedTemp || is_current_refused);
        if !state.has_open_earlier_attempt || !is_only_open {
            return;
        }
        state.has_open_earlier_attempt = false;
        if state.status == Status::Unknown && is_current_refused {
            self.pay_as_sent();
            self.fail(failure);
        }
    }

    /// A report proves that a provider took the message, also where no answer told so: who pays at SENT pays.
    fn pay_as_sent(&mut self) {
        if self.change.resolution.is_none() {
            self.change.resolution = self.client.policy.on_status(self.change.state.lock, Status::Sent);
        }
    }

    fn timer(&mut self) {
        let state = &self.change.state;
        match state.status {
            Status::Queued | Status::FailedTemp | Status::Scheduled => self.look_at_due(),
            Status::Sending if state.lease_until.is_some_and(|until| until <= self.now) => {
                // The claim's commit was the intent to send and nobody came back: the outcome is unknown,
                // and never a plain retry.
                self.announce_sending();
                if planted!(PlainRetry) {
                    self.move_to(Status::FailedTemp, None);
                    self.change.state.due_at = Some(self.now);
                    self.change.offering = Offering::New;
                    return;
                }
                self.become_unknown("the worker did not come back");
            }
            Status::Unknown if state.due_at.is_some_and(|due| due <= self.now) => self.resend(),
            // What is to be sent again is not settled: it could be sent for nothing.
            Status::Sent | Status::Unknown
                if state.due_at.is_none() && self.settle_at().is_some_and(|at| at <= self.now) =>
            {
                self.settle()
            }
            _ => {}
        }
    }

    fn look_at_due(&mut self) {
        if self.message.expire_at <= self.now {
            return self.expire();
        }
        let Some(due) = self.change.state.due_at.filter(|due| *due <= self.now) else { return };
        if self.change.state.status == Status::Scheduled {
            self.move_to(Status::Queued, None);
            self.change.state.due_at = Some(due);
        }
        // Until its time the timer is set no later than that, and after its first offer only later.
        let was_offered = self.message.state.timer_at.is_some_and(|timer| timer > due);
        self.change.offering = if was_offered {
            Offering::Again { may_wait: self.now.since(due) < self.timing.offer_gap_max }
        } else {
            Offering::New
        };
    }

    /// While no attempt is under way or may have succeeded.
    fn cancel(&mut self) {
        let state = &mut self.change.state;
        let may_end = matches!(state.status, Status::Scheduled | Status::Queued | Status::FailedTemp);
        if may_end && !state.has_open_earlier_attempt {
            state.failure = None;
            self.move_to(Status::Canceled, None);
        }
    }

    fn expire(&mut self) {
        let failure = Failure::new(FailureReason::ValidityExpired);
        if self.change.state.has_open_earlier_attempt {
            self.wait_for_report(failure);
        } else {
            self.move_to(Status::Expired, Some(failure));
        }
    }

    fn resend(&mut self) {
        if self.message.expire_at <= self.now {
            self.change.state.due_at = None;
            return;
        }
        self.change.state.has_open_earlier_attempt = true;
        let failure = self.change.state.failure.clone();
        self.move_to(Status::FailedTemp, failure);
        self.change.state.due_at = Some(self.now);
        self.set_next_attempt(self.now);
        self.change.offering = Offering::New;
    }

    fn settle(&mut self) {
        self.change.resolution = self.client.policy.on_report_timeout(self.change.state.lock);
        let status = self.change.state.status;
        let failure = Failure::new(FailureReason::ReportTimeout);
        self.change.state.failure = Some(failure.clone());
        self.announce(EventType::MessageSettled, status, Some(failure));
    }

    fn retry_or_give_up(&mut self, failure: &Failure) {
        let state = &self.change.state;
        let Some(wait) = retry::wait_after(self.timing, self.message.key.id, state.attempt) else {
            let exhausted =
                Failure::new(FailureReason::RetriesExhausted).with(&failure.detail, &failure.provider_code);
            self.fail(exhausted);
            self.change.is_dead_letter = self.change.state.status == Status::FailedPerm;
            return;
        };
        let due = self.now + wait;
        if due >= self.message.expire_at {
            return self.expire();
        }
        self.move_to(Status::FailedTemp, Some(failure.clone()));
        self.change.state.due_at = Some(due);
        self.set_next_attempt(due);
    }

    /// The attempt never reached the provider: it is as if it had not been made.
    fn put_back(&mut self, pause: Duration) {
        let state = &mut self.change.state;
        state.attempt -= 1;
        state.status = if state.attempt == 0 { Status::Queued } else { Status::FailedTemp };
        state.lease_until = None;
        state.due_at = Some(self.now + pause);
    }

    /// A definite failure of the current attempt. It may only end the message if no earlier attempt is open.
    fn fail(&mut self, failure: Failure) {
        if self.change.state.has_open_earlier_attempt {
            self.wait_for_report(failure);
        } else {
            self.move_to(Status::FailedPerm, Some(failure));
        }
    }

    /// No further attempt, but an earlier one may still arrive: a report or the settlement decides.
    fn wait_for_report(&mut self, failure: Failure) {
        self.move_to(Status::Unknown, Some(failure));
    }

    fn become_sent(&mut self) {
        self.change.state.failure = None;
        self.move_to(Status::Sent, None);
    }

    fn become_unknown(&mut self, detail: &str) {
        self.void_claim();
        let failure = Failure::new(FailureReason::OutcomeUnknown).with(detail, "");
        self.move_to(Status::Unknown, Some(failure));
        let may_resend = self.message.on_unknown == OnUnknown::Resend
            && self.change.state.attempt < self.timing.max_attempts();
        if may_resend {
            self.change.state.due_at = Some(self.now + self.client.resend_after);
        }
    }

    fn ignore(&mut self, told: Status, part: u16, failure: Option<Failure>) {
        let previous = self.change.state.status;
        let attempt = self.change.state.attempt;
        self.change.news.push(News {
            kind: EventType::MessageReportIgnored,
            status: told,
            previous: Some(previous),
            attempt,
            part,
            failure,
            next_attempt_at: None,
            ignored: true,
        });
    }

    fn move_to(&mut self, status: Status, failure: Option<Failure>) {
        self.announce(EventType::of(status), status, failure.clone());
        let state = &mut self.change.state;
        state.status = status;
        state.status_at = self.now;
        state.lease_until = None;
        state.due_at = None;
        if failure.is_some() {
            state.failure = failure;
        }
        // The first one stands: what was paid at SENT is not given back by what the same report says next.
        if self.change.resolution.is_none() {
            let lock = if planted!(DoubleResolve) { LockState::Held } else { state.lock };
            self.change.resolution = self.client.policy.on_status(lock, status);
        }
    }

    /// SENDING is announced with the attempt's outcome, since the claim writes no event.
    fn announce_sending(&mut self) {
        let attempt = self.change.state.attempt;
        let before = if attempt == 1 { Status::Queued } else { Status::FailedTemp };
        let previous = Some(before);
        self.change.news.push(News {
            kind: EventType::MessageSending,
            status: Status::Sending,
            previous,
            attempt,
            part: 0,
            failure: None,
            next_attempt_at: None,
            ignored: false,
        });
    }

    fn announce(&mut self, kind: EventType, status: Status, failure: Option<Failure>) {
        self.change.news.push(News {
            kind,
            status,
            previous: Some(self.change.state.status),
            attempt: self.change.state.attempt,
            part: 0,
            failure,
            next_attempt_at: None,
            ignored: false,
        });
    }

    fn set_next_attempt(&mut self, at: Timestamp) {
        if let Some(news) = self.change.news.last_mut() {
            news.next_attempt_at = Some(at);
        }
    }

    /// The worker that holds the claim may still write: it must find its fence gone.
    fn void_claim(&mut self) {
        self.change.state.fence += 1;
    }

    fn remember_ref(&mut self, report: &ProviderReport) {
        if self.change.state.provider_refs.is_empty() && !report.provider_ref.is_empty() {
            self.change.state.provider_refs = vec![report.provider_ref.clone()];
        }
    }

    fn settle_at(&self) -> Option<Timestamp> {
        let state = &self.change.state;
        let is_held = state.lock == LockState::Held;
        is_held.then(|| state.status_at + self.client.report_timeout)
    }

    /// Only a timer that fired is worth a write by itself.
    fn finish(mut self, is_timer: bool) -> Option<Change> {
        let before = unchanged(&self.message.state);
        if !is_timer && self.change == before {
            return None;
        }
        if let Some(resolution) = self.change.resolution {
            self.change.state.lock = resolution.lock_state();
        }
        self.change.state.timer_at = self.next_timer();
        (self.change != before).then_some(self.change)
    }

    /// When the sweeper must look next. A timer that is set for an earlier time stays: it fires early, and is
    /// moved then. So a message that moves fast touches its timer twice in its life, not at every step.
    fn next_timer(&self) -> Option<Timestamp> {
        let wanted = self.wanted_timer()?;
        match self.message.state.timer_at {
            Some(set) if set <= wanted && set > self.now => Some(set),
            _ => Some(wanted),
        }
    }

    fn wanted_timer(&self) -> Option<Timestamp> {
        let state = &self.change.state;
        match state.status {
            Status::Queued | Status::FailedTemp | Status::Scheduled => {
                let due = state.due_at.unwrap_or(self.now);
                let next = if due > self.now { due } else { self.now + self.offer_gap(due) };
                Some(next.min(self.message.expire_at))
            }
            Status::Sending => state.lease_until,
            Status::Unknown if state.due_at.is_some() => state.due_at,
            Status::Unknown | Status::Sent => self.settle_at(),
            Status::Delivered | Status::FailedPerm | Status::Expired | Status::Canceled => None,
        }
    }

    /// Doubles with the time that a message has been due, so that a backlog is never offered whole again. In a long lane it
    /// begins with the longest gap and has no bound: else a backlog that takes long would be looked at, and offered, as a
    /// whole every few minutes, for which it would take longer.
    fn offer_gap(&self, due: Timestamp) -> Duration {
        let (age, longest) = (self.now.since(due), self.timing.offer_gap_max);
        if self.is_lane_long { age.max(longest) } else { age.clamp(self.timing.offer_gap, longest) }
    }
}

/// The first timer of a message accepted at `now`.
pub fn first_timer(timing: &Timing, now: Timestamp, expire_at: Timestamp) -> Timestamp {
    (now + timing.offer_gap).min(expire_at)
}
