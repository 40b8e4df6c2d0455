//! Transactions: one load, one write, one commit. The number of statements does not depend on the batch.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use delivery::model::{Message, MessageKey};
use delivery::plan::{Loaded, Plan, Wanted, Written};
use delivery::port::{StoreError, Transaction};
use delivery::timing::KEY_LIFETIME;
use message::Timestamp;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::error::store_error;
use crate::rows::{self, batch, client_columns, hex, key_json, opt_micros, state_columns};
use crate::{SqliteStore, Write, letters, trail};

pub(crate) struct SqliteTransaction {
    store: SqliteStore,
    write: Write,
    /// Set by the load.
    now: Timestamp,
}

impl SqliteStore {
    pub(crate) async fn begin_transaction(&self) -> Result<SqliteTransaction, StoreError> {
        let write = self.begin_write().await?;
        Ok(SqliteTransaction { store: self.clone(), write, now: Timestamp::default() })
    }
}

#[async_trait]
impl Transaction for SqliteTransaction {
    async fn load(&mut self, wanted: &Wanted) -> Result<Loaded, StoreError> {
        // `BEGIN IMMEDIATE` holds the only write lock there is: whatever is read here stays.
        let connection = self.write.connection();
        self.now = self.store.shared.ticker.now(connection).await.map_err(store_error)?;
        load(connection, wanted, self.now).await.map_err(store_error)
    }

    async fn write(&mut self, plan: &Plan) -> Result<Written, StoreError> {
        write(self.write.connection(), plan, self.now).await
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.write.commit().await
    }
}

async fn load(
    connection: &mut SqliteConnection,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Loaded, sqlx::Error> {
    let mut loaded = Loaded {
        now,
        clients: BTreeMap::new(),
        messages: BTreeMap::new(),
        keys: HashMap::new(),
        pending_reports: Default::default(),
        dead_letters: BTreeMap::new(),
    };
    if !wanted.clients.is_empty() {
        let sql = concat!(
            "-- load clients\nSELECT ",
            client_columns!(),
            " FROM json_each(?1) AS k JOIN clients AS c ON c.id = unhex(k.value)
              JOIN client_heads AS h ON h.client_id = c.id"
        );
        let ids = batch(wanted.clients.iter().map(|id| json!(hex(id.as_uuid()))));
        for row in fetch(connection, sql, ids).await? {
            let client = rows::client(&row)?;
            loaded.clients.insert(client.id, (client, rows::head(&row)?));
        }
    }
    if !wanted.messages.is_empty() {
        let sql = concat!(
            "-- load messages\nSELECT r.client_id, r.id, r.recipient, r.reference, r.part_count, r.price_micros, \
             r.on_unknown, r.priority, r.expire_at, ",
            state_columns!(),
            " FROM json_each(?1) AS k
              JOIN messages AS r ON r.client_id = unhex(k.value ->> 0) AND r.id = unhex(k.value ->> 1)
              JOIN message_states AS m ON m.client_id = r.client_id AND m.id = r.id
              JOIN credit_locks AS l ON l.client_id = r.client_id AND l.message_id = r.id"
        );
        let keys = batch(wanted.messages.iter().map(key_json));
        for row in fetch(connection, sql, keys).await? {
            let message = rows::open_message(&row)?;
            loaded.messages.insert(message.key, message);
        }
    }
    if !wanted.keys.is_empty() {
        let sql = "-- load keys
            WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
            SELECT i.client_id, i.kind, i.key, i.fingerprint, i.message_id, i.event_seq, i.created_at
            FROM k JOIN idempotency_keys AS i
              ON i.client_id = unhex(k.value ->> 0) AND i.kind = k.value ->> 1 AND i.key = k.value ->> 2
            WHERE i.created_at > ?2";
        let keys =
            wanted.keys.iter().map(|key| json!([hex(key.client.as_uuid()), key.kind.as_str(), key.key]));
        let living_since = (loaded.now - KEY_LIFETIME).as_micros();
        let query = sqlx::query(sql).bind(batch(keys)).bind(living_since);
        for row in query.fetch_all(&mut *connection).await? {
            let call = rows::remembered(&row)?;
            loaded.keys.insert(call.key.clone(), call);
        }
    }
    if !wanted.reports.is_empty() {
        let sql = "-- load pending reports
            SELECT p.id FROM json_each(?1) AS k JOIN provider_reports AS p ON p.id = k.value WHERE p.is_done = 0";
        for row in fetch(connection, sql, batch(wanted.reports.iter().map(|id| json!(id)))).await? {
            loaded.pending_reports.insert(row.try_get("id")?);
        }
    }
    if !wanted.dead_letters.is_empty() {
        loaded.dead_letters = letters::read_replays(connection, &wanted.dead_letters).await?;
    }
    Ok(loaded)
}

pub(crate) async fn fetch(
    connection: &mut SqliteConnection,
    sql: &'static str,
    parameter: String,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    sqlx::query(sql).bind(parameter).fetch_all(connection).await
}

/// Runs a statement over a batch. Answers how many rows it touched; an empty batch touches none.
pub(crate) async fn apply(
    connection: &mut SqliteConnection,
    sql: &'static str,
    rows: Vec<Value>,
) -> Result<u64, StoreError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query(sql).bind(batch(rows.into_iter())).execute(connection).await;
    done.map(|done| done.rows_affected()).map_err(store_error)
}

