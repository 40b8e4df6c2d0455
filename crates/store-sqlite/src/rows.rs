//! Rows to the model and back. Batches travel as one JSON array; ids in it are hex.

use std::time::Duration;

use delivery::model::{
    Client, Head, IdempotencyKey, Made, Message, MessageKey, MessageRecord, MessageState, OpenMessage,
    RememberedCall,
};
use delivery::port::Scanned;
use ledger::{Balance, Policy};
use message::event::{DeliveryReport, Event, Transaction};
use message::failure::Failure;
use message::fingerprint::Fingerprint;
use message::id::{ClientId, MessageId};
use message::parts::{Content, MessageText, ReferenceBits};
use message::status::UnknownWord;
use message::{PhoneNumber, Timestamp};
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::error::damaged;

type Read<T> = Result<T, sqlx::Error>;

/// The columns of `clients` as c and `client_heads` as h.
macro_rules! client_columns {
    () => {
        "c.id, c.name, c.state, c.suspend_reason, c.currency, c.is_sandbox, c.capture_on, c.settle_unreported, \
         c.report_timeout, c.on_unknown, c.resend_after, c.parts_per_second, c.burst_parts, c.default_sender, \
         c.max_parts, c.low_balance, c.created_at, c.revision, h.available, h.held, h.last_seq, h.oldest_seq"
    };
}

/// The columns of `messages` as r.
macro_rules! record_columns {
    () => {
        "r.client_id, r.id, r.recipient, r.sender, r.body_text, r.body_data, r.encoding, r.reference_bits, \
         r.part_count, r.price_micros, r.currency, r.reference, r.metadata, r.on_unknown, r.shifts, \
         r.is_transliterated, r.priority, r.is_flash, r.class, r.replay_of, r.scheduled_at, r.created_at, r.expire_at"
    };
}

/// The columns of `message_states` as m and `credit_locks` as l.
macro_rules! state_columns {
    () => {
        "m.status, m.status_at, m.fence, m.attempt, m.due_at, m.lease_until, m.timer_at, m.provider, \
         m.provider_refs, m.failure_reason, m.failure_detail, m.failure_code, m.part_states, m.has_open_earlier, \
         m.last_event_seq, l.state AS lock_state"
    };
}

/// The columns of `events` as e.
macro_rules! event_columns {
    () => {
        "e.client_id, e.seq, e.kind, e.at, e.message_id, e.previous_seq, e.status, e.previous_status, e.recipient, \
         e.reference, e.part, e.attempt, e.provider, e.provider_ref, e.failure_reason, e.failure_detail, \
         e.failure_code, e.next_attempt_at, e.ignored, e.transaction_kind, e.available_delta, e.held_delta, e.note, \
         e.available_after, e.held_after"
    };
}

pub(crate) use {client_columns, event_columns, record_columns, state_columns};

pub(crate) fn hex(id: &Uuid) -> String {
    id.as_simple().to_string()
}

pub(crate) fn key_json(key: &MessageKey) -> Value {
    json!([hex(key.client.as_uuid()), hex(key.id.as_uuid())])
}

/// A batch as the one parameter of its statement.
///
/// Statements read rows of several values through `WITH k AS MATERIALIZED`: `json_each` renders its `value` anew
/// wherever it is named, and each `->>` would parse that again; a stored one is rendered and parsed once.
pub(crate) fn batch(rows: impl Iterator<Item = Value>) -> String {
    Value::Array(rows.collect()).to_string()
}

pub(crate) fn word<T: std::str::FromStr<Err = UnknownWord>>(row: &SqliteRow, column: &str) -> Read<T> {
    row.try_get::<&str, _>(column)?.parse().map_err(damaged)
}

fn opt_word<T: std::str::FromStr<Err = UnknownWord>>(row: &SqliteRow, column: &str) -> Read<Option<T>> {
    row.try_get::<Option<&str>, _>(column)?.map(|word| word.parse().map_err(damaged)).transpose()
}

pub(crate) fn time(row: &SqliteRow, column: &str) -> Read<Timestamp> {
    row.try_get(column).map(Timestamp::from_micros)
}

pub(crate) fn opt_time(row: &SqliteRow, column: &str) -> Read<Option<Timestamp>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_micros))
}

