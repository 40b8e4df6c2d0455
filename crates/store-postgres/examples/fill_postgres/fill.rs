//! Messages as Herald leaves them when they are delivered and nothing is open any more.
//!
//! They come in groups of a hundred, as a batch accepts them: all of a group are accepted, then sent, then delivered, so that the
//! four events of a message lie far apart in the log. Every second group is of one client, the oldest; the others
//! take turns with the rest. The number of a group says whose it is, when it was, and which `seq` its events have.
//!
//! What PostgreSQL can generate it does, so that a message costs little more than its rows.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use delivery::port::{AdminStore, AuditStore, ClientFilter, PurgeLimits};
use delivery::reconcile;
use delivery::timing::Timing;
use message::Timestamp;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use store_postgres::{Clock, PoolOptions, PostgresStore};

/// Messages of a group.
pub(crate) const GROUP: i64 = 100;
/// Groups that are written in one transaction.
const CHUNK: i64 = 200;
/// Groups after which the reconciler looks at the books, and moves the checkpoints. It may not read for longer than any statement.
const AUDIT: i64 = 2_000;

const DAY: Duration = Duration::from_secs(24 * 3_600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);
/// The messages are of so many weeks.
const WEEKS: u32 = 8;

/// What is filled, and how far it is: beside the product's schema.
const PLAN: &str = "CREATE SCHEMA IF NOT EXISTS fill;
    CREATE TABLE IF NOT EXISTS fill.plan (
        messages   BIGINT NOT NULL,
        clients    BIGINT NOT NULL,
        first_at   TIMESTAMPTZ NOT NULL,
        last_at    TIMESTAMPTZ NOT NULL,
        groups     BIGINT NOT NULL
    )";

/// $1 messages of $2 clients, over $3 microseconds until now. Times are whole milliseconds, as those in ids are: no event of a
/// message is older than its id.
const BEGIN: &str = "INSERT INTO fill.plan (messages, clients, first_at, last_at, groups)
    SELECT $1, $2, date_trunc('milliseconds', now() - $3 * interval '1 microsecond'), date_trunc('milliseconds', now()), 0";

/// Times are microseconds since 1970.
const READ: &str =
    "SELECT messages, clients, groups, (extract(epoch FROM first_at) * 1e6)::bigint AS first_at,
    (extract(epoch FROM last_at) * 1e6)::bigint AS last_at FROM fill.plan";

/// Clients, each with credit that it will not spend, made before the first message. A partition spans a week, counted from 1970.
const CLIENTS: &str = "
    INSERT INTO clients (id, name, state, suspend_reason, currency, is_sandbox, capture_on, settle_unreported, report_timeout,
        on_unknown, resend_after, parts_per_second, burst_parts, default_sender, max_parts, low_balance, created_at, revision)
    SELECT @CLIENT, 'bench ' || n, 'ACTIVE', '', 'USD', true, 'DELIVERED', 'CAPTURE', 259200000000, 'WAIT', 600000000, 0, 0,
        '', 10, 0, p.first_at, 1
    FROM fill.plan AS p, generate_series(0, p.clients - 1) AS n;
    INSERT INTO client_heads (client_id, available, held, last_seq, oldest_seq, span_at, span_seq)
    SELECT @CLIENT, @CREDIT, 0, 1, 1, date_bin('7 days', p.first_at, 'epoch'), 1 FROM fill.plan AS p, generate_series(0, p.clients - 1) AS n;
    INSERT INTO checkpoints (client_id, seq, available, held, written_at)
    SELECT @CLIENT, 0, 0, 0, p.first_at FROM fill.plan AS p, generate_series(0, p.clients - 1) AS n;
    INSERT INTO events (client_id, seq, kind, at, previous_seq, transaction_kind, available_delta, held_delta, note,
        available_after, held_after)
    SELECT @CLIENT, 1, 'credit.topped_up', p.first_at, 0, 'TOP_UP', @CREDIT, 0, '', @CREDIT, 0
    FROM fill.plan AS p, generate_series(0, p.clients - 1) AS n";

