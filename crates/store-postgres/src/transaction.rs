//! Transactions: one load, one write, one commit. The number of statements does not depend on the batch.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use delivery::model::{Made, Message};
use delivery::plan::{Loaded, Plan, RefBinding, StateChange, Wanted, Written};
use delivery::planted;
use delivery::port::{StoreError, Transaction};
use delivery::timing::KEY_LIFETIME;
use message::Timestamp;
use message::event::Event;
use message::id::ClientId;
use message::status::LockState;
use sqlx::postgres::{PgBindIterExt, PgRow};
use sqlx::{Row, SqlStr};

use crate::PostgresStore;
use crate::clock::{Ticker, Time};
use crate::connection::Connection;
use crate::error::{MissingPartition, commit_error, store_error};
use crate::letters;
use crate::rows::{self, Columns, changed, client_columns, small, state_columns};
use crate::spans::{self, EVENTS, Span};
use crate::trail;

pub(crate) struct PostgresTransaction {
    store: PostgresStore,
    /// `None` once a phase has failed: half of a plan must never be committed.
    open: Option<Connection>,
    /// Set by the load.
    now: Timestamp,
}

impl PostgresStore {
    pub(crate) async fn begin_transaction(&self) -> Result<PostgresTransaction, StoreError> {
        let open = self.writer().await?.begin("BEGIN").await.map_err(store_error)?;
        Ok(PostgresTransaction { store: self.clone(), open: Some(open), now: Timestamp::default() })
    }
}

#[async_trait]
impl Transaction for PostgresTransaction {
    async fn load(&mut self, wanted: &Wanted) -> Result<Loaded, StoreError> {
        let mut open = self.open.take().ok_or_else(failed_before)?;
        let loaded = load(&mut open, &self.store.shared.ticker, wanted).await.map_err(store_error)?;
        self.now = loaded.now;
        self.open = Some(open);
        Ok(loaded)
    }

    async fn write(&mut self, plan: &Plan) -> Result<Written, StoreError> {
        let mut open = self.open.take().ok_or_else(failed_before)?;
        self.store.make_room_for(plan).await.map_err(store_error)?;
        let written = write(&mut open, plan, self.now).await.map_err(|error| match error {
            // Somebody has dropped it: the next try makes it again.
            StoreError::Unavailable(cause) if cause.is::<MissingPartition>() => {
                self.store.shared.partitions.forget();
                StoreError::Conflict
            }
            error => error,
        })?;
        self.open = Some(open);
        Ok(written)
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.open.ok_or_else(failed_before)?.commit().await.map_err(commit_error)
    }
}

fn failed_before() -> StoreError {
    StoreError::Refused("a phase of this transaction has failed before".into())
}

async fn load(connection: &mut Connection, ticker: &Ticker, wanted: &Wanted) -> Result<Loaded, sqlx::Error> {
    let mut loaded = lock_clients(connection, ticker, wanted).await?;
    // From here on each statement has a snapshot that is younger than the clients' locks.
    if !wanted.messages.is_empty() {
        for row in read_messages(connection, wanted).await? {
            let message = rows::open_message(&row)?;
            loaded.messages.insert(message.key, message);
        }
    }
    if !wanted.keys.is_empty() {
        for row in read_keys(connection, wanted, loaded.now).await? {
            let call = rows::remembered(&row)?;
            loaded.keys.insert(call.key.clone(), call);
        }
    }
    if !wanted.reports.is_empty() {
        let sql = "-- load pending reports
            SELECT q.id FROM pending_reports AS q WHERE q.id = ANY($1::bigint[])";
        let reports =
            sqlx::query(sql).bind(wanted.reports.iter().bind_iter()).fetch_all(&mut *connection).await?;
        for row in reports {
            loaded.pending_reports.insert(row.try_get("id")?);
        }
    }
    if !wanted.dead_letters.is_empty() {
        for row in letters::read_replays(connection, &wanted.dead_letters).await? {
            loaded.dead_letters.insert(rows::key(&row)?, rows::opt_message_id(&row, "replayed_as")?);
        }
    }
    Ok(loaded)
}