fn span(row: &SqliteRow, column: &str) -> Read<Duration> {
    let micros: i64 = row.try_get(column)?;
    Ok(Duration::from_micros(u64::try_from(micros).map_err(damaged)?))
}

/// A page of a list. `last` is the last row that the scan allowed to look at; `None` = the list ended before it.
///
/// It is read by a statement before that of the items, so that neither sorts and the items stop at a full page. They
/// need no snapshot: no row moves in its list, so all from the cursor to `last` were looked at.
pub(crate) fn scanned<T, C>(items: Vec<T>, limit: i64, last: Option<C>) -> Scanned<T, C> {
    let is_full = i64::try_from(items.len()).is_ok_and(|count| count >= limit);
    Scanned { items, scanned_to: last.filter(|_| !is_full) }
}

pub(crate) fn client_id(row: &SqliteRow, column: &str) -> Read<ClientId> {
    row.try_get(column).map(ClientId::from_uuid)
}

pub(crate) fn message_id(row: &SqliteRow, column: &str) -> Read<MessageId> {
    row.try_get(column).map(MessageId::from_uuid)
}

pub(crate) fn opt_client_id(row: &SqliteRow, column: &str) -> Read<Option<ClientId>> {
    Ok(row.try_get::<Option<Uuid>, _>(column)?.map(ClientId::from_uuid))
}

pub(crate) fn opt_message_id(row: &SqliteRow, column: &str) -> Read<Option<MessageId>> {
    Ok(row.try_get::<Option<Uuid>, _>(column)?.map(MessageId::from_uuid))
}

fn phone(row: &SqliteRow, column: &str) -> Read<PhoneNumber> {
    PhoneNumber::from_trusted(row.try_get(column)?).map_err(damaged)
}

pub(crate) fn failure(row: &SqliteRow) -> Read<Option<Failure>> {
    let Some(reason) = opt_word(row, "failure_reason")? else { return Ok(None) };
    let detail = row.try_get::<Option<String>, _>("failure_detail")?.unwrap_or_default();
    let provider_code = row.try_get::<Option<String>, _>("failure_code")?.unwrap_or_default();
    Ok(Some(Failure { reason, detail, provider_code }))
}

/// Reason, detail and code, or three nulls.
pub(crate) fn failure_json(failure: Option<&Failure>) -> [Value; 3] {
    match failure {
        None => [Value::Null, Value::Null, Value::Null],
        Some(failure) => {
            [json!(failure.reason.as_str()), json!(failure.detail), json!(failure.provider_code)]
        }
    }
}

pub(crate) fn opt_micros(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_micros)
}

pub(crate) fn client(row: &SqliteRow) -> Read<Client> {
    Ok(Client {
        id: client_id(row, "id")?,
        name: row.try_get("name")?,
        state: word(row, "state")?,
        suspend_reason: row.try_get("suspend_reason")?,
        currency: row.try_get("currency")?,
        is_sandbox: row.try_get("is_sandbox")?,
        policy: Policy {
            capture_on: word(row, "capture_on")?,
            settle_unreported: word(row, "settle_unreported")?,
        },
        report_timeout: span(row, "report_timeout")?,
        on_unknown: word(row, "on_unknown")?,
        resend_after: span(row, "resend_after")?,
        parts_per_second: row.try_get("parts_per_second")?,
        burst_parts: row.try_get("burst_parts")?,
        default_sender: row.try_get("default_sender")?,
        max_parts: row.try_get("max_parts")?,
        low_balance_micros: row.try_get("low_balance")?,
        created_at: time(row, "created_at")?,
        revision: row.try_get("revision")?,
    })
}

pub(crate) fn head(row: &SqliteRow) -> Read<Head> {
    let balance = Balance::new(row.try_get("available")?, row.try_get("held")?);
    let balance = balance.ok_or_else(|| sqlx::Error::Decode("a stored balance is negative".into()))?;
    Ok(Head { balance, last_seq: row.try_get("last_seq")?, oldest_seq: row.try_get("oldest_seq")? })
}

fn part_count(row: &SqliteRow) -> Read<u16> {
    u16::try_from(row.try_get::<i64, _>("part_count")?).map_err(damaged)
}

