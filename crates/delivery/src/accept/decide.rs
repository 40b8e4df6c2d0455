//! Who of a batch is accepted, and what is written for it. Pure.

use std::fmt::{Debug, Formatter};
use std::sync::Arc;
use std::time::Duration;

use message::event::{DeliveryReport, EventType};
use message::id::{Entropy, MessageId};
use message::status::{LockState, PartStates, Status};
use message::time::Timestamp;

use super::{AcceptError, FieldViolation, Prepared, ViolationKind};
use crate::book::{Book, Entry};
use crate::model::{
    AuditEntry, ClientState, IdempotencyKey, Made, Message, MessageKey, MessageRecord, MessageState,
    RememberedCall,
};
use crate::plan::Loaded;
use crate::timing::Timing;
use crate::transition;

/// How far ahead a message may be scheduled.
pub const SCHEDULE_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How long ago a scheduled time may be: more is a mistake, not a delay.
pub const SCHEDULE_LATE_MAX: Duration = Duration::from_secs(3_600);

/// One submission of the batch.
#[derive(Clone, Debug)]
pub struct Submission {
    pub prepared: Prepared,
    /// Becomes part of the message's id if it is accepted.
    pub entropy: Entropy,
    /// Whose deed it is, where it is an operator's.
    pub deed: Option<DeedOf>,
}

/// The trail's entry of a message that an operator sends: made from the time and the message's id, which are known when
/// it is accepted, and written in the same transaction. It may be made several times.
#[derive(Clone)]
pub struct DeedOf(Arc<dyn Fn(Timestamp, MessageId) -> AuditEntry + Send + Sync>);

impl DeedOf {
    pub fn new(entry: impl Fn(Timestamp, MessageId) -> AuditEntry + Send + Sync + 'static) -> Self {
        Self(Arc::new(entry))
    }
}

impl Debug for DeedOf {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeedOf")
    }
}

impl Submission {
    pub fn idempotency_key(&self) -> Option<IdempotencyKey> {
        self.prepared.key()
    }

    /// The dead letter that it sends again.
    pub fn dead_letter(&self) -> Option<MessageKey> {
        let id = self.prepared.replay_of?;
        Some(MessageKey { client: self.prepared.client, id })
    }
}

/// What was decided for one submission.
#[derive(Debug)]
pub enum Decision {
    Accepted(Box<Message>),
    /// The same request is remembered: its message is read and answered again.
    Replay(MessageId),
    Refused(AcceptError),
}

/// Decides every submission, in order, and books what is accepted.
pub fn decide(timing: &Timing, loaded: &mut Loaded, book: &mut Book, batch: &[Submission]) -> Vec<Decision> {
    batch.iter().map(|submission| decide_one(timing, loaded, book, submission)).collect()
}

fn decide_one(timing: &Timing, loaded: &mut Loaded, book: &mut Book, submission: &Submission) -> Decision {
    let prepared = &submission.prepared;
    let key = submission.idempotency_key();
    // A remembered call is answered before any other check: it was valid when it was made.
    if let Some(first) = key.as_ref().and_then(|key| loaded.keys.get(key)) {
        let is_live = book.now.since(first.created_at) < timing.key_lifetime;
        match first.made {
            Made::Message(id) if is_live && first.fingerprint == prepared.fingerprint => {
                return Decision::Replay(id);
            }
            Made::Message(id) if is_live => {
                return Decision::Refused(AcceptError::KeyReused { first_message: Some(id) });
            }
            _ => {}
        }
    }
    if let Some(dead) = submission.dead_letter() {
        match loaded.dead_letters.get(&dead) {
            None => return Decision::Refused(AcceptError::NoSuchDeadLetter),
            Some(Some(replay)) => return Decision::Replay(*replay),
            Some(None) => {}
        }
    }
    let Some((client, _)) = book.clients.get(&prepared.client) else {
        return Decision::Refused(AcceptError::NoSuchClient);
    };
    if client.state == ClientState::Suspended {
        return Decision::Refused(AcceptError::ClientSuspended);
    }
    if let Some(problem) = prepared.schedule_at.and_then(|at| schedule_problem(book.now, at)) {
        let violation =
            FieldViolation { field: "schedule_time", problem: problem.into(), kind: ViolationKind::Field };
        return Decision::Refused(AcceptError::Invalid(vec![violation]));
    }
    let (balance, movement) = match book.balance(prepared.client).hold(prepared.price_micros) {
        Ok(held) => held,
        Err(_) => {
            return Decision::Refused(AcceptError::InsufficientCredit {
                need_micros: prepared.price_micros,
                available_micros: book.balance(prepared.client).available(),
                currency: prepared.currency.clone(),
            });
        }
    };

    // From here on the message is accepted.
    let id = MessageId::new(book.now, submission.entropy);
    let mut message = new_message(timing, book.now, id, prepared);
    let entry = Entry {
        kind: EventType::of(message.state.status),
        previous_seq: 0,
        report: Some(first_report(&message)),
        movement: Some((movement, Some(id), String::new())),
    };
    message.state.last_event_seq = book.append(prepared.client, balance, entry);
    book.plan.messages.push(message.clone());
    if let Some(dead) = submission.dead_letter() {
        loaded.dead_letters.insert(dead, Some(id));
        book.plan.replays.push((dead, id));
    }
    if let Some(DeedOf(entry)) = &submission.deed {
        book.plan.audit_entries.push(entry(book.now, id));
    }
    if let Some(key) = key {
        let call = RememberedCall {
            key: key.clone(),
            fingerprint: prepared.fingerprint,
            made: Made::Message(id),
            created_at: book.now,
        };
        loaded.keys.insert(key, call.clone());
        book.plan.keys.push(call);
    }
    Decision::Accepted(Box::new(message))
}