/// Locks and reads the clients, and reads the time.
async fn lock_clients(
    connection: &mut Connection,
    ticker: &Ticker,
    wanted: &Wanted,
) -> Result<Loaded, sqlx::Error> {
    // A row that was waited for is read again as its last holder left it, but only a locked one: so the settings
    // are locked too, or a suspension that was waited for would be missed.
    // The clock is read for each row after that row is locked: the latest reading follows every lock, and with
    // it every earlier event of these clients. If the clock has gone back (another server's, after a failover), it is
    // no earlier than the start of the log's newest span, as readers rely on.
    let sql = concat!(
        "-- lock clients
        WITH locked AS (
            SELECT ",
        client_columns!(),
        ", h.span_at FROM client_heads AS h JOIN clients AS c ON c.id = h.client_id
            WHERE h.client_id = ANY($1::uuid[])
            ORDER BY h.client_id
            FOR UPDATE OF h FOR NO KEY UPDATE OF c
        )
        SELECT ",
        client_columns!("", ""),
        ", GREATEST(COALESCE($2, clock_timestamp()), span_at) AS now FROM locked"
    );
    let sql = match () {
        () if planted!(WrongLockOrder) => changed(sql, "ORDER BY h.client_id", "ORDER BY random()"),
        () if planted!(SeqWithoutLock) => changed(sql, "FOR UPDATE OF h FOR NO KEY UPDATE OF c", ""),
        () => SqlStr::from_static(sql),
    };
    let ids = wanted.clients.iter().map(|id| id.as_uuid()).bind_iter();
    let rows = sqlx::query(sql).bind(ids).bind(ticker.fixed()).fetch_all(&mut *connection).await?;
    let mut clients = BTreeMap::new();
    let mut now: Option<Timestamp> = None;
    for row in &rows {
        let client = rows::client(row)?;
        clients.insert(client.id, (client, rows::head(row)?));
        now = now.max(Some(rows::time(row, "now")?));
    }
    let now = match now {
        Some(now) => ticker.seen(now),
        None => ticker.now(connection).await?,
    };
    Ok(Loaded {
        now,
        clients,
        messages: BTreeMap::new(),
        keys: HashMap::new(),
        pending_reports: Default::default(),
        dead_letters: BTreeMap::new(),
    })
}

/// Nothing of a message changes but under its client's lock, except by a claim. Claims go on: a state that is claimed now
/// has another fence than the one read here, so the write of a plan that changes it finds a [`StoreError::Conflict`].
async fn read_messages(connection: &mut Connection, wanted: &Wanted) -> Result<Vec<PgRow>, sqlx::Error> {
    let sql = concat!(
        "-- load messages\nSELECT r.client_id, r.id, r.recipient, r.reference, r.part_count, r.price_micros, \
         r.on_unknown, r.priority, r.expire_at, ",
        state_columns!(),
        " FROM unnest($1::uuid[], $2::uuid[]) AS k (client_id, id)
          CROSS JOIN LATERAL (
              SELECT m.* FROM message_states AS m
              WHERE m.client_id = k.client_id AND m.id = k.id AND m.id BETWEEN $3 AND $4
              OFFSET 0
          ) AS m
          CROSS JOIN LATERAL (
              SELECT r.* FROM messages AS r
              WHERE r.client_id = k.client_id AND r.id = k.id AND r.id BETWEEN $3 AND $4
              OFFSET 0
          ) AS r
          CROSS JOIN LATERAL (
              SELECT l.* FROM credit_locks AS l
              WHERE l.client_id = k.client_id AND l.message_id = k.id AND l.message_id BETWEEN $3 AND $4
              OFFSET 0
          ) AS l"
    );
    let (least, greatest) = spans::bounds(wanted.messages.iter().map(|key| key.id.as_uuid()));
    sqlx::query(sql)
        .bind(wanted.messages.iter().map(|key| key.client.as_uuid()).bind_iter())
        .bind(wanted.messages.iter().map(|key| key.id.as_uuid()).bind_iter())
        .bind(least)
        .bind(greatest)
        .fetch_all(connection)
        .await
}

