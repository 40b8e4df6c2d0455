//! Who of a batch is accepted, and what is written for it. Pure.

use message::event::{DeliveryReport, EventType};
use message::id::{Entropy, MessageId};
use message::status::{LockState, PartStates, Status};
use message::time::Timestamp;

use super::{AcceptError, Prepared};
use crate::book::{Book, Entry};
use crate::model::{
    ClientState, IdempotencyKey, Made, Message, MessageKey, MessageRecord, MessageState, RememberedCall,
};
use crate::plan::Loaded;
use crate::timing::Timing;
use crate::transition;

/// One submission of the batch.
#[derive(Clone, Debug)]
pub struct Submission {
    pub prepared: Prepared,
    /// Becomes part of the message's id if it is accepted.
    pub entropy: Entropy,
}

impl Submission {
    pub fn idempotency_key(&self) -> Option<IdempotencyKey> {
        self.prepared.key()
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
    let Some((client, _)) = book.clients.get(&prepared.client) else {
        return Decision::Refused(AcceptError::NoSuchClient);
    };
    if client.state == ClientState::Suspended {
        return Decision::Refused(AcceptError::ClientSuspended);
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
        kind: EventType::MessageQueued,
        previous_seq: 0,
        report: Some(first_report(&message)),
        movement: Some((movement, Some(id), String::new())),
    };
    message.state.last_event_seq = book.append(prepared.client, balance, entry);
    book.plan.messages.push(message.clone());
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

fn new_message(timing: &Timing, now: Timestamp, id: MessageId, prepared: &Prepared) -> Message {
    let expire_at = now + prepared.validity;
    let record = MessageRecord {
        key: MessageKey { client: prepared.client, id },
        to: prepared.to.clone(),
        sender: prepared.sender.clone(),
        content: prepared.content.clone(),
        encoding: prepared.encoding,
        reference_bits: prepared.reference_bits,
        part_count: prepared.part_count,
        price_micros: prepared.price_micros,
        currency: prepared.currency.clone(),
        reference: prepared.reference.clone(),
        metadata: prepared.metadata.clone(),
        on_unknown: prepared.on_unknown,
        created_at: now,
        expire_at,
    };
    let timer_at = transition::first_timer(timing, now, expire_at);
    let state = queued_state(now, prepared.part_count, Some(timer_at));
    Message { record, state }
}

fn first_report(message: &Message) -> DeliveryReport {
    DeliveryReport {
        message: message.record.key.id,
        reference: message.record.reference.clone(),
        to: message.record.to.clone(),
        status: Status::Queued,
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
    let state = queued_state(message.record.created_at, message.record.part_count, None);
    Message { record: message.record, state }
}

fn queued_state(now: Timestamp, part_count: u16, timer_at: Option<Timestamp>) -> MessageState {
    MessageState {
        status: Status::Queued,
        status_at: now,
        lock: LockState::Held,
        fence: 0,
        attempt: 0,
        due_at: Some(now),
        lease_until: None,
        timer_at,
        provider: String::new(),
        provider_refs: Vec::new(),
        failure: None,
        parts: PartStates::open(usize::from(part_count)),
        has_open_earlier_attempt: false,
        last_event_seq: 0,
    }
}