/// The messages of one chunk: `k` is the number of the group, `g` that among the groups of its client, `j` the message's in it.
/// `base` is the client's last `seq` before the group.
const BATCH: &str = "CREATE TEMP TABLE batch (
        client_id UUID, id UUID, k BIGINT, g BIGINT, j BIGINT, base BIGINT, at TIMESTAMPTZ, sent_at TIMESTAMPTZ,
        done_at TIMESTAMPTZ, recipient TEXT, ref TEXT
    ) ON COMMIT DELETE ROWS";

/// Groups $1 to below $2.
const FILL_BATCH: &str = "INSERT INTO batch
    SELECT @CLIENT, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
            || lpad(to_hex((random() * 4095)::int), 3, '0') || '8' || substr(md5(random()::text), 1, 15))::uuid,
        k, g, j, 1 + 4 * @GROUP * g, at, at + interval '60 ms', at + interval '1100 ms',
        '+12025550' || 100 + j % 100, 'sim-00000000-' || @GROUP * k + j
    FROM (
        SELECT k, date_trunc('milliseconds',
                p.first_at + (p.last_at - p.first_at - interval '2 s') * (k::float8 * @GROUP / p.messages)) AS at,
            CASE WHEN k % 2 = 0 THEN 0 ELSE 1 + k / 2 % (p.clients - 1) END AS n,
            CASE WHEN k % 2 = 0 THEN k / 2 ELSE k / 2 / (p.clients - 1) END AS g
        FROM fill.plan AS p, generate_series($1::bigint, $2::bigint - 1) AS k
    ) AS groups, generate_series(1, @GROUP) AS j";

/// What a chunk writes, from what is in the batch. References, reports and keys are kept for as long as the product keeps them.
const WRITE: [&str; 9] = [
    "INSERT INTO messages (client_id, id, recipient, sender, body_text, encoding, reference_bits, part_count, price_micros,
        currency, reference, metadata, on_unknown, shifts, is_transliterated, priority, is_flash, class, created_at, expire_at)
    SELECT client_id, id, recipient, '', 'Your parcel ' || @GROUP * k + j || ' is on its way', 'GSM7', 8, 1, @PRICE, 'USD', '',
        '{}', 'WAIT', '', false, 'NORMAL', false, 'TRANSACTIONAL', at, at + interval '2 days'
    FROM batch ORDER BY k, j",
    "INSERT INTO message_states (client_id, id, status, status_at, fence, attempt, provider, provider_refs, part_states,
        has_open_earlier, last_event_seq)
    SELECT client_id, id, 'DELIVERED', done_at, 1, 1, 'simulator', '[\"' || ref || '\"]', 'D', false, base + 3 * @GROUP + j
    FROM batch ORDER BY k, j",
    "INSERT INTO credit_locks (client_id, message_id, amount_micros, state)
    SELECT client_id, id, @PRICE, 'CAPTURED' FROM batch ORDER BY k, j",
    "INSERT INTO events (client_id, seq, kind, at, message_id, previous_seq, status, previous_status, recipient, reference,
        part, attempt, provider, provider_ref, ignored, transaction_kind, available_delta, held_delta, note, available_after,
        held_after)
    SELECT b.client_id, e.seq, e.kind, e.at, b.id, e.previous_seq, e.status, e.previous_status, b.recipient, '', 0, e.attempt,
        CASE WHEN e.attempt = 0 THEN '' ELSE 'simulator' END, CASE WHEN e.attempt = 0 THEN '' ELSE b.ref END, false,
        e.transaction_kind, e.available_delta, e.held_delta, e.note, @CREDIT - @PRICE * (@GROUP * b.g + e.holds), e.held
    FROM batch AS b CROSS JOIN LATERAL (VALUES
        (base + j, 'message.queued', at, 0, 'QUEUED', NULL, 0, 'HOLD', -@PRICE, @PRICE, '', j, @PRICE * j),
        (base + @GROUP + 2 * j - 1, 'message.sending', sent_at, base + j, 'SENDING', 'QUEUED', 1, NULL, 0, 0, NULL, @GROUP,
            @PRICE * @GROUP),
        (base + @GROUP + 2 * j, 'message.sent', sent_at, base + @GROUP + 2 * j - 1, 'SENT', 'SENDING', 1, NULL, 0, 0, NULL,
            @GROUP, @PRICE * @GROUP),
        (base + 3 * @GROUP + j, 'message.delivered', done_at, base + @GROUP + 2 * j, 'DELIVERED', 'SENT', 1, 'CAPTURE', 0,
            -@PRICE, '', @GROUP, @PRICE * (@GROUP - j))
    ) AS e (seq, kind, at, previous_seq, status, previous_status, attempt, transaction_kind, available_delta, held_delta, note,
        holds, held)
    ORDER BY b.k, e.seq",
    "INSERT INTO provider_refs (provider, reference, client_id, message_id, attempt, part, reported, created_at)
    SELECT 'simulator', ref, client_id, id, 1, 0, false, sent_at FROM batch, fill.plan AS p
    WHERE sent_at > p.last_at - interval '14 days' ORDER BY k, j",
    "INSERT INTO provider_reports (provider, reference, client_id, message_id, attempt, state, part, done_date, stored_at)
    SELECT 'simulator', ref, client_id, id, 1, 'DELIVERED', 0, (extract(epoch FROM done_at) * 1000)::bigint::text, done_at
    FROM batch, fill.plan AS p WHERE done_at > p.last_at - interval '3 days' ORDER BY k, j",
    "INSERT INTO idempotency_keys (client_id, kind, key, fingerprint, message_id, created_at)
    SELECT client_id, 'SEND', gen_random_uuid()::text, sha256(id::text::bytea), id, at FROM batch, fill.plan AS p
    WHERE at > p.last_at - interval '1 day' ORDER BY k, j",
    "UPDATE client_heads AS h
    SET available = @CREDIT - @PRICE * @GROUP * (1 + b.g), last_seq = 1 + 4 * @GROUP * (1 + b.g), span_at = b.span_at,
        span_seq = CASE WHEN b.span_at > h.span_at THEN b.span_seq ELSE h.span_seq END
    FROM (
        SELECT client_id, MAX(g) AS g, MAX(span_at) AS span_at, LEAST(
            MIN(base + j) FILTER (WHERE at >= span_at),
            MIN(base + @GROUP + 2 * j - 1) FILTER (WHERE sent_at >= span_at),
            MIN(base + 3 * @GROUP + j) FILTER (WHERE done_at >= span_at)) AS span_seq
        FROM (SELECT *, date_bin('7 days', MAX(done_at) OVER (PARTITION BY client_id), 'epoch') AS span_at FROM batch) AS b GROUP BY client_id
    ) AS b
    WHERE h.client_id = b.client_id",
    "UPDATE fill.plan SET groups = $2",
];

