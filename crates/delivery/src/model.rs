//! What the use cases read and write: clients, heads, messages and their states.

use std::collections::BTreeMap;
use std::time::Duration;

use ledger::{Balance, Policy};
use message::class::{MessageClass, Priority};
use message::encoding::Encoding;
use message::encoding::national::Shifts;
use message::failure::Failure;
use message::id::{AuditEntryId, ClientId, MessageId};
use message::parts::{Content, ReferenceBits};
use message::phone::PhoneNumber;
use message::status::{LockState, OnUnknown, PartStates, Status};
use message::time::Timestamp;
use message::words;

/// A message's full key: every payload and every store verb carries both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageKey {
    pub client: ClientId,
    pub id: MessageId,
}

words! {
    /// Whether a client may send. Reads, streams and accepted messages go on when suspended.
    pub enum ClientState {
        Active = "ACTIVE",
        Suspended = "SUSPENDED",
    }
}

/// A customer account: settings, which change rarely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub id: ClientId,
    pub name: String,
    pub state: ClientState,
    /// Why it is suspended; empty when it is not.
    pub suspend_reason: String,
    /// ISO 4217 code.
    pub currency: String,
    /// A sandbox client reaches the simulator only, and may use magic recipients.
    pub is_sandbox: bool,
    pub policy: Policy,
    /// How long a SENT or UNKNOWN message waits for a report before its money is settled.
    pub report_timeout: Duration,
    pub on_unknown: OnUnknown,
    /// With RESEND: how long after the outcome became unknown.
    pub resend_after: Duration,
    /// Sustained rate; 0 = no limit.
    pub parts_per_second: i32,
    /// Bucket size; at least one message's parts when a rate is set.
    pub burst_parts: i32,
    /// Empty = none.
    pub default_sender: String,
    /// Most parts of one message, 1 to 255.
    pub max_parts: i32,
    /// The balance is low below it; 0 = never.
    pub low_balance_micros: i64,
    pub created_at: Timestamp,
    /// Grows with each change of the settings, from 1.
    pub revision: i64,
}

/// The hot row of a client: what every accepted message and every event moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub balance: Balance,
    /// `seq` of the newest event; 0 = none yet.
    pub last_seq: i64,
    /// `seq` of the oldest event still kept (1 until retention removes some).
    pub oldest_seq: i64,
}

/// What never changes after accept.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageRecord {
    pub key: MessageKey,
    pub to: PhoneNumber,
    /// Empty = the provider account's default.
    pub sender: String,
    pub content: Content,
    pub encoding: Encoding,
    /// The national tables of a GSM-7 text.
    pub shifts: Shifts,
    /// The text is not the one that was given.
    pub is_transliterated: bool,
    pub reference_bits: ReferenceBits,
    pub part_count: u16,
    pub price_micros: i64,
    pub currency: String,
    /// The client's own reference; empty if none.
    pub reference: String,
    pub metadata: BTreeMap<String, String>,
    pub on_unknown: OnUnknown,
    pub priority: Priority,
    /// Message class 0: shown at once and not kept.
    pub is_flash: bool,
    pub class: MessageClass,
    /// The dead letter that it sends again.
    pub replay_of: Option<MessageId>,
    pub created_at: Timestamp,
    /// When it is due; `None` = it was due at once.
    pub scheduled_at: Option<Timestamp>,
    /// End of the validity period.
    pub expire_at: Timestamp,
}

