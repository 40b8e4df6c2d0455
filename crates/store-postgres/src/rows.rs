//! Rows to the model and back. Batches travel as one array a column.

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
use serde_json::json;
use sqlx::postgres::{PgArguments, PgBindIterExt, PgHasArrayType, PgRow};
use sqlx::{AssertSqlSafe, Encode, Postgres, Row, SqlSafeStr as _, SqlStr, Type, ValueRef};
use uuid::Uuid;

use crate::clock::Time;
use crate::error::damaged;

type Read<T> = Result<T, sqlx::Error>;

pub(crate) type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

/// The columns of `clients` as c and `client_heads` as h, or with other prefixes.
macro_rules! client_columns {
    () => {
        client_columns!("c.", "h.")
    };
    ($c:literal, $h:literal) => {
        concat!(
            $c,
            "id, ",
            $c,
            "name, ",
            $c,
            "state, ",
            $c,
            "suspend_reason, ",
            $c,
            "currency, ",
            $c,
            "is_sandbox, ",
            $c,
            "capture_on, ",
            $c,
            "settle_unreported, ",
            $c,
            "report_timeout, ",
            $c,
            "on_unknown, ",
            $c,
            "resend_after, ",
            $c,
            "parts_per_second, ",
            $c,
            "burst_parts, ",
            $c,
            "default_sender, ",
            $c,
            "max_parts, ",
            $c,
            "low_balance, ",
            $c,
            "created_at, ",
            $c,
            "revision, ",
            $h,
            "available, ",
            $h,
            "held, ",
            $h,
            "last_seq, ",
            $h,
            "oldest_seq"
        )
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

/// Binds a batch to a statement, column by column, each as the next array.
pub(crate) struct Columns<'a, T> {
    query: Query,
    rows: &'a [T],
}

impl<'a, T> Columns<'a, T> {
    pub(crate) fn of(query: Query, rows: &'a [T]) -> Self {
        Self { query, rows }
    }

    pub(crate) fn column<U>(self, value: impl Fn(&'a T) -> U) -> Self
    where
        U: Encode<'a, Postgres> + Type<Postgres> + PgHasArrayType,
    {
        Self { query: self.query.bind(self.rows.iter().map(value).bind_iter()), rows: self.rows }
    }

    /// Two columns: client and message.
    pub(crate) fn key(self, key: impl Fn(&'a T) -> &'a MessageKey) -> Self {
        self.column(|row| key(row).client.as_uuid()).column(|row| key(row).id.as_uuid())
    }

    /// Three columns: reason, detail and code, or nulls.
    pub(crate) fn failure(self, failure: impl Fn(&'a T) -> Option<&'a Failure>) -> Self {
        self.column(|row| failure(row).map(|failure| failure.reason.as_str()))
            .column(|row| failure(row).map(|failure| failure.detail.as_str()))
            .column(|row| failure(row).map(|failure| failure.provider_code.as_str()))
    }

    /// The columns of `messages`, in the order of the table.
    pub(crate) fn record(self, record: impl Fn(&'a T) -> &'a MessageRecord) -> Self {
        self.key(|row| &record(row).key)
            .column(|row| record(row).to.as_str())
            .column(|row| record(row).sender.as_str())
            .column(|row| match &record(row).content {
                Content::Text(text) => Some(text.as_str()),
                Content::Binary(_) => None,
            })
            .column(|row| match &record(row).content {
                Content::Text(_) => None,
                Content::Binary(data) => Some(data.as_slice()),
            })
            .column(|row| record(row).encoding.as_str())
            .column(|row| i16::from(record(row).reference_bits.bits()))
            .column(|row| small(record(row).part_count))
            .column(|row| record(row).price_micros)
            .column(|row| record(row).currency.as_str())
            .column(|row| record(row).reference.as_str())
            .column(|row| json!(record(row).metadata).to_string())
            .column(|row| record(row).on_unknown.as_str())
            .column(|row| record(row).shifts.to_string())
            .column(|row| record(row).is_transliterated)
            .column(|row| record(row).priority.as_str())
            .column(|row| record(row).is_flash)
            .column(|row| record(row).class.as_str())
            .column(|row| record(row).replay_of.map(|id| *id.as_uuid()))
            .column(|row| record(row).scheduled_at.map(Time))
            .column(|row| Time(record(row).created_at))
            .column(|row| Time(record(row).expire_at))
    }

    /// The columns of `message_states` after its key, in the order of the table.
    pub(crate) fn state(self, state: impl Fn(&'a T) -> &'a MessageState) -> Self {
        self.column(|row| state(row).status.as_str())
            .column(|row| Time(state(row).status_at))
            .column(|row| state(row).fence)
            .column(|row| state(row).attempt)
            .column(|row| state(row).due_at.map(Time))
            .column(|row| state(row).lease_until.map(Time))
            .column(|row| state(row).timer_at.map(Time))
            .column(|row| state(row).provider.as_str())
            .column(|row| json!(state(row).provider_refs).to_string())
            .failure(|row| state(row).failure.as_ref())
            .column(|row| state(row).parts.to_string())
            .column(|row| state(row).has_open_earlier_attempt)
            .column(|row| state(row).last_event_seq)
    }

    pub(crate) fn bound(self) -> Query {
        self.query
    }
}

impl<'a> Columns<'a, Event> {
    /// The columns of `events`, in the order of the table.
    pub(crate) fn event(self) -> Self {
        self.column(|event| event.client.as_uuid())
            .column(|event| event.seq)
            .column(|event| event.kind.as_str())
            .column(|event| Time(event.at))
            .column(|event| event.message().map(|id| *id.as_uuid()))
            .column(|event| event.previous_seq)
            .report(|report| report.status.as_str())
            .column(|event| report(event).and_then(|report| report.previous).map(|status| status.as_str()))
            .report(|report| report.to.as_str())
            .report(|report| report.reference.as_str())
            .report(|report| small(report.part))
            .report(|report| report.attempt)
            .report(|report| report.provider.as_str())
            .report(|report| report.provider_ref.as_str())
            .failure(|event| report(event).and_then(|report| report.failure.as_ref()))
            .column(|event| report(event).and_then(|report| report.next_attempt_at).map(Time))
            .report(|report| report.ignored)
            .column(|event| event.transaction.as_ref().map(|transaction| transaction.kind.as_str()))
            .column(|event| event.transaction.as_ref().map_or(0, |transaction| transaction.available_delta))
            .column(|event| event.transaction.as_ref().map_or(0, |transaction| transaction.held_delta))
            .column(|event| event.transaction.as_ref().map(|transaction| transaction.note.as_str()))
            .column(|event| event.available_after)
            .column(|event| event.held_after)
    }

    /// A column of the delivery report; null in an event without one.
    fn report<U>(self, value: impl Fn(&'a DeliveryReport) -> U) -> Self
    where
        U: Encode<'a, Postgres> + Type<Postgres> + PgHasArrayType + 'a,
    {
        self.column(|event| report(event).map(&value))
    }
}

fn report(event: &Event) -> Option<&DeliveryReport> {
    event.report.as_ref()
}

/// For SMALLINT columns whose CHECK allows 255 at most; what does not fit is refused there.
pub(crate) fn small(number: u16) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}

pub(crate) fn word<T: std::str::FromStr<Err = UnknownWord>>(row: &PgRow, column: &str) -> Read<T> {
    row.try_get::<&str, _>(column)?.parse().map_err(damaged)
}

fn opt_word<T: std::str::FromStr<Err = UnknownWord>>(row: &PgRow, column: &str) -> Read<Option<T>> {
    row.try_get::<Option<&str>, _>(column)?.map(|word| word.parse().map_err(damaged)).transpose()
}

pub(crate) fn time(row: &PgRow, column: &str) -> Read<Timestamp> {
    row.try_get(column).map(|Time(at)| at)
}

pub(crate) fn opt_time(row: &PgRow, column: &str) -> Read<Option<Timestamp>> {
    Ok(row.try_get::<Option<Time>, _>(column)?.map(|Time(at)| at))
}

fn span(row: &PgRow, column: &str) -> Read<Duration> {
    let micros: i64 = row.try_get(column)?;
    Ok(Duration::from_micros(u64::try_from(micros).map_err(damaged)?))
}

pub(crate) fn client_id(row: &PgRow, column: &str) -> Read<ClientId> {
    row.try_get(column).map(ClientId::from_uuid)
}

pub(crate) fn message_id(row: &PgRow, column: &str) -> Read<MessageId> {
    row.try_get(column).map(MessageId::from_uuid)
}

pub(crate) fn opt_client_id(row: &PgRow, column: &str) -> Read<Option<ClientId>> {
    Ok(row.try_get::<Option<Uuid>, _>(column)?.map(ClientId::from_uuid))
}

pub(crate) fn opt_message_id(row: &PgRow, column: &str) -> Read<Option<MessageId>> {
    Ok(row.try_get::<Option<Uuid>, _>(column)?.map(MessageId::from_uuid))
}

/// A message's key from `client_id` and `id`.
pub(crate) fn key(row: &PgRow) -> Read<MessageKey> {
    Ok(MessageKey { client: client_id(row, "client_id")?, id: message_id(row, "id")? })
}

fn phone(row: &PgRow, column: &str) -> Read<PhoneNumber> {
    PhoneNumber::from_trusted(row.try_get(column)?).map_err(damaged)
}

/// A number of parts, or of one part.
pub(crate) fn part(row: &PgRow, column: &str) -> Read<u16> {
    u16::try_from(row.try_get::<i16, _>(column)?).map_err(damaged)
}

pub(crate) fn failure(row: &PgRow) -> Read<Option<Failure>> {
    let Some(reason) = opt_word(row, "failure_reason")? else { return Ok(None) };
    let detail = row.try_get::<Option<String>, _>("failure_detail")?.unwrap_or_default();
    let provider_code = row.try_get::<Option<String>, _>("failure_code")?.unwrap_or_default();
    Ok(Some(Failure { reason, detail, provider_code }))
}

pub(crate) fn client(row: &PgRow) -> Read<Client> {
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

pub(crate) fn head(row: &PgRow) -> Read<Head> {
    let balance = Balance::new(row.try_get("available")?, row.try_get("held")?);
    let balance = balance.ok_or_else(|| sqlx::Error::Decode("a stored balance is negative".into()))?;
    Ok(Head { balance, last_seq: row.try_get("last_seq")?, oldest_seq: row.try_get("oldest_seq")? })
}

pub(crate) fn record(row: &PgRow) -> Read<MessageRecord> {
    let content = match row.try_get::<Option<String>, _>("body_text")? {
        Some(text) => Content::Text(MessageText::from(text)),
        None => Content::Binary(row.try_get("body_data")?),
    };
    let reference_bits = match row.try_get::<i16, _>("reference_bits")? {
        8 => ReferenceBits::Eight,
        _ => ReferenceBits::Sixteen,
    };
    Ok(MessageRecord {
        key: key(row)?,
        to: phone(row, "recipient")?,
        sender: row.try_get("sender")?,
        content,
        encoding: word(row, "encoding")?,
        shifts: word(row, "shifts")?,
        is_transliterated: row.try_get("is_transliterated")?,
        reference_bits,
        part_count: part(row, "part_count")?,
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

pub(crate) fn state(row: &PgRow) -> Read<MessageState> {
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

pub(crate) fn message(row: &PgRow) -> Read<Message> {
    Ok(Message { record: record(row)?, state: state(row)? })
}

pub(crate) fn open_message(row: &PgRow) -> Read<OpenMessage> {
    Ok(OpenMessage {
        key: key(row)?,
        to: phone(row, "recipient")?,
        reference: row.try_get("reference")?,
        part_count: part(row, "part_count")?,
        price_micros: row.try_get("price_micros")?,
        on_unknown: word(row, "on_unknown")?,
        priority: word(row, "priority")?,
        expire_at: time(row, "expire_at")?,
        state: state(row)?,
    })
}

pub(crate) fn fingerprint(row: &PgRow, column: &str) -> Read<Fingerprint> {
    let fingerprint = Fingerprint::from_slice(row.try_get(column)?);
    fingerprint.ok_or_else(|| sqlx::Error::Decode("a fingerprint has not 32 bytes".into()))
}

pub(crate) fn remembered(row: &PgRow) -> Read<RememberedCall> {
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

pub(crate) fn event(row: &PgRow) -> Read<Event> {
    let message = opt_message_id(row, "message_id")?;
    let report = match (opt_word(row, "status")?, message) {
        (Some(status), Some(message)) => Some(DeliveryReport {
            message,
            reference: row.try_get("reference")?,
            to: phone(row, "recipient")?,
            status,
            previous: opt_word(row, "previous_status")?,
            part: part(row, "part")?,
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

/// A page of a filtered list. Every row tells how far it was scanned; in an empty page that is the only row, and it has
/// no `id`.
pub(crate) fn scanned<T, C>(
    rows: &[PgRow],
    scanned_to: impl Fn(&PgRow) -> Read<Option<C>>,
    item: impl Fn(&PgRow) -> Read<T>,
) -> Read<Scanned<T, C>> {
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        if !row.try_get_raw("id")?.is_null() {
            items.push(item(row)?);
        }
    }
    let scanned_to = rows.first().map(scanned_to).transpose()?.flatten();
    Ok(Scanned { items, scanned_to })
}

/// The statement with a bug in it.
pub(crate) fn changed(sql: &str, from: &str, to: &str) -> SqlStr {
    AssertSqlSafe(sql.replace(from, to)).into_sql_str()
}