/// A database that is being filled.
pub(crate) struct Filling {
    store: PostgresStore,
    connection: PgConnection,
    messages: i64,
    clients: i64,
    /// That are written.
    groups: i64,
    last_at: Timestamp,
}

impl Filling {
    /// Begins with `messages`, a multiple of a group, or goes on with what was begun.
    pub(crate) async fn open(url: &str, messages: i64, clients: i64) -> Result<Self, Box<dyn Error>> {
        if messages <= 0 || messages % GROUP != 0 || clients < 2 {
            return Err(format!("it takes a multiple of {GROUP} messages, and two clients").into());
        }
        let mut connection = PgConnection::connect(url).await?;
        sqlx::raw_sql(PLAN).execute(&mut connection).await?;
        // Of a chunk that a crash of the server takes back, the plan knows nothing either.
        sqlx::raw_sql("SET synchronous_commit = off; SET jit = off").execute(&mut connection).await?;
        sqlx::raw_sql(BATCH).execute(&mut connection).await?;
        let plan = match sqlx::query(READ).fetch_optional(&mut connection).await? {
            Some(plan) => plan,
            None => begin(&mut connection, url, messages, clients).await?,
        };
        if (plan.get::<i64, _>("messages"), plan.get::<i64, _>("clients")) != (messages, clients) {
            return Err("this database was begun with other messages and clients".into());
        }
        let store = PostgresStore::connect(url, PoolOptions::default(), Clock::Database).await?;
        let last_at = Timestamp::from_micros(plan.get("last_at"));
        Ok(Self { store, connection, messages, clients, groups: plan.get("groups"), last_at })
    }