/// Like [`apply`]; a row that was not touched has changed under the plan.
pub(crate) async fn apply_all(
    connection: &mut SqliteConnection,
    sql: &'static str,
    rows: Vec<Value>,
) -> Result<(), StoreError> {
    let expected = rows.len() as u64;
    if apply(connection, sql, rows).await? == expected { Ok(()) } else { Err(StoreError::Conflict) }
}

async fn write(
    connection: &mut SqliteConnection,
    plan: &Plan,
    now: Timestamp,
) -> Result<Written, StoreError> {
    write_heads(connection, plan).await?;
    insert_messages(connection, &plan.messages).await?;
    write_keys(connection, plan).await?;
    change_states(connection, plan).await?;
    let sql = "-- insert events
        WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
        INSERT INTO events (client_id, seq, kind, at, message_id, previous_seq, status, previous_status, recipient,
            reference, part, attempt, provider, provider_ref, failure_reason, failure_detail, failure_code,
            next_attempt_at, ignored, transaction_kind, available_delta, held_delta, note, available_after, held_after)
        SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, unhex(value ->> 4), value ->> 5, value ->> 6,
            value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14,
            value ->> 15, value ->> 16, value ->> 17, value ->> 18, value ->> 19, value ->> 20, value ->> 21,
            value ->> 22, value ->> 23, value ->> 24
        FROM k";
    apply(connection, sql, plan.events.iter().map(rows::event_json).collect()).await?;
    let written = bind_refs(connection, plan, now).await?;
    let sql = "-- finish reports
        UPDATE provider_reports SET is_done = 1 WHERE id IN (SELECT value FROM json_each(?1))";
    apply(connection, sql, plan.done_reports.iter().map(|id| json!(id)).collect()).await?;
    letters::insert(connection, &plan.dead_letters).await?;
    letters::mark_replays(connection, &plan.replays).await?;
    trail::insert(connection, &plan.audit_entries).await?;
    Ok(written)
}

async fn write_heads(connection: &mut SqliteConnection, plan: &Plan) -> Result<(), StoreError> {
    let sql = "-- move heads
        WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
        UPDATE client_heads AS h
        SET available = k.value ->> 1, held = k.value ->> 2, last_seq = k.value ->> 3, oldest_seq = k.value ->> 4
        FROM k WHERE h.client_id = unhex(k.value ->> 0)";
    let heads = plan.heads.iter().map(|(client, head)| {
        let balance = head.balance;
        json!([hex(client.as_uuid()), balance.available(), balance.held(), head.last_seq, head.oldest_seq])
    });
    apply_all(connection, sql, heads.collect()).await
}

async fn insert_messages(connection: &mut SqliteConnection, messages: &[Message]) -> Result<(), StoreError> {
    let sql = "-- insert messages
        WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
        INSERT INTO messages (client_id, id, recipient, sender, body_text, body_data, encoding, reference_bits,
            part_count, price_micros, currency, reference, metadata, on_unknown, shifts, is_transliterated, priority,
            is_flash, class, replay_of, scheduled_at, created_at, expire_at)
        SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, unhex(value ->> 5),
            value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13,
            value ->> 14, value ->> 15, value ->> 16, value ->> 17, value ->> 18, unhex(value ->> 19), value ->> 20,
            value ->> 21, value ->> 22
        FROM k";
    apply(connection, sql, messages.iter().map(|message| rows::record_json(&message.record)).collect())
        .await?;
    let sql = "-- insert states
        WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
        INSERT INTO message_states (client_id, id, status, status_at, fence, attempt, due_at, lease_until, timer_at,
            provider, provider_refs, failure_reason, failure_detail, failure_code, part_states, has_open_earlier,
            last_event_seq)
        SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
            value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14,
            value ->> 15, value ->> 16
        FROM k";
    let states = messages.iter().map(|message| rows::state_json(&message.record.key, &message.state, 0));
    apply(connection, sql, states.collect()).await?;
    let sql = "-- insert locks
        WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
        INSERT INTO credit_locks (client_id, message_id, amount_micros, state)
        SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, 'HELD' FROM k";
    let locks = messages.iter().map(|message| {
        let key = message.record.key;
        json!([hex(key.client.as_uuid()), hex(key.id.as_uuid()), message.record.price_micros])
    });
    apply(connection, sql, locks.collect()).await?;
    let timers =
        messages.iter().filter_map(|message| timer_json(&message.record.key, message.state.timer_at));
    insert_timers(connection, timers.collect()).await
}

fn timer_json(key: &MessageKey, at: Option<Timestamp>) -> Option<Value> {
    opt_micros(at).map(|at| json!([at, hex(key.client.as_uuid()), hex(key.id.as_uuid())]))
}