pub(crate) fn record(row: &SqliteRow) -> Read<MessageRecord> {
    let content = match row.try_get::<Option<String>, _>("body_text")? {
        Some(text) => Content::Text(MessageText::from(text)),
        None => Content::Binary(row.try_get("body_data")?),
    };
    let reference_bits = match row.try_get::<i64, _>("reference_bits")? {
        8 => ReferenceBits::Eight,
        _ => ReferenceBits::Sixteen,
    };
    Ok(MessageRecord {
        key: MessageKey { client: client_id(row, "client_id")?, id: message_id(row, "id")? },
        to: phone(row, "recipient")?,
        sender: row.try_get("sender")?,
        content,
        encoding: word(row, "encoding")?,
        shifts: word(row, "shifts")?,
        is_transliterated: row.try_get("is_transliterated")?,
        reference_bits,
        part_count: part_count(row)?,
        price_micros: row.try_get("price_micros")?,
        currency: row.try_get("currency")?,
        reference: row.try_get("reference")?,
        metadata: serde_json::from_str(row.try_get("metadata")?).map_err(damaged)?,
        on_unknown: word(row, "on_unknown")?,
        priority: word(row, "priority")?,
        is_flash: row.try_get("is_flash")?,
        class: word(row, "class")?,
        replay_of: opt_message_id(row, "replay_of")?,
        created_at: time(row, "created_at")?,
        scheduled_at: opt_time(row, "scheduled_at")?,
        expire_at: time(row, "expire_at")?,
    })
}

