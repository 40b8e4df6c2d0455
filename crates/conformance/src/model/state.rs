//! All that a store remembers.

use std::collections::{BTreeMap, BTreeSet};

use delivery::model::{
    ApiKey, AuditEntry, Client, DeadLetter, Head, IdempotencyKey, Message, MessageKey, MessageRecord,
    MessageState, OpenMessage, ProviderKey, RememberedCall, Retention,
};
use delivery::port::{Checkpoint, Restock};
use delivery::timing::KEY_LIFETIME;
use message::Timestamp;
use message::event::Event;
use message::fingerprint::Fingerprint;
use message::id::{AuditEntryId, ClientId};
use message::report::ProviderReport;
use message::status::LockState;

/// The tables.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The newest time that was told.
    pub now: Timestamp,
    pub is_migrated: bool,
    pub renewed_epochs: u64,
    pub secrets: BTreeMap<String, [u8; 32]>,
    pub clients: BTreeMap<ClientId, Client>,
    /// The clients that were made under a key, and the fingerprints of those calls.
    pub creations: BTreeMap<String, (ClientId, Fingerprint)>,
    pub heads: BTreeMap<ClientId, Head>,
    pub checkpoints: BTreeMap<ClientId, Checkpoint>,
    pub api_keys: BTreeMap<String, ApiKey>,
    pub provider_keys: BTreeMap<String, ProviderKey>,
    pub retention: Retention,
    pub restock: Option<Restock>,
    pub audit_log: BTreeMap<AuditEntryId, AuditEntry>,
    /// By currency and prefix.
    pub rates: BTreeMap<(String, String), i64>,
    pub records: BTreeMap<MessageKey, MessageRecord>,
    /// Without the lock, which `locks` holds.
    pub states: BTreeMap<MessageKey, MessageState>,
    pub locks: BTreeMap<MessageKey, Lock>,
    pub timers: BTreeSet<(Timestamp, MessageKey)>,
    pub keys: BTreeMap<IdempotencyKey, RememberedCall>,
    pub events: BTreeMap<(ClientId, i64), Event>,
    /// By provider and reference.
    pub refs: BTreeMap<(String, String), Ref>,
    /// The inbox, by id.
    pub reports: BTreeMap<i64, StoredReport>,
    pub last_report: i64,
    pub dead_letters: BTreeMap<MessageKey, DeadLetter>,
}

/// The hold for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    pub amount: i64,
    pub state: LockState,
}

/// A provider's reference: what it is bound to, and whether a report has named it.
#[derive(Clone, Debug)]
pub struct Ref {
    pub bound: Option<Bound>,
    pub is_reported: bool,
    pub created_at: Timestamp,
}

/// What a reference stands for.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub key: MessageKey,
    pub attempt: i32,
    pub part: u16,
}

/// A row of the inbox.
#[derive(Clone, Debug)]
pub struct StoredReport {
    pub provider: String,
    pub report: ProviderReport,
    pub stored_at: Timestamp,
    pub is_done: bool,
}

impl State {
    pub fn message(&self, key: MessageKey) -> Option<Message> {
        let (record, state, lock) = (self.records.get(&key)?, self.states.get(&key)?, self.locks.get(&key)?);
        Some(Message { record: record.clone(), state: MessageState { lock: lock.state, ..state.clone() } })
    }

    pub fn open_message(&self, key: MessageKey) -> Option<OpenMessage> {
        let Message { record, state } = self.message(key)?;
        Some(OpenMessage {
            key,
            to: record.to,
            reference: record.reference,
            part_count: record.part_count,
            price_micros: record.price_micros,
            on_unknown: record.on_unknown,
            priority: record.priority,
            expire_at: record.expire_at,
            state,
        })
    }

    /// `None` once it has lived its time.
    pub fn living_key(&self, key: &IdempotencyKey, now: Timestamp) -> Option<&RememberedCall> {
        self.keys.get(key).filter(|call| now.since(call.created_at) < KEY_LIFETIME)
    }

    pub fn client(&self, id: ClientId) -> Option<(Client, Head)> {
        Some((self.clients.get(&id)?.clone(), *self.heads.get(&id)?))
    }

    /// The client's events with `seq` above `after`, ascending.
    pub fn events_after(&self, client: ClientId, after: i64) -> impl DoubleEndedIterator<Item = &Event> {
        let from = after.saturating_add(1);
        let is_past = after == i64::MAX;
        self.events
            .range((client, from)..=(client, i64::MAX))
            .map(|(_, event)| event)
            .filter(move |_| !is_past)
    }
}