fn schedule_problem(now: Timestamp, at: Timestamp) -> Option<&'static str> {
    if at > now + SCHEDULE_MAX {
        return Some("must be at most 30 days ahead");
    }
    (at < now - SCHEDULE_LATE_MAX).then_some("is more than an hour ago")
}

fn new_message(timing: &Timing, now: Timestamp, id: MessageId, prepared: &Prepared) -> Message {
    let scheduled_at = prepared.schedule_at.filter(|at| *at > now);
    let due_at = scheduled_at.unwrap_or(now);
    let expire_at = due_at + prepared.validity;
    let record = MessageRecord {
        key: MessageKey { client: prepared.client, id },
        to: prepared.to.clone(),
        sender: prepared.sender.clone(),
        content: prepared.content.clone(),
        encoding: prepared.encoding,
        shifts: prepared.shifts,
        is_transliterated: prepared.is_transliterated,
        reference_bits: prepared.reference_bits,
        part_count: prepared.part_count,
        price_micros: prepared.price_micros,
        currency: prepared.currency.clone(),
        reference: prepared.reference.clone(),
        metadata: prepared.metadata.clone(),
        on_unknown: prepared.on_unknown,
        priority: prepared.priority,
        is_flash: prepared.is_flash,
        class: prepared.class,
        replay_of: prepared.replay_of,
        created_at: now,
        scheduled_at,
        expire_at,
    };
    let timer_at = match scheduled_at {
        Some(at) => at,
        None => transition::first_timer(timing, now, expire_at),
    };
    let state = first_state(&record, Some(timer_at));
    Message { record, state }
}

fn first_report(message: &Message) -> DeliveryReport {
    DeliveryReport {
        message: message.record.key.id,
        reference: message.record.reference.clone(),
        to: message.record.to.clone(),
        status: message.state.status,
        previous: None,
        part: 0,
        attempt: 0,
        provider: String::new(),
        provider_ref: String::new(),
        failure: None,
        next_attempt_at: None,
        ignored: false,
    }
}

/// The receipt of a remembered call: the message as it was when it was accepted.
pub fn receipt_of(message: Message) -> Message {
    let state = first_state(&message.record, None);
    Message { record: message.record, state }
}

fn first_state(record: &MessageRecord, timer_at: Option<Timestamp>) -> MessageState {
    MessageState {
        status: if record.scheduled_at.is_some() { Status::Scheduled } else { Status::Queued },
        status_at: record.created_at,
        lock: LockState::Held,
        fence: 0,
        attempt: 0,
        due_at: Some(record.scheduled_at.unwrap_or(record.created_at)),
        lease_until: None,
        timer_at,
        provider: String::new(),
        provider_refs: Vec::new(),
        failure: None,
        parts: PartStates::open(usize::from(record.part_count)),
        has_open_earlier_attempt: false,
        last_event_seq: 0,
    }
}