pub(crate) fn record_json(record: &MessageRecord) -> Value {
    let (text, data) = match &record.content {
        Content::Text(text) => (Some(text.as_str()), None),
        Content::Binary(data) => {
            (None, Some(data.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
        }
    };
    json!([
        hex(record.key.client.as_uuid()),
        hex(record.key.id.as_uuid()),
        record.to.as_str(),
        record.sender,
        text,
        data,
        record.encoding.as_str(),
        record.reference_bits.bits(),
        record.part_count,
        record.price_micros,
        record.currency,
        record.reference,
        json!(record.metadata).to_string(),
        record.on_unknown.as_str(),
        record.shifts.to_string(),
        i64::from(record.is_transliterated),
        record.priority.as_str(),
        i64::from(record.is_flash),
        record.class.as_str(),
        record.replay_of.map(|id| hex(id.as_uuid())),
        opt_micros(record.scheduled_at),
        record.created_at.as_micros(),
        record.expire_at.as_micros(),
    ])
}

pub(crate) fn state(row: &SqliteRow) -> Read<MessageState> {
    Ok(MessageState {
        status: word(row, "status")?,
        status_at: time(row, "status_at")?,
        lock: word(row, "lock_state")?,
        fence: row.try_get("fence")?,
        attempt: row.try_get("attempt")?,
        due_at: opt_time(row, "due_at")?,
        lease_until: opt_time(row, "lease_until")?,
        timer_at: opt_time(row, "timer_at")?,
        provider: row.try_get("provider")?,
        provider_refs: serde_json::from_str(row.try_get("provider_refs")?).map_err(damaged)?,
        failure: failure(row)?,
        parts: word(row, "part_states")?,
        has_open_earlier_attempt: row.try_get("has_open_earlier")?,
        last_event_seq: row.try_get("last_event_seq")?,
    })
}

pub(crate) fn state_json(key: &MessageKey, state: &MessageState, fence_before: i64) -> Value {
    let [reason, detail, code] = failure_json(state.failure.as_ref());
    json!([
        hex(key.client.as_uuid()),
        hex(key.id.as_uuid()),
        state.status.as_str(),
        state.status_at.as_micros(),
        state.fence,
        state.attempt,
        opt_micros(state.due_at),
        opt_micros(state.lease_until),
        opt_micros(state.timer_at),
        state.provider,
        json!(state.provider_refs).to_string(),
        reason,
        detail,
        code,
        state.parts.to_string(),
        i64::from(state.has_open_earlier_attempt),
        state.last_event_seq,
        fence_before,
    ])
}

pub(crate) fn message(row: &SqliteRow) -> Read<Message> {
    Ok(Message { record: record(row)?, state: state(row)? })
}

pub(crate) fn open_message(row: &SqliteRow) -> Read<OpenMessage> {
    Ok(OpenMessage {
        key: MessageKey { client: client_id(row, "client_id")?, id: message_id(row, "id")? },
        to: phone(row, "recipient")?,
        reference: row.try_get("reference")?,
        part_count: part_count(row)?,
        price_micros: row.try_get("price_micros")?,
        on_unknown: word(row, "on_unknown")?,
        priority: word(row, "priority")?,
        expire_at: time(row, "expire_at")?,
        state: state(row)?,
    })
}

pub(crate) fn remembered(row: &SqliteRow) -> Read<RememberedCall> {
    let made = match opt_message_id(row, "message_id")? {
        Some(id) => Made::Message(id),
        None => Made::Event(row.try_get("event_seq")?),
    };
    Ok(RememberedCall {
        key: IdempotencyKey {
            client: client_id(row, "client_id")?,
            kind: word(row, "kind")?,
            key: row.try_get("key")?,
        },
        fingerprint: fingerprint(row, "fingerprint")?,
        made,
        created_at: time(row, "created_at")?,
    })
}

pub(crate) fn fingerprint(row: &SqliteRow, column: &str) -> Read<Fingerprint> {
    let fingerprint = Fingerprint::from_slice(row.try_get(column)?);
    fingerprint.ok_or_else(|| sqlx::Error::Decode("a fingerprint has not 32 bytes".into()))
}

pub(crate) fn event(row: &SqliteRow) -> Read<Event> {
    let message = opt_message_id(row, "message_id")?;
    let report = match (opt_word(row, "status")?, message) {
        (Some(status), Some(message)) => Some(DeliveryReport {
            message,
            reference: row.try_get("reference")?,
            to: phone(row, "recipient")?,
            status,
            previous: opt_word(row, "previous_status")?,
            part: u16::try_from(row.try_get::<i64, _>("part")?).map_err(damaged)?,
            attempt: row.try_get("attempt")?,
            provider: row.try_get("provider")?,
            provider_ref: row.try_get("provider_ref")?,
            failure: failure(row)?,
            next_attempt_at: opt_time(row, "next_attempt_at")?,
            ignored: row.try_get("ignored")?,
        }),
        _ => None,
    };
    let transaction = match opt_word(row, "transaction_kind")? {
        Some(kind) => Some(Transaction {
            kind,
            message,
            available_delta: row.try_get("available_delta")?,
            held_delta: row.try_get("held_delta")?,
            note: row.try_get::<Option<String>, _>("note")?.unwrap_or_default(),
        }),
        None => None,
    };
    Ok(Event {
        client: client_id(row, "client_id")?,
        seq: row.try_get("seq")?,
        kind: word(row, "kind")?,
        at: time(row, "at")?,
        previous_seq: row.try_get("previous_seq")?,
        report,
        transaction,
        available_after: row.try_get("available_after")?,
        held_after: row.try_get("held_after")?,
    })
}

pub(crate) fn event_json(event: &Event) -> Value {
    let report = event.report.as_ref();
    let transaction = event.transaction.as_ref();
    let [reason, detail, code] = failure_json(report.and_then(|report| report.failure.as_ref()));
    json!([
        hex(event.client.as_uuid()),
        event.seq,
        event.kind.as_str(),
        event.at.as_micros(),
        event.message().map(|id| hex(id.as_uuid())),
        event.previous_seq,
        report.map(|report| report.status.as_str()),
        report.and_then(|report| report.previous).map(|status| status.as_str()),
        report.map(|report| report.to.as_str()),
        report.map(|report| &report.reference),
        report.map(|report| report.part),
        report.map(|report| report.attempt),
        report.map(|report| &report.provider),
        report.map(|report| &report.provider_ref),
        reason,
        detail,
        code,
        report.and_then(|report| opt_micros(report.next_attempt_at)),
        report.map(|report| i64::from(report.ignored)),
        transaction.map(|transaction| transaction.kind.as_str()),
        transaction.map_or(0, |transaction| transaction.available_delta),
        transaction.map_or(0, |transaction| transaction.held_delta),
        transaction.map(|transaction| &transaction.note),
        event.available_after,
        event.held_after,
    ])
}