/// Oldest first: of a key that was written again, the newest row counts.
async fn read_keys(
    connection: &mut Connection,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Vec<PgRow>, sqlx::Error> {
    // A key of a clock that has gone back since is not missed either.
    let sql = "-- load keys
        SELECT i.client_id, i.kind, i.key, i.fingerprint, i.message_id, i.event_seq, i.created_at
        FROM unnest($1::uuid[], $2::text[], $3::text[]) AS k (client_id, kind, key)
        CROSS JOIN LATERAL (
            SELECT i.* FROM idempotency_keys AS i
            WHERE i.client_id = k.client_id AND i.kind = k.kind AND i.key = k.key
              AND i.created_at > $4 AND i.created_at < $5
            OFFSET 0
        ) AS i
        ORDER BY i.created_at";
    sqlx::query(sql)
        .bind(wanted.keys.iter().map(|key| key.client.as_uuid()).bind_iter())
        .bind(wanted.keys.iter().map(|key| key.kind.as_str()).bind_iter())
        .bind(wanted.keys.iter().map(|key| key.key.as_str()).bind_iter())
        .bind(Time(now - KEY_LIFETIME))
        .bind(Time(now + KEY_LIFETIME))
        .fetch_all(connection)
        .await
}

async fn write(connection: &mut Connection, plan: &Plan, now: Timestamp) -> Result<Written, StoreError> {
    append_events(connection, plan).await?;
    insert_messages(connection, &plan.messages).await?;
    write_keys(connection, plan).await?;
    change_states(connection, &plan.states).await?;
    let written = bind_refs(connection, &plan.refs, now).await?;
    if !plan.done_reports.is_empty() {
        let sql = "-- finish reports
            DELETE FROM pending_reports WHERE id = ANY($1::bigint[])";
        let done =
            sqlx::query(sql).bind(plan.done_reports.iter().bind_iter()).execute(&mut *connection).await;
        done.map_err(store_error)?;
    }
    letters::insert(connection, &plan.dead_letters).await?;
    letters::mark_replays(connection, &plan.replays).await?;
    for entry in &plan.audit_entries {
        trail::insert(connection, entry).await.map_err(store_error)?;
    }
    Ok(written)
}

/// Moves the heads, and appends the events that moved them.
async fn append_events(connection: &mut Connection, plan: &Plan) -> Result<(), StoreError> {
    if plan.heads.is_empty() && plan.events.is_empty() {
        return Ok(());
    }
    let sql = "-- append events
        WITH moved AS (
            UPDATE client_heads AS h
            SET available = k.available, held = k.held, last_seq = k.last_seq, oldest_seq = k.oldest_seq,
                span_at = GREATEST(h.span_at, k.span_at),
                span_seq = CASE WHEN k.span_at > h.span_at THEN k.span_seq ELSE h.span_seq END
            FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $31::timestamptz[],
                    $32::bigint[])
                AS k (client_id, available, held, last_seq, oldest_seq, span_at, span_seq)
            WHERE h.client_id = k.client_id
            RETURNING h.client_id
        ),
        appended AS (
            INSERT INTO events (client_id, seq, kind, at, message_id, previous_seq, status, previous_status, recipient,
                reference, part, attempt, provider, provider_ref, failure_reason, failure_detail, failure_code,
                next_attempt_at, ignored, transaction_kind, available_delta, held_delta, note, available_after,
                held_after)
            SELECT unnest($6::uuid[]), unnest($7::bigint[]), unnest($8::text[]), unnest($9::timestamptz[]),
                unnest($10::uuid[]), unnest($11::bigint[]), unnest($12::text[]), unnest($13::text[]),
                unnest($14::text[]), unnest($15::text[]), unnest($16::smallint[]), unnest($17::int[]),
                unnest($18::text[]), unnest($19::text[]), unnest($20::text[]), unnest($21::text[]),
                unnest($22::text[]), unnest($23::timestamptz[]), unnest($24::boolean[]), unnest($25::text[]),
                unnest($26::bigint[]), unnest($27::bigint[]), unnest($28::text[]), unnest($29::bigint[]),
                unnest($30::bigint[])
        )
        SELECT COUNT(client_id) AS moved FROM moved";
    let heads = Columns::of(sqlx::query(sql), &plan.heads)
        .column(|(client, _)| client.as_uuid())
        .column(|(_, head)| head.balance.available())
        .column(|(_, head)| head.balance.held())
        .column(|(_, head)| head.last_seq)
        .column(|(_, head)| head.oldest_seq);
    let events = Columns::of(heads.bound(), &plan.events).event();
    // Where each client's events of this plan begin: all are of one time.
    let mut first: HashMap<ClientId, &Event> = HashMap::new();
    for event in &plan.events {
        first.entry(event.client).or_insert(event);
    }
    let span = |event: &&Event| Time(Span::of(EVENTS, event.at).starts_at());
    let spans = Columns::of(events.bound(), &plan.heads)
        .column(|(client, _)| first.get(client).map(span))
        .column(|(client, _)| first.get(client).map(|event| event.seq));
    let row = spans.bound().fetch_one(connection).await.map_err(store_error)?;
    expect_count(&row, "moved", plan.heads.len())
}

