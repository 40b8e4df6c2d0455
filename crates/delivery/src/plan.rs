//! What one transaction reads and what it writes: the two halves of the store port.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use message::event::Event;
use message::id::{ClientId, MessageId};
use message::time::Timestamp;

use crate::model::{
    AuditEntry, Client, DeadLetter, Head, IdempotencyKey, Message, MessageKey, MessageState, OpenMessage,
    RememberedCall,
};

/// What a transaction must lock and read before it decides.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Locked in ascending order, before anything else.
    pub clients: BTreeSet<ClientId>,
    /// Locked in ascending order, after the clients. Their clients must be in `clients`.
    pub messages: BTreeSet<MessageKey>,
    /// Looked up under the clients' locks. Their clients must be in `clients`.
    pub keys: BTreeSet<IdempotencyKey>,
    /// Inbox rows: which of them are still pending is read under the locks above.
    pub reports: BTreeSet<i64>,
    /// Dead letters to replay. Their clients must be in `clients`.
    pub dead_letters: BTreeSet<MessageKey>,
}

/// What was locked and read. What does not exist is absent.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The database's clock, read once in this transaction.
    pub now: Timestamp,
    pub clients: BTreeMap<ClientId, (Client, Head)>,
    pub messages: BTreeMap<MessageKey, OpenMessage>,
    /// Those that are no older than [`KEY_LIFETIME`](crate::timing::KEY_LIFETIME).
    pub keys: HashMap<IdempotencyKey, RememberedCall>,
    pub pending_reports: BTreeSet<i64>,
    /// Those that exist, with the message that each was replayed as.
    pub dead_letters: BTreeMap<MessageKey, Option<MessageId>>,
}

/// What a transaction writes, in this order. Every section may be empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// New values of the locked heads that moved.
    pub heads: Vec<(ClientId, Head)>,
    /// Each with its record, its state, its credit lock (HELD, `price_micros`) and its timer.
    pub messages: Vec<Message>,
    /// New remembered calls. A row with the same key that was loaded and found too old is replaced.
    pub keys: Vec<RememberedCall>,
    pub states: Vec<StateChange>,
    pub events: Vec<Event>,
    pub refs: Vec<RefBinding>,
    /// Inbox rows that are dealt with.
    pub done_reports: Vec<i64>,
    pub dead_letters: Vec<DeadLetter>,
    /// Dead letters that are sent again, and the message of the same client that does it: a conflict if it was
    /// replayed before.
    pub replays: Vec<(MessageKey, MessageId)>,
    /// Whose deed this is.
    pub audit_entries: Vec<AuditEntry>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The new state of a message that was loaded in this transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    pub key: MessageKey,
    /// The fence as loaded: the write is a conflict if the row has another.
    pub fence_before: i64,
    /// The timer as loaded. Its row is deleted if the new state has another time, and inserted if new.
    pub timer_before: Option<Timestamp>,
    /// Whether this change takes the lock out of HELD (to `state.lock`): a conflict if it was not HELD.
    pub resolves_lock: bool,
    pub state: MessageState,
}

/// Binds a provider's reference to the attempt that it stands for. The newest binding of a reference wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefBinding {
    pub provider: String,
    pub reference: String,
    pub key: MessageKey,
    pub attempt: i32,
    /// From 1 when the provider gave one reference per part; 0 = the whole message.
    pub part: u16,
}

/// What a write found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// At least one of `Plan::refs` had a report waiting in the inbox: whoever is second applies it.
    pub has_early_reports: bool,
}
