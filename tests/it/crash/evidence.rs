//! What a crash test knows. Each part comes from another source, and no part is the server's word alone: the senders
//! noted what was promised, the provider what it was given, the subscriber what it was told.

use std::collections::BTreeMap;

use message::event::TransactionType;
use message::id::MessageId;
use message::report::ReportState;
use message::status::{LockState, OnUnknown, Status};
use provider_simulator::Witness;
use provider_simulator::wire::Reply;
use provider_simulator::witness::SeenSubmit;

/// Microseconds since the Unix epoch, by the clock of this machine.
pub(crate) type Micros = i64;

/// All of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) acks: Vec<Ack>,
    pub(crate) submits: BTreeMap<MessageId, Vec<Submit>>,
    pub(crate) listed: Vec<Listed>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) kills: Vec<Micros>,
    /// The balance at the end, in micros, with the newest `seq` that it includes.
    pub(crate) available: i64,
    pub(crate) held: i64,
    pub(crate) last_seq: i64,
    pub(crate) topped_up: i64,
    /// The most attempts that the schedule allows.
    pub(crate) max_attempts: i32,
    pub(crate) demand: Demand,
}

/// The faults that must have been injected for the test to mean anything.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Demand {
    pub(crate) messages: usize,
    pub(crate) kills: usize,
    /// Messages accepted and not yet ended, at each of that many kills.
    pub(crate) in_flight: usize,
}

/// One acknowledgement, as its sender noted it.
#[derive(Clone, Debug)]
pub(crate) struct Ack {
    /// The idempotency key, which is the reference too.
    pub(crate) key: String,
    pub(crate) message: MessageId,
    /// The last two digits of the recipient.
    pub(crate) nn: u8,
    pub(crate) on_unknown: OnUnknown,
    pub(crate) part_count: u16,
    pub(crate) text_sha256: String,
    /// When the answer came.
    pub(crate) at: Micros,
}

/// One submit, as the provider noted it.
#[derive(Clone, Debug)]
pub(crate) struct Submit {
    pub(crate) attempt: i32,
    pub(crate) answer: Answer,
    pub(crate) text_sha256: String,
    /// A report that every part was delivered will be sent until the server has it.
    pub(crate) owes_delivered: bool,
    /// A report that a part failed will be sent until the server has it.
    pub(crate) owes_failed: bool,
}

/// What the provider set out to answer. The server may have died before it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Accepted, or accepted without a word.
    Taken,
    RefusedForGood,
    RefusedForNow,
    /// Throttled or unavailable: nothing was taken, and no attempt is spent.
    PutOff,
}

/// One message, as the server lists it at the end.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) message: MessageId,
    pub(crate) reference: String,
    pub(crate) status: Status,
    pub(crate) credit: LockState,
    pub(crate) price_micros: i64,
}

/// One event, in the order in which the subscriber got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) seq: i64,
    /// As in `message.sent`.
    pub(crate) kind: String,
    pub(crate) at: Micros,
    pub(crate) message: Option<MessageId>,
    pub(crate) status: Option<Status>,
    pub(crate) attempt: i32,
    pub(crate) money: Option<Money>,
}

/// A credit movement in micros.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Money {
    pub(crate) kind: TransactionType,
    pub(crate) available_delta: i64,
    pub(crate) held_delta: i64,
    pub(crate) available_after: i64,
    pub(crate) held_after: i64,
}

impl Seen {
    /// Nothing that counts follows for the message.
    pub(crate) fn is_end(&self) -> bool {
        let is_settled = self.kind == "message.settled";
        let is_final = self.status.is_some_and(Status::is_final) && self.kind != "message.report_ignored";
        is_settled || is_final
    }
}

/// The provider's notes in the words of this test.
pub(crate) fn submits(witness: &Witness) -> BTreeMap<MessageId, Vec<Submit>> {
    witness.messages().map(|(message, submits)| (message, submits.iter().map(submit).collect())).collect()
}

fn submit(seen: &SeenSubmit) -> Submit {
    let answer = match &seen.answer {
        Reply::Accepted { .. } | Reply::Withheld => Answer::Taken,
        Reply::Rejected { is_permanent: true, .. } => Answer::RefusedForGood,
        Reply::Rejected { is_permanent: false, .. } => Answer::RefusedForNow,
        Reply::Throttled { .. } | Reply::Unavailable => Answer::PutOff,
    };
    let parts = if seen.order.part_count == 1 { 0..=0 } else { 1..=seen.order.part_count };
    let says = |part: u16, state: ReportState| {
        seen.reports.iter().any(|report| report.part == part && report.state == state)
    };
    Submit {
        attempt: seen.order.attempt_ref.attempt,
        answer,
        text_sha256: seen.order.content_sha256.clone(),
        owes_delivered: parts.clone().all(|part| says(part, ReportState::Delivered)),
        owes_failed: parts.clone().any(|part| says(part, ReportState::Failed)),
    }
}