/// Fewer rows than expected: one has changed under the plan.
fn expect_count(row: &PgRow, column: &str, expected: usize) -> Result<(), StoreError> {
    let count: i64 = row.try_get(column).map_err(store_error)?;
    if usize::try_from(count) == Ok(expected) { Ok(()) } else { Err(StoreError::Conflict) }
}

async fn insert_messages(connection: &mut Connection, messages: &[Message]) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    let sql = "-- insert messages
        WITH batch (client_id, id, recipient, sender, body_text, body_data, encoding, reference_bits, part_count,
            price_micros, currency, reference, metadata, on_unknown, shifts, is_transliterated, priority, is_flash,
            class, replay_of, scheduled_at, created_at, expire_at, status, status_at, fence, attempt, due_at,
            lease_until, timer_at, provider, provider_refs, failure_reason, failure_detail, failure_code, part_states,
            has_open_earlier, last_event_seq) AS (
            SELECT unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::text[]), unnest($4::text[]), unnest($5::text[]),
                unnest($6::bytea[]), unnest($7::text[]), unnest($8::smallint[]), unnest($9::smallint[]),
                unnest($10::bigint[]), unnest($11::text[]), unnest($12::text[]), unnest($13::text[]),
                unnest($14::text[]), unnest($15::text[]), unnest($16::boolean[]), unnest($17::text[]),
                unnest($18::boolean[]), unnest($19::text[]), unnest($20::uuid[]), unnest($21::timestamptz[]),
                unnest($22::timestamptz[]), unnest($23::timestamptz[]), unnest($24::text[]),
                unnest($25::timestamptz[]), unnest($26::bigint[]), unnest($27::int[]), unnest($28::timestamptz[]),
                unnest($29::timestamptz[]), unnest($30::timestamptz[]), unnest($31::text[]), unnest($32::text[]),
                unnest($33::text[]), unnest($34::text[]), unnest($35::text[]), unnest($36::text[]),
                unnest($37::boolean[]), unnest($38::bigint[])
        ),
        records AS (
            INSERT INTO messages (client_id, id, recipient, sender, body_text, body_data, encoding, reference_bits,
                part_count, price_micros, currency, reference, metadata, on_unknown, shifts, is_transliterated,
                priority, is_flash, class, replay_of, scheduled_at, created_at, expire_at)
            SELECT client_id, id, recipient, sender, body_text, body_data, encoding, reference_bits, part_count,
                price_micros, currency, reference, metadata, on_unknown, shifts, is_transliterated, priority, is_flash,
                class, replay_of, scheduled_at, created_at, expire_at
            FROM batch
        ),
        states AS (
            INSERT INTO message_states (client_id, id, status, status_at, fence, attempt, due_at, lease_until,
                timer_at, provider, provider_refs, failure_reason, failure_detail, failure_code, part_states,
                has_open_earlier, last_event_seq)
            SELECT client_id, id, status, status_at, fence, attempt, due_at, lease_until,
                timer_at, provider, provider_refs, failure_reason, failure_detail, failure_code, part_states,
                has_open_earlier, last_event_seq
            FROM batch
        ),
        locks AS (
            INSERT INTO credit_locks (client_id, message_id, amount_micros, state)
            SELECT client_id, id, price_micros, 'HELD' FROM batch
        )
        INSERT INTO timers (wake_at, client_id, message_id)
        SELECT timer_at, client_id, id FROM batch WHERE timer_at IS NOT NULL";
    let rows = Columns::of(sqlx::query(sql), messages)
        .record(|message| &message.record)
        .state(|message| &message.state);
    rows.bound().execute(connection).await.map(drop).map_err(store_error)
}

