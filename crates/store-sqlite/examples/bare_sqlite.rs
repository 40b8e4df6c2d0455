//! What SQLite alone does with the rows of the product: the measure beside which `herald bench` is read.
//!
//! It makes the product's schema in a new file and lets SQLite itself generate the rows, so that neither parameters
//! nor decisions cost anything: one thread, one transaction after the other, each as durable as the product's. First
//! only what accepting a message writes, then all that a delivered message writes. Prints JSON; `herald bench
//! --bare-sqlite PROGRAM` runs it.
//!
//! Arguments: `--folder FOLDER --batch MESSAGES --messages MESSAGES`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use delivery::port::AdminStore;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};
use store_sqlite::{Clock, SqliteStore};

/// The messages of a transaction: ?1 is the number of the first, ?2 that of the last.
macro_rules! numbers {
    () => {
        "WITH RECURSIVE n (i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2) "
    };
}

/// An id that grows with the message's number, as a UUIDv7 does.
macro_rules! id {
    () => {
        "unhex(printf('%012x7%03x%016x', 1795613478335 + i / 10, i % 4096, i * 829348950))"
    };
}

macro_rules! client {
    () => {
        "x'0198e7a25c1e7b909a410c6f2d3b8e55'"
    };
}

macro_rules! insert_event {
    ($seq:expr, $values:expr) => {
        concat!(
            numbers!(),
            "INSERT INTO events (client_id, seq, kind, at, message_id, previous_seq, status, previous_status,
                recipient, reference, part, attempt, provider, provider_ref, ignored, transaction_kind,
                available_delta, held_delta, note, available_after, held_after)
            SELECT ",
            client!(),
            ", i * 4 - 4 + ",
            $seq,
            ", ",
            $values,
            " FROM n"
        )
    };
}

const MAKE_CLIENT: [&str; 2] = [
    concat!(
        "INSERT INTO clients (id, name, state, suspend_reason, currency, is_sandbox, capture_on, settle_unreported,
            report_timeout, on_unknown, resend_after, parts_per_second, burst_parts, default_sender, max_parts,
            low_balance, created_at, revision)
        VALUES (",
        client!(),
        ", 'bare', 'ACTIVE', '', 'USD', 1, 'DELIVERED', 'CAPTURE', 259200000000, 'WAIT', 600000000, 0, 0, '', 10, 0, 0,
            1)"
    ),
    concat!(
        "INSERT INTO client_heads (client_id, available, held, last_seq, oldest_seq) VALUES (",
        client!(),
        ", 1000000000000, 0, 0, 1)"
    ),
];

/// One transaction: message, state, lock, timer, key, first event, balance.
const ACCEPT: &[&str] = &[
    concat!(
        numbers!(),
        "INSERT INTO messages (client_id, id, recipient, sender, body_text, encoding, reference_bits, part_count,
            price_micros, currency, reference, metadata, on_unknown, shifts, is_transliterated, priority, is_flash,
            class, created_at, expire_at)
        SELECT ",
        client!(),
        ", ",
        id!(),
        ", '+12025550100', '', 'Hello from herald bench', 'GSM7', 8, 1, 7500, 'USD', '', '{}', 'WAIT', '', 0,
            'NORMAL', 0, 'TRANSACTIONAL', 1795613478335000 + i, 1795786278335000 + i
        FROM n"
    ),
    concat!(
        numbers!(),
        "INSERT INTO message_states (client_id, id, status, status_at, fence, attempt, due_at, timer_at, provider,
            provider_refs, part_states, has_open_earlier, last_event_seq)
        SELECT ",
        client!(),
        ", ",
        id!(),
        ", 'QUEUED', 1795613478335000 + i, 0, 0, 1795613478335000 + i, 1795613508335000 + i, '', '[]', 'P', 0,
            i * 4 - 3
        FROM n"
    ),
    concat!(
        numbers!(),
        "INSERT INTO credit_locks (client_id, message_id, amount_micros, state)
        SELECT ",
        client!(),
        ", ",
        id!(),
        ", 7500, 'HELD' FROM n"
    ),
    concat!(
        numbers!(),
        "INSERT INTO timers (wake_at, client_id, message_id)
        SELECT 1795613508335000 + i, ",
        client!(),
        ", ",
        id!(),
        " FROM n"
    ),
    concat!(
        numbers!(),
        "INSERT INTO idempotency_keys (client_id, kind, key, fingerprint, message_id, created_at)
        SELECT ",
        client!(),
        ", 'SEND', lower(hex(",
        id!(),
        ")) || '----', randomblob(32), ",
        id!(),
        ", 1795613478335000 + i
        FROM n"
    ),
    insert_event!(
        "1",
        concat!(
            "'message.queued', 1795613478335000 + i, ",
            id!(),
            ", 0, 'QUEUED', NULL, '+12025550100', '', 0, 0, '', '', 0, 'HOLD', -7500, 7500, '', 999999992500, 7500"
        )
    ),
    concat!(
        "UPDATE client_heads SET held = held + 7500 * (?2 - ?1 + 1), last_seq = ?2 WHERE client_id = ",
        client!()
    ),
];