/// The narrow row that does change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageState {
    pub status: Status,
    pub status_at: Timestamp,
    /// State of the message's credit lock.
    pub lock: LockState,
    /// Grows with each claim, and when a claim is taken away: a write that names an older one is void.
    pub fence: i64,
    /// The current or last attempt, from 1; 0 = none yet.
    pub attempt: i32,
    /// SCHEDULED: queued then. QUEUED, FAILED_TEMP: claimable from then on. UNKNOWN: sent again then; `None` = never. Else `None`.
    pub due_at: Option<Timestamp>,
    /// SENDING: when the claim expires. Else `None`.
    pub lease_until: Option<Timestamp>,
    /// When the sweeper next looks at this message; the row of `timers` with this time belongs to it.
    pub timer_at: Option<Timestamp>,
    /// The provider of the current or last attempt; empty before the first.
    pub provider: String,
    /// The provider's references of the last accepted attempt: one, or one per part.
    pub provider_refs: Vec<String>,
    pub failure: Option<Failure>,
    pub parts: PartStates,
    /// An attempt before the current one has an outcome nobody knows: the message may reach the recipient
    /// by it, so no failure of a later attempt may release the money.
    pub has_open_earlier_attempt: bool,
    /// `seq` of this message's newest event.
    pub last_event_seq: i64,
}

/// A message as its client sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub record: MessageRecord,
    pub state: MessageState,
}

/// What a decision needs of a message that exists already: its state, and of its record all but the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenMessage {
    pub key: MessageKey,
    pub to: PhoneNumber,
    pub reference: String,
    pub part_count: u16,
    pub price_micros: i64,
    pub on_unknown: OnUnknown,
    pub priority: Priority,
    pub expire_at: Timestamp,
    pub state: MessageState,
}

words! {
    /// Which calls share a space of idempotency keys within a client.
    pub enum KeyKind {
        Send = "SEND",
        TopUp = "TOP_UP",
        Adjust = "ADJUST",
    }
}

/// Names a remembered call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey {
    pub client: ClientId,
    pub kind: KeyKind,
    pub key: String,
}

/// A call remembered by its idempotency key. The receipt it replays is the immutable record of what it made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RememberedCall {
    pub key: IdempotencyKey,
    pub fingerprint: message::fingerprint::Fingerprint,
    pub made: Made,
    pub created_at: Timestamp,
}

/// What a remembered call made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    Message(MessageId),
    /// The event at this `seq`.
    Event(i64),
}

/// A message that ended in FAILED_PERM by exhaustion or poison, kept for analysis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub key: MessageKey,
    pub provider: String,
    pub failure: Failure,
    pub has_unknown_attempt: bool,
    pub at: Timestamp,
    /// The message that sent it again.
    pub replayed_as: Option<MessageId>,
}

words! {
    /// What a key may do.
    pub enum Scope {
        Send = "SEND",
        Read = "READ",
        Billing = "BILLING",
        /// Only on keys without a client.
        Admin = "ADMIN",
    }
}

/// An API key as stored: never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Begins `test` or `live`.
    pub id: String,
    /// `None` = an operator key.
    pub client: Option<ClientId>,
    pub name: String,
    pub scopes: Vec<Scope>,
    /// bcrypt.
    pub secret_hash: String,
    /// HMAC-SHA256 of the whole key under the server's pepper.
    pub fingerprint: Vec<u8>,
    pub created_at: Timestamp,
    pub expire_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// To a minute or so.
    pub last_used_at: Option<Timestamp>,
    /// Address ranges in CIDR form that it may be used from; empty = all.
    pub allowed_ranges: Vec<String>,
}

/// What a provider pushes its reports with: never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderKey {
    pub id: String,
    /// The provider whose reports it may push.
    pub provider: String,
    pub name: String,
    /// HMAC-SHA256 of the whole key under the server's pepper.
    pub fingerprint: Vec<u8>,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// One deed of an operator. No field holds a secret, a text or a whole number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub id: AuditEntryId,
    pub at: Timestamp,
    /// The operator's key; empty = the server itself.
    pub key_id: String,
    /// The client that it acted for, or on.
    pub client: Option<ClientId>,
    /// As in `AdminService.UpdateClient`.
    pub action: String,
    /// What it was done to; empty when the client or the action says it.
    pub target: String,
    /// JSON; empty if there was nothing.
    pub before: String,
    /// JSON; empty if there is nothing.
    pub after: String,
    pub note: String,
    pub request_id: String,
}

/// How long things are kept; `None` = for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// From the time an event was written.
    pub events: Option<Duration>,
    /// From the time a message became final.
    pub messages: Option<Duration>,
    pub audit_entries: Option<Duration>,
}