async fn write_keys(connection: &mut Connection, plan: &Plan) -> Result<(), StoreError> {
    if plan.keys.is_empty() {
        return Ok(());
    }
    let sql = "-- remember keys
        INSERT INTO idempotency_keys (client_id, kind, key, fingerprint, message_id, event_seq, created_at)
        SELECT unnest($1::uuid[]), unnest($2::text[]), unnest($3::text[]), unnest($4::bytea[]), unnest($5::uuid[]),
            unnest($6::bigint[]), unnest($7::timestamptz[])";
    let rows = Columns::of(sqlx::query(sql), &plan.keys)
        .column(|call| call.key.client.as_uuid())
        .column(|call| call.key.kind.as_str())
        .column(|call| call.key.key.as_str())
        .column(|call| call.fingerprint.as_bytes().as_slice())
        .column(|call| match call.made {
            Made::Message(id) => Some(*id.as_uuid()),
            Made::Event(_) => None,
        })
        .column(|call| match call.made {
            Made::Message(_) => None,
            Made::Event(seq) => Some(seq),
        })
        .column(|call| Time(call.created_at));
    rows.bound().execute(connection).await.map(drop).map_err(store_error)
}

async fn change_states(connection: &mut Connection, changes: &[StateChange]) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    // `lock_state` is NULL where the lock stays. HELD is a parameter, so that the plan goes by the key and not through
    // the index of all that is held.
    let sql = "-- change states
        WITH batch (client_id, id, status, status_at, fence, attempt, due_at, lease_until, timer_at, provider,
            provider_refs, failure_reason, failure_detail, failure_code, part_states, has_open_earlier,
            last_event_seq, fence_before, timer_before, lock_state) AS (
            SELECT unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::text[]), unnest($4::timestamptz[]),
                unnest($5::bigint[]), unnest($6::int[]), unnest($7::timestamptz[]), unnest($8::timestamptz[]),
                unnest($9::timestamptz[]), unnest($10::text[]), unnest($11::text[]), unnest($12::text[]),
                unnest($13::text[]), unnest($14::text[]), unnest($15::text[]), unnest($16::boolean[]),
                unnest($17::bigint[]), unnest($18::bigint[]), unnest($19::timestamptz[]), unnest($20::text[])
        ),
        changed AS (
            UPDATE message_states AS m
            SET status = k.status, status_at = k.status_at, fence = k.fence, attempt = k.attempt, due_at = k.due_at,
                lease_until = k.lease_until, timer_at = k.timer_at, provider = k.provider,
                provider_refs = k.provider_refs, failure_reason = k.failure_reason,
                failure_detail = k.failure_detail, failure_code = k.failure_code, part_states = k.part_states,
                has_open_earlier = k.has_open_earlier, last_event_seq = k.last_event_seq
            FROM batch AS k
            WHERE m.client_id = ANY (ARRAY[k.client_id]) AND m.id = k.id AND m.fence = k.fence_before
            RETURNING m.id
        ),
        resolved AS (
            UPDATE credit_locks AS l SET state = k.lock_state
            FROM batch AS k
            WHERE l.client_id = ANY (ARRAY[k.client_id]) AND l.message_id = k.id AND l.state = $21
              AND k.lock_state IS NOT NULL
            RETURNING l.message_id
        ),
        stopped AS (
            DELETE FROM timers AS t USING batch AS k
            WHERE t.wake_at = ANY (ARRAY[k.timer_before]) AND t.client_id = k.client_id
              AND t.message_id = k.id
              AND k.timer_at IS DISTINCT FROM k.timer_before
        ),
        started AS (
            INSERT INTO timers (wake_at, client_id, message_id)
            SELECT timer_at, client_id, id FROM batch
            WHERE timer_at IS NOT NULL AND timer_at IS DISTINCT FROM timer_before
        )
        SELECT (SELECT COUNT(id) FROM changed) AS changed, (SELECT COUNT(message_id) FROM resolved) AS resolved";
    let sql = match () {
        () if planted!(DoubleResolve) => changed(sql, "l.state = $21", "$21 = 'HELD'"),
        () => SqlStr::from_static(sql),
    };
    // Claims lock in the same order.
    let mut ordered: Vec<&StateChange> = changes.iter().collect();
    ordered.sort_unstable_by_key(|change| change.key);
    let rows = Columns::of(sqlx::query(sql), &ordered)
        .key(|change| &change.key)
        .state(|change| &change.state)
        .column(|change| change.fence_before)
        .column(|change| change.timer_before.map(Time))
        .column(|change| change.resolves_lock.then(|| change.state.lock.as_str()));
    let query = rows.bound().bind(LockState::Held.as_str());
    let row = query.fetch_one(connection).await.map_err(store_error)?;
    expect_count(&row, "changed", changes.len())?;
    expect_count(&row, "resolved", changes.iter().filter(|change| change.resolves_lock).count())
}