/// The intent to send.
const CLAIM: &[&str] = &[concat!(
    numbers!(),
    "UPDATE message_states SET status = 'SENDING', fence = fence + 1, attempt = attempt + 1, due_at = NULL,
        lease_until = 1795613538335000, provider = 'simulator'
    WHERE client_id = ",
    client!(),
    " AND id IN (SELECT ",
    id!(),
    " FROM n)"
)];

/// The provider took it.
const OUTCOME: &[&str] = &[
    concat!(
        numbers!(),
        "UPDATE message_states SET status = 'SENT', status_at = status_at + 50000, lease_until = NULL,
            provider_refs = '[\"sim-5cda7548-1000\"]', part_states = 'S', last_event_seq = last_event_seq + 2
        WHERE client_id = ",
        client!(),
        " AND id IN (SELECT ",
        id!(),
        " FROM n)"
    ),
    insert_event!(
        "2",
        concat!(
            "'message.sending', 1795613478395000 + i, ",
            id!(),
            ", i * 4 - 3, 'SENDING', 'QUEUED', '+12025550100', '', 0, 1, 'simulator', 'sim-5cda7548-1000', 0, NULL,
                0, 0, NULL, 999999992500, 7500"
        )
    ),
    insert_event!(
        "3",
        concat!(
            "'message.sent', 1795613478395000 + i, ",
            id!(),
            ", i * 4 - 2, 'SENT', 'SENDING', '+12025550100', '', 0, 1, 'simulator', 'sim-5cda7548-1000', 0, NULL,
                0, 0, NULL, 999999992500, 7500"
        )
    ),
    concat!(
        numbers!(),
        "INSERT INTO provider_refs (provider, reference, client_id, message_id, attempt, part, reported, created_at)
        SELECT 'simulator', 'sim-5cda7548-' || i, ",
        client!(),
        ", ",
        id!(),
        ", 1, 0, 0, 1795613478395000 + i FROM n"
    ),
    concat!("UPDATE client_heads SET last_seq = last_seq + ?2 - ?1 WHERE client_id = ", client!()),
];

/// The provider's report, durable before it is acknowledged.
const INBOX: &[&str] = &[
    concat!(
        numbers!(),
        "INSERT INTO provider_reports (provider, reference, client_id, message_id, attempt, state, part, done_date,
            stored_at, is_done)
        SELECT 'simulator', 'sim-5cda7548-' || i, ",
        client!(),
        ", ",
        id!(),
        ", 1, 'DELIVERED', 0, '1795613479476', 1795613479481000 + i, 0 FROM n"
    ),
    concat!(
        numbers!(),
        "UPDATE provider_refs SET reported = 1
        WHERE provider = 'simulator' AND reference IN (SELECT 'sim-5cda7548-' || i FROM n)"
    ),
];

