//! What PostgreSQL alone does with the rows of the product: the measure beside which `herald bench --nodes` is read.
//!
//! It makes the product's schema in a database of its own and lets PostgreSQL itself generate the rows, so that neither
//! parameters nor decisions cost anything: one statement a transaction, on two connections with a client each, each
//! transaction as durable as the product's. Then it copies message rows alone, which is the ceiling. Prints JSON; `herald
//! bench --nodes --bare-postgres PROGRAM` runs it.
//!
//! Arguments: `--url URL --batch MESSAGES --messages MESSAGES`, or `--url URL --counters` for the bytes of WAL that the server
//! has written since it was made, and the transactions of that database.

use std::error::Error;
use std::fmt::Write;
use std::time::Instant;

use delivery::port::AdminStore;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use store_postgres::{Clock, PoolOptions, PostgresStore};

const CONNECTIONS: i64 = 2;

/// An id that grows with the message's number, as a UUIDv7 does. Of now, where there are partitions.
const ID: &str = "(lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0') || '7'
    || lpad(to_hex(i % 4096), 3, '0') || '8' || lpad(to_hex(i * 829348950), 15, '0'))::uuid";

const CLIENT: &str = "INSERT INTO clients (id, name, state, suspend_reason, currency, is_sandbox, capture_on, settle_unreported,
        report_timeout, on_unknown, resend_after, parts_per_second, burst_parts, default_sender, max_parts, low_balance,
        created_at, revision)
    VALUES ($1::uuid, 'bare', 'ACTIVE', '', 'USD', true, 'DELIVERED', 'CAPTURE', 259200000000, 'WAIT', 600000000, 0, 0, '',
        10, 0, now(), 1)";

const HEAD: &str = "INSERT INTO client_heads (client_id, available, held, last_seq, oldest_seq)
    VALUES ($1::uuid, 1000000000000, 0, 0, 1)";

/// What accepting writes: message, state, lock, timer, key, first event, balance. $1 is the client, $2 the number of the first
/// message, $3 that of the last.
const ACCEPT: &str = "
    batch AS (SELECT i, $1::uuid AS client_id, @ID AS id, now() AS at FROM generate_series($2::bigint, $3::bigint) AS i),
    m AS (
        INSERT INTO messages (client_id, id, recipient, sender, body_text, encoding, reference_bits, part_count,
            price_micros, currency, reference, metadata, on_unknown, shifts, is_transliterated, priority, is_flash,
            class, created_at, expire_at)
        SELECT client_id, id, '+12025550100', '', 'Hello from herald bench', 'GSM7', 8, 1, 7500, 'USD', '', '{}',
            'WAIT', '', false, 'NORMAL', false, 'TRANSACTIONAL', at, at + interval '2 days'
        FROM batch
    ),
    s AS (
        INSERT INTO message_states (client_id, id, status, status_at, fence, attempt, due_at, timer_at, provider,
            provider_refs, part_states, has_open_earlier, last_event_seq)
        SELECT client_id, id, 'QUEUED', at, 0, 0, at, at + interval '10 s', '', '[]', 'P', false, i FROM batch
    ),
    l AS (
        INSERT INTO credit_locks (client_id, message_id, amount_micros, state)
        SELECT client_id, id, 7500, 'HELD' FROM batch
    ),
    t AS (
        INSERT INTO timers (wake_at, client_id, message_id)
        SELECT at + interval '10 s', client_id, id FROM batch
    ),
    k AS (
        INSERT INTO idempotency_keys (client_id, kind, key, fingerprint, message_id, created_at)
        SELECT client_id, 'SEND', id::text, sha256(id::text::bytea), id, at FROM batch
    ),
    e AS (
        INSERT INTO events (client_id, seq, kind, at, message_id, previous_seq, status, recipient, reference, part,
            attempt, provider, provider_ref, ignored, transaction_kind, available_delta, held_delta, note,
            available_after, held_after)
        SELECT client_id, i, 'message.queued', at, id, 0, 'QUEUED', '+12025550100', '', 0, 0, '', '', false, 'HOLD',
            -7500, 7500, '', 999999992500, 7500
        FROM batch
    )
    UPDATE client_heads SET held = held + 7500 * ($3 - $2 + 1), last_seq = $3 WHERE client_id = $1";

/// Rows that a message comes to: one in each table.
const ROWS: i64 = 6;

struct Args {
    url: String,
    batch: i64,
    messages: i64,
    counters: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::read()?;
    let mut server = PgConnection::connect(&args.url).await?;
    if args.counters {
        let wal_bytes = wal(&mut server).await?.bytes;
        println!("{}", json!({ "wal_bytes": wal_bytes, "transactions": transactions(&mut server).await? }));
        return Ok(());
    }
    let name = format!("herald_bare_{}", std::process::id());
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut server).await?;
    let (address, _) = args.url.rsplit_once('/').ok_or("the URL names no database")?;
    let measured = measure(&args, &format!("{address}/{name}")).await;
    sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).execute(&mut server).await?;
    println!("{}", measured?);
    Ok(())
}