async fn bind_refs(
    connection: &mut Connection,
    refs: &[RefBinding],
    now: Timestamp,
) -> Result<Written, StoreError> {
    if refs.is_empty() {
        return Ok(Written::default());
    }
    // In the order in which the inbox marks them, each once: the newest binding wins.
    let newest: BTreeMap<(&str, &str), &RefBinding> = refs
        .iter()
        .map(|binding| ((binding.provider.as_str(), binding.reference.as_str()), binding))
        .collect();
    let newest: Vec<&RefBinding> = newest.into_values().collect();
    // A reference that is bound again is as young as a new one to the purge.
    let sql = "-- bind references
        INSERT INTO provider_refs AS f (provider, reference, client_id, message_id, attempt, part, reported, created_at)
        SELECT unnest($1::text[]), unnest($2::text[]), unnest($3::uuid[]), unnest($4::uuid[]), unnest($5::int[]),
            unnest($6::smallint[]), false, $7
        ON CONFLICT (provider, reference) DO UPDATE SET client_id = excluded.client_id,
            message_id = excluded.message_id, attempt = excluded.attempt, part = excluded.part,
            created_at = excluded.created_at
        RETURNING f.reported";
    let rows = Columns::of(sqlx::query(sql), &newest)
        .column(|binding| binding.provider.as_str())
        .column(|binding| binding.reference.as_str())
        .key(|binding| &binding.key)
        .column(|binding| binding.attempt)
        .column(|binding| small(binding.part));
    let rows = rows.bound().bind(Time(now)).fetch_all(connection).await.map_err(store_error)?;
    let mut written = Written::default();
    for row in rows {
        written.has_early_reports |= row.try_get::<bool, _>("reported").map_err(store_error)?;
    }
    Ok(written)
}