async fn insert_timers(connection: &mut SqliteConnection, timers: Vec<Value>) -> Result<(), StoreError> {
    let sql = "-- insert timers
        WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
        INSERT INTO timers (wake_at, client_id, message_id)
        SELECT value ->> 0, unhex(value ->> 1), unhex(value ->> 2) FROM k";
    apply(connection, sql, timers).await.map(drop)
}

async fn write_keys(connection: &mut SqliteConnection, plan: &Plan) -> Result<(), StoreError> {
    let sql = "-- remember keys
        WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
        INSERT INTO idempotency_keys (client_id, kind, key, fingerprint, message_id, event_seq, created_at)
        SELECT unhex(value ->> 0), value ->> 1, value ->> 2, unhex(value ->> 3), unhex(value ->> 4), value ->> 5,
            value ->> 6
        FROM k WHERE true
        ON CONFLICT (client_id, kind, key) DO UPDATE SET fingerprint = excluded.fingerprint,
            message_id = excluded.message_id, event_seq = excluded.event_seq, created_at = excluded.created_at";
    let keys = plan.keys.iter().map(|call| {
        let (message, seq) = match call.made {
            delivery::model::Made::Message(id) => (Some(hex(id.as_uuid())), None),
            delivery::model::Made::Event(seq) => (None, Some(seq)),
        };
        json!([
            hex(call.key.client.as_uuid()),
            call.key.kind.as_str(),
            call.key.key,
            call.fingerprint.to_string(),
            message,
            seq,
            call.created_at.as_micros(),
        ])
    });
    apply(connection, sql, keys.collect()).await.map(drop)
}

async fn change_states(connection: &mut SqliteConnection, plan: &Plan) -> Result<(), StoreError> {
    let sql = "-- change states
        WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
        UPDATE message_states AS m
        SET status = k.value ->> 2, status_at = k.value ->> 3, fence = k.value ->> 4, attempt = k.value ->> 5,
            due_at = k.value ->> 6, lease_until = k.value ->> 7, timer_at = k.value ->> 8, provider = k.value ->> 9,
            provider_refs = k.value ->> 10, failure_reason = k.value ->> 11, failure_detail = k.value ->> 12,
            failure_code = k.value ->> 13, part_states = k.value ->> 14, has_open_earlier = k.value ->> 15,
            last_event_seq = k.value ->> 16
        FROM k
        WHERE m.client_id = unhex(k.value ->> 0) AND m.id = unhex(k.value ->> 1) AND m.fence = k.value ->> 17";
    let states =
        plan.states.iter().map(|change| rows::state_json(&change.key, &change.state, change.fence_before));
    apply_all(connection, sql, states.collect()).await?;

    let moved = || plan.states.iter().filter(|change| change.timer_before != change.state.timer_at);
    let sql = "-- delete timers
        WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
        DELETE FROM timers WHERE (wake_at, client_id, message_id) IN
            (SELECT value ->> 0, unhex(value ->> 1), unhex(value ->> 2) FROM k)";
    apply(
        connection,
        sql,
        moved().filter_map(|change| timer_json(&change.key, change.timer_before)).collect(),
    )
    .await?;
    let timers = moved().filter_map(|change| timer_json(&change.key, change.state.timer_at));
    insert_timers(connection, timers.collect()).await?;

    let sql = "-- resolve locks
        WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
        UPDATE credit_locks AS l SET state = k.value ->> 2
        FROM k
        WHERE l.client_id = unhex(k.value ->> 0) AND l.message_id = unhex(k.value ->> 1) AND l.state = 'HELD'";
    let locks = plan.states.iter().filter(|change| change.resolves_lock).map(|change| {
        let key = change.key;
        json!([hex(key.client.as_uuid()), hex(key.id.as_uuid()), change.state.lock.as_str()])
    });
    apply_all(connection, sql, locks.collect()).await
}

async fn bind_refs(
    connection: &mut SqliteConnection,
    plan: &Plan,
    now: Timestamp,
) -> Result<Written, StoreError> {
    if plan.refs.is_empty() {
        return Ok(Written::default());
    }
    // A reference that is bound again is as young as a new one to the purge.
    let sql = "-- bind references
        WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
        INSERT INTO provider_refs (provider, reference, client_id, message_id, attempt, part, reported, created_at)
        SELECT value ->> 0, value ->> 1, unhex(value ->> 2), unhex(value ->> 3), value ->> 4, value ->> 5, 0, ?2
        FROM k WHERE true
        ON CONFLICT (provider, reference) DO UPDATE SET client_id = excluded.client_id,
            message_id = excluded.message_id, attempt = excluded.attempt, part = excluded.part,
            created_at = excluded.created_at
        RETURNING reported";
    let refs = plan.refs.iter().map(|binding| {
        json!([
            binding.provider,
            binding.reference,
            hex(binding.key.client.as_uuid()),
            hex(binding.key.id.as_uuid()),
            binding.attempt,
            binding.part,
        ])
    });
    let rows = sqlx::query(sql).bind(batch(refs)).bind(now.as_micros()).fetch_all(connection).await;
    let rows = rows.map_err(store_error)?;
    let mut written = Written::default();
    for row in rows {
        written.has_early_reports |= row.try_get::<bool, _>("reported").map_err(store_error)?;
    }
    Ok(written)
}