impl Args {
    fn read() -> Result<Self, String> {
        let mut args = Self { url: String::new(), batch: 500, messages: 100_000, counters: false };
        let mut words = std::env::args().skip(1);
        while let Some(name) = words.next() {
            if name == "--counters" {
                args.counters = true;
                continue;
            }
            let value = words.next().ok_or(format!("{name} needs a value"))?;
            let number =
                || value.parse().ok().filter(|number| *number > 0).ok_or(format!("{name} must be above 0"));
            match name.as_str() {
                "--url" => args.url = value,
                "--batch" => args.batch = number()?,
                "--messages" => args.messages = number()?,
                _ => return Err(format!("{name} is not known")),
            }
        }
        Ok(args)
    }
}

async fn measure(args: &Args, url: &str) -> Result<Value, Box<dyn Error>> {
    let store = PostgresStore::connect(url, PoolOptions::default(), Clock::Database).await?;
    store.migrate().await?;
    drop(store);
    let mut observer = PgConnection::connect(url).await?;
    let before = wal(&mut observer).await?;
    let begin = Instant::now();
    let each = args.messages / CONNECTIONS;
    let writers: Vec<_> = (0..CONNECTIONS)
        .map(|number| tokio::spawn(accept(url.to_owned(), number, each, args.batch)))
        .collect();
    for writer in writers {
        writer.await??;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let after = wal(&mut observer).await?;
    let messages = (each * CONNECTIONS) as f64;
    let copied = copy(url, each * CONNECTIONS).await?;
    Ok(json!({
        "batch": args.batch,
        "connections": CONNECTIONS,
        "messages": messages,
        "messages_per_second": messages / seconds,
        "rows_per_second": messages * ROWS as f64 / seconds,
        "wal_bytes_per_message": (after.bytes - before.bytes) / messages,
        "fsyncs_per_second": (after.syncs - before.syncs) / seconds,
        "copied_per_second": copied,
    }))
}

async fn accept(url: String, number: i64, messages: i64, batch: i64) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(&url).await?;
    let client = format!("0198e7a2-5c1e-7b90-9a41-0c6f2d3b8e{number:02x}");
    for statement in [CLIENT, HEAD] {
        sqlx::query(statement).bind(&client).execute(&mut connection).await?;
    }
    let sql = format!("WITH {}", ACCEPT.replace("$1", &format!("'{client}'::uuid")).replace("@ID", ID))
        .replace("$2", "$1")
        .replace("$3", "$2");
    let mut first = 1;
    while first <= messages {
        let last = (first + batch - 1).min(messages);
        sqlx::query(AssertSqlSafe(sql.as_str())).bind(first).bind(last).execute(&mut connection).await?;
        first = last + 1;
    }
    Ok(())
}

/// Message rows alone, by COPY, in one transaction. Answers how many a second.
async fn copy(url: &str, messages: i64) -> Result<f64, Box<dyn Error>> {
    let mut connection = PgConnection::connect(url).await?;
    let now: i64 = sqlx::query("SELECT (extract(epoch FROM now()) * 1000)::bigint")
        .fetch_one(&mut connection)
        .await?
        .get(0);
    let mut rows = String::new();
    for number in 0..messages {
        let id = format!("{now:012x}7{:03x}9{number:015x}", number % 4096);
        writeln!(
            rows,
            "0198e7a2-5c1e-7b90-9a41-0c6f2d3b8e00\t{id}\t+12025550100\t\tHello from herald bench\tGSM7\t8\t1\t7500\tUSD\t\t{{}}\t\
             WAIT\t\tf\tNORMAL\tf\tTRANSACTIONAL\tnow\ttomorrow"
        )?;
    }
    let begin = Instant::now();
    let mut copying = connection
        .copy_in_raw(
            "COPY messages (client_id, id, recipient, sender, body_text, encoding, reference_bits, part_count,
                price_micros, currency, reference, metadata, on_unknown, shifts, is_transliterated, priority, is_flash,
                class, created_at, expire_at) FROM STDIN",
        )
        .await?;
    for chunk in rows.as_bytes().chunks(1 << 16) {
        copying.send(chunk).await?;
    }
    copying.finish().await?;
    Ok(messages as f64 / begin.elapsed().as_secs_f64())
}

struct Wal {
    bytes: f64,
    syncs: f64,
}

/// Since the server was made; PostgreSQL 18 counts syncs elsewhere than those before it.
async fn wal(connection: &mut PgConnection) -> Result<Wal, sqlx::Error> {
    let row = sqlx::query("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 AS bytes")
        .fetch_one(&mut *connection)
        .await?;
    let version: i32 = sqlx::query("SELECT current_setting('server_version_num')::int")
        .fetch_one(&mut *connection)
        .await?
        .get(0);
    let syncs = if version >= 180_000 {
        "SELECT SUM(fsyncs)::float8 FROM pg_stat_io WHERE object = 'wal'"
    } else {
        "SELECT wal_sync::float8 FROM pg_stat_wal"
    };
    let syncs: Option<f64> = sqlx::query(syncs).fetch_one(connection).await?.get(0);
    Ok(Wal { bytes: row.get("bytes"), syncs: syncs.unwrap_or(0.0) })
}

/// Of this database, whoever's. Those of a connection that has nothing to do may be missing until it is used again.
async fn transactions(connection: &mut PgConnection) -> Result<f64, sqlx::Error> {
    let sql = "SELECT (xact_commit + xact_rollback)::float8 FROM pg_stat_database WHERE datname = current_database()";
    Ok(sqlx::query(sql).fetch_one(connection).await?.get(0))
}
