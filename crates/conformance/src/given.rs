//! The things that claims are about, in a plain form to change from.

use std::collections::BTreeMap;
use std::time::Duration;

use delivery::accept::decide::Submission;
use delivery::accept::prepare::Prepared;
use delivery::model::{
    ApiKey, AuditEntry, Client, ClientState, DeadLetter, Message, MessageKey, MessageRecord, MessageState,
    ProviderKey, Scope,
};
use ledger::Policy;
use message::class::{MessageClass, Priority};
use message::encoding::Encoding;
use message::encoding::national::Shifts;
use message::event::{Event, EventType, Transaction, TransactionType};
use message::failure::{Failure, FailureReason};
use message::fingerprint::Fingerprint;
use message::id::{AuditEntryId, ClientId, Entropy, MessageId};
use message::parts::{Content, MessageText, ReferenceBits};
use message::report::{AttemptRef, ProviderReport, ReportState};
use message::status::{LockState, OnUnknown, PartStates, Status};
use message::{PhoneNumber, Timestamp};

/// The provider that every claim speaks of.
pub const PROVIDER: &str = "simulator";
/// What a plain message costs.
pub const PRICE: i64 = 10_000;
/// How long a plain message is valid.
pub const VALIDITY: Duration = Duration::from_secs(48 * 3_600);
/// How long a plain client waits for reports.
pub const REPORT_TIMEOUT: Duration = Duration::from_secs(3 * 24 * 3_600);
/// With RESEND: when a plain client's message is sent again.
pub const RESEND_AFTER: Duration = Duration::from_secs(600);

/// Text that finds its way through no careless quoting, escaping, folding or trimming.
pub const AWKWARD: &str = " 'single' \"double\" `back` \\ \\n \\u0041 %s $1 ?1 {\"a\":[null]} --\n\r\t\u{7f}\u{1}€ß\u{301}é \
                           مرحبا שלום \u{202e}rtl 漢字 👩‍👩‍👧‍👦 🇺🇦 \u{fffd}\u{ffff}\u{10ffff} ";

pub fn client(id: ClientId, now: Timestamp) -> Client {
    Client {
        id,
        name: "a client".into(),
        state: ClientState::Active,
        suspend_reason: String::new(),
        currency: "USD".into(),
        is_sandbox: true,
        policy: Policy::default(),
        report_timeout: REPORT_TIMEOUT,
        on_unknown: OnUnknown::Wait,
        resend_after: RESEND_AFTER,
        parts_per_second: 0,
        burst_parts: 0,
        default_sender: String::new(),
        max_parts: 10,
        low_balance_micros: 0,
        created_at: now,
        revision: 1,
    }
}

/// A client's key that does not end.
pub fn api_key(id: &str, client: Option<ClientId>, now: Timestamp) -> ApiKey {
    ApiKey {
        id: id.into(),
        client,
        name: String::new(),
        scopes: vec![if client.is_some() { Scope::Send } else { Scope::Admin }],
        secret_hash: String::new(),
        fingerprint: vec![0; 32],
        created_at: now,
        expire_at: None,
        revoked_at: None,
        last_used_at: None,
        allowed_ranges: Vec::new(),
    }
}

pub fn provider_key(id: &str, provider: &str, now: Timestamp) -> ProviderKey {
    ProviderKey {
        id: id.into(),
        provider: provider.into(),
        name: String::new(),
        fingerprint: vec![0; 32],
        created_at: now,
        revoked_at: None,
    }
}

/// A deed of an operator.
pub fn entry(action: &str, now: Timestamp, entropy: Entropy) -> AuditEntry {
    AuditEntry {
        id: AuditEntryId::new(now, entropy),
        at: now,
        key_id: "test_operator".into(),
        client: None,
        action: action.into(),
        target: String::new(),
        before: String::new(),
        after: String::new(),
        note: String::new(),
        request_id: String::new(),
    }
}

pub fn phone() -> PhoneNumber {
    PhoneNumber::from_trusted("+12025550100".into()).expect("it has the form of a number")
}

pub fn text(text: &str) -> Content {
    Content::Text(MessageText::from(text.to_owned()))
}

pub fn fingerprint(of: &str) -> Fingerprint {
    Fingerprint::builder("conformance.v1").field("of", of.as_bytes()).finish()
}