/// The report's effect: final status, captured credit.
const APPLY: &[&str] = &[
    concat!(
        numbers!(),
        "UPDATE message_states SET status = 'DELIVERED', status_at = status_at + 1000000, timer_at = NULL,
            part_states = 'D', last_event_seq = last_event_seq + 1
        WHERE client_id = ",
        client!(),
        " AND id IN (SELECT ",
        id!(),
        " FROM n)"
    ),
    concat!(
        numbers!(),
        "UPDATE credit_locks SET state = 'CAPTURED' WHERE client_id = ",
        client!(),
        " AND message_id IN (SELECT ",
        id!(),
        " FROM n)"
    ),
    concat!(
        numbers!(),
        "DELETE FROM timers WHERE (wake_at, client_id, message_id) IN (SELECT 1795613508335000 + i, ",
        client!(),
        ", ",
        id!(),
        " FROM n)"
    ),
    insert_event!(
        "4",
        concat!(
            "'message.delivered', 1795613479485000 + i, ",
            id!(),
            ", i * 4 - 1, 'DELIVERED', 'SENT', '+12025550100', '', 0, 1, 'simulator', 'sim-5cda7548-1000', 0, 'CAPTURE',
                0, -7500, '', 999999992500, 0"
        )
    ),
    "UPDATE provider_reports SET is_done = 1 WHERE id BETWEEN ?1 AND ?2",
    concat!(
        "UPDATE client_heads SET held = held - 7500 * (?2 - ?1 + 1), last_seq = last_seq + ?2 - ?1 WHERE client_id = ",
        client!()
    ),
];

struct Args {
    folder: PathBuf,
    batch: i64,
    messages: i64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::read()?;
    let accept = measure(&args, &[ACCEPT]).await?;
    let life = measure(&args, &[ACCEPT, CLAIM, OUTCOME, INBOX, APPLY]).await?;
    println!("{}", json!({ "batch": args.batch, "accept": accept, "life": life }));
    Ok(())
}

impl Args {
    fn read() -> Result<Self, String> {
        let mut args = Self { folder: ".".into(), batch: 100, messages: 50_000 };
        let mut words = std::env::args().skip(1);
        while let Some(name) = words.next() {
            let value = words.next().ok_or(format!("{name} needs a value"))?;
            let number =
                || value.parse().ok().filter(|number| *number > 0).ok_or(format!("{name} must be above 0"));
            match name.as_str() {
                "--folder" => args.folder = value.into(),
                "--batch" => args.batch = number()?,
                "--messages" => args.messages = number()?,
                _ => return Err(format!("{name} is not known")),
            }
        }
        Ok(args)
    }
}

/// Writes all messages through these transactions, in a new file.
async fn measure(args: &Args, transactions: &[&[&'static str]]) -> Result<Value, Box<dyn Error>> {
    let folder = tempfile::tempdir_in(&args.folder)?;
    let mut connection = open(&folder.path().join("bare.db")).await?;
    let begin = Instant::now();
    let mut rows = 0;
    let mut first = 1;
    while first <= args.messages {
        let last = (first + args.batch - 1).min(args.messages);
        for statements in transactions {
            rows += commit(&mut connection, statements, first, last).await?;
        }
        first = last + 1;
    }
    let seconds = begin.elapsed().as_secs_f64();
    Ok(json!({
        "messages": args.messages,
        "rows": rows,
        "messages_per_second": args.messages as f64 / seconds,
        "rows_per_second": rows as f64 / seconds,
    }))
}

/// The product's schema with one client, and a connection like the product's writer.
async fn open(path: &Path) -> Result<SqliteConnection, Box<dyn Error>> {
    let store = SqliteStore::open(path, Clock::Database).await?;
    store.migrate().await?;
    drop(store);
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("cache_size", "-65536")
        .pragma("temp_store", "memory");
    let mut connection = options.connect().await?;
    for statement in MAKE_CLIENT {
        sqlx::query(statement).execute(&mut connection).await?;
    }
    Ok(connection)
}

/// Answers how many rows were written.
async fn commit(
    connection: &mut SqliteConnection,
    statements: &[&'static str],
    first: i64,
    last: i64,
) -> Result<u64, sqlx::Error> {
    let mut rows = 0;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    for statement in statements {
        let done = sqlx::query(*statement).bind(first).bind(last).execute(&mut *connection).await?;
        rows += done.rows_affected();
    }
    sqlx::query("COMMIT").execute(connection).await?;
    Ok(rows)
}