    /// Messages that are there.
    pub(crate) fn stored(&self) -> i64 {
        self.groups * GROUP
    }

    /// Writes some more, and has the books checked. Answers whether there was anything to write.
    pub(crate) async fn go_on(&mut self) -> Result<bool, Box<dyn Error>> {
        let all = self.messages / GROUP;
        if self.groups == all {
            return Ok(false);
        }
        let end = (self.groups + AUDIT).min(all);
        while self.groups < end {
            let next = (self.groups + CHUNK).min(end);
            let mut transaction = self.connection.begin().await?;
            for statement in std::iter::once(FILL_BATCH).chain(WRITE) {
                let sql = spelled_out(statement)
                    .replace("$1", &self.groups.to_string())
                    .replace("$2", &next.to_string());
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
            self.groups = next;
        }
        self.audit().await?;
        Ok(true)
    }

    /// What the reconciler of a node does, each minute.
    async fn audit(&self) -> Result<(), Box<dyn Error>> {
        let timing = Timing::default();
        let clients = self.store.clients(&ClientFilter::default(), None, self.clients, self.clients).await?;
        for client in clients.items {
            let audited = reconcile::audit(&self.store, &timing, client.id).await?;
            let (audit, checkpoint) = audited.ok_or("a client has no books")?;
            if !audit.violations.is_empty() {
                return Err(format!("client {}: {}", client.id, audit.violations.join("; ")).into());
            }
            self.store.write_checkpoint(client.id, checkpoint).await?;
        }
        Ok(())
    }

    /// What autovacuum and the sweeper would have done by now. Answers the bytes of the database.
    pub(crate) async fn finish(mut self) -> Result<i64, Box<dyn Error>> {
        let limits =
            PurgeLimits { reports_before: self.last_at - DAY * 3, refs_before: self.last_at - WEEK * 2 };
        self.store.purge(&limits, GROUP).await?;
        sqlx::raw_sql("VACUUM (ANALYZE)").execute(&mut self.connection).await?;
        sqlx::raw_sql("CHECKPOINT").execute(&mut self.connection).await?;
        let sql = "SELECT pg_database_size(current_database())";
        Ok(sqlx::query_scalar(sql).fetch_one(&mut self.connection).await?)
    }
}

/// Makes the partitions of the past, as nodes made them then, and the clients.
async fn begin(
    connection: &mut PgConnection,
    url: &str,
    messages: i64,
    clients: i64,
) -> Result<sqlx::postgres::PgRow, Box<dyn Error>> {
    let mut transaction = connection.begin().await?;
    let span = i64::try_from((WEEK * WEEKS).as_micros())?;
    sqlx::query(BEGIN).bind(messages).bind(clients).bind(span).execute(&mut *transaction).await?;
    let plan = sqlx::query(READ).fetch_one(&mut *transaction).await?;

    let (first_at, last_at): (i64, i64) = (plan.get("first_at"), plan.get("last_at"));
    let clock = Arc::new(AtomicI64::new(first_at));
    let past = PostgresStore::connect(url, PoolOptions::default(), Clock::Fixed(clock.clone())).await?;
    let weeks = (0..WEEKS).map(|week| Timestamp::from_micros(first_at) + WEEK * week);
    for at in weeks.chain([Timestamp::from_micros(last_at) - DAY, Timestamp::from_micros(last_at)]) {
        clock.store(at.as_micros(), std::sync::atomic::Ordering::SeqCst);
        past.migrate().await?;
    }
    sqlx::raw_sql(AssertSqlSafe(spelled_out(CLIENTS))).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(plan)
}

/// A statement with its constants, and the id of client `n`.
fn spelled_out(statement: &str) -> String {
    let client = "(lpad(to_hex((extract(epoch FROM (SELECT first_at FROM fill.plan)) * 1000)::bigint), 12, '0') || '70008000'
        || lpad(to_hex(n), 12, '0'))::uuid";
    statement
        .replace("@CLIENT", client)
        .replace("@GROUP", &GROUP.to_string())
        .replace("@CREDIT", "1000000000000")
        .replace("@PRICE", "10000")
}