/// A plain message of one part, without an idempotency key.
pub fn prepared(client: ClientId) -> Prepared {
    Prepared {
        client,
        to: phone(),
        sender: String::new(),
        content: text("hello"),
        encoding: Encoding::Gsm7,
        shifts: Shifts::NONE,
        is_transliterated: false,
        reference_bits: ReferenceBits::Sixteen,
        part_count: 1,
        price_micros: PRICE,
        currency: "USD".into(),
        reference: String::new(),
        metadata: BTreeMap::new(),
        on_unknown: OnUnknown::Wait,
        priority: Priority::Normal,
        is_flash: false,
        class: MessageClass::Transactional,
        replay_of: None,
        schedule_at: None,
        validity: VALIDITY,
        idempotency_key: None,
        fingerprint: fingerprint("hello"),
    }
}

/// A plain message under `key`; `body` is its text.
pub fn keyed(client: ClientId, key: &str, body: &str) -> Prepared {
    Prepared {
        idempotency_key: Some(key.to_owned()),
        content: text(body),
        fingerprint: fingerprint(body),
        ..prepared(client)
    }
}

pub fn submission(prepared: Prepared, entropy: Entropy) -> Submission {
    Submission { prepared, entropy, deed: None }
}

/// A message as accept writes it, for claims that write their plans by hand. Its first event is `seq`.
pub fn message(client: ClientId, entropy: Entropy, now: Timestamp, seq: i64) -> Message {
    let prepared = prepared(client);
    let key = MessageKey { client, id: MessageId::new(now, entropy) };
    let record = MessageRecord {
        key,
        to: prepared.to,
        sender: prepared.sender,
        content: prepared.content,
        encoding: prepared.encoding,
        shifts: prepared.shifts,
        is_transliterated: prepared.is_transliterated,
        reference_bits: prepared.reference_bits,
        part_count: prepared.part_count,
        price_micros: prepared.price_micros,
        currency: prepared.currency,
        reference: prepared.reference,
        metadata: prepared.metadata,
        on_unknown: prepared.on_unknown,
        priority: prepared.priority,
        is_flash: prepared.is_flash,
        class: prepared.class,
        replay_of: prepared.replay_of,
        created_at: now,
        scheduled_at: prepared.schedule_at,
        expire_at: now + prepared.validity,
    };
    Message { record, state: queued(now, seq) }
}

pub fn queued(now: Timestamp, seq: i64) -> MessageState {
    MessageState {
        status: Status::Queued,
        status_at: now,
        lock: LockState::Held,
        fence: 0,
        attempt: 0,
        due_at: Some(now),
        lease_until: None,
        timer_at: Some(now + Duration::from_secs(10)),
        provider: String::new(),
        provider_refs: Vec::new(),
        failure: None,
        parts: PartStates::open(1),
        has_open_earlier_attempt: false,
        last_event_seq: seq,
    }
}

/// The end of a message that no provider took.
pub fn dead_letter(key: MessageKey, at: Timestamp) -> DeadLetter {
    DeadLetter {
        key,
        provider: PROVIDER.into(),
        failure: Failure::new(FailureReason::RetriesExhausted),
        has_unknown_attempt: false,
        at,
        replayed_as: None,
    }
}

/// An event that moves credit.
pub fn movement(
    client: ClientId,
    seq: i64,
    now: Timestamp,
    transaction: Transaction,
    after: (i64, i64),
) -> Event {
    Event {
        client,
        seq,
        kind: EventType::CreditToppedUp,
        at: now,
        previous_seq: 0,
        report: None,
        transaction: Some(transaction),
        available_after: after.0,
        held_after: after.1,
    }
}

pub fn transaction(
    kind: TransactionType,
    message: Option<MessageId>,
    available_delta: i64,
    held_delta: i64,
) -> Transaction {
    Transaction { kind, message, available_delta, held_delta, note: String::new() }
}

/// A report by the provider's reference.
pub fn report(provider_ref: &str, state: ReportState) -> ProviderReport {
    let failure = (state == ReportState::Failed)
        .then(|| Failure::new(FailureReason::RecipientUnreachable).with("absent", "0x1b"));
    ProviderReport {
        provider_ref: provider_ref.to_owned(),
        attempt_ref: None,
        state,
        part: 0,
        done_date: "2311142213".into(),
        failure,
    }
}

/// A report that echoes our reference of an attempt.
pub fn echo(key: MessageKey, attempt: i32, provider_ref: &str, state: ReportState) -> ProviderReport {
    let attempt_ref = Some(AttemptRef { client: key.client, message: key.id, attempt });
    ProviderReport { attempt_ref, ..report(provider_ref, state) }
}
