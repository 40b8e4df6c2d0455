//! Lists read no more rows than they must, whatever the tables hold, and whenever their plans were made.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};

use delivery::port::{
    AdminStore, AuditFilter, AuditStore, ClientFilter, DeadLetterFilter, MessageFilter, TransactionFilter,
    ViewStore,
};
use message::Timestamp;
use message::id::{AuditEntryId, ClientId, Entropy, MessageId};
use message::status::Status;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store_postgres::{Clock, PoolOptions, PostgresStore};

use crate::database::Database;

/// Rows of each table.
const ROWS: i64 = 10_000;
const LIMIT: i64 = 10;
const SCAN: i64 = 100;
/// Verbs that [`read`] calls.
const VERBS: i64 = 12;

#[tokio::test]
async fn no_list_reads_more_than_its_window() {
    let database = Database::create().await;
    let mut admin = PgConnection::connect(&database.url).await.unwrap();
    let young = open(&database).await;
    young.migrate().await.unwrap();
    // Its plans are made now, for empty tables.
    read(&young, false).await;
    run(&database, &filling()).await;
    let before = rows_read(&mut admin, 1).await;
    read(&young, true).await;
    drop(young);
    check(rows_read(&mut admin, 0).await - before, "with plans that are as old as the tables");

    run(&database, &["ANALYZE".into()]).await;
    let before = rows_read(&mut admin, 0).await;
    let fresh = open(&database).await;
    read(&fresh, true).await;
    drop(fresh);
    check(rows_read(&mut admin, 0).await - before, "with plans for full tables");
}

/// Each row of a window may count several times: as one of an index, of its table, and of a table that is joined.
fn check(read: i64, when: &str) {
    assert!(read >= SCAN, "{read} rows {when}: they were not counted");
    assert!(read <= VERBS * SCAN * 3, "{read} rows {when}");
}

async fn open(database: &Database) -> PostgresStore {
    let options = PoolOptions { max_connections: 1, ..PoolOptions::default() };
    // The rows are of 1970.
    let clock = Clock::Fixed(Arc::new(AtomicI64::new(at(ROWS).as_micros())));
    PostgresStore::connect(&database.url, options, clock).await.unwrap()
}

/// Every list once: with a filter that shows nothing, or with one that fills the page early in a large window.
async fn read(store: &PostgresStore, is_filled: bool) {
    let client = ClientId::from_uuid(*message(1).as_uuid());
    let (from, end) = (at(ROWS / 4), at(ROWS / 2));
    let failed = MessageFilter { statuses: vec![Status::FailedPerm], ..MessageFilter::default() };
    let page = store.messages(client, &failed, None, LIMIT, SCAN).await.unwrap();
    assert_eq!((page.items.len(), page.scanned_to), (0, is_filled.then(|| message(ROWS - SCAN + 1))));
    let span =
        MessageFilter { created_from: Some(from), created_before: Some(end), ..MessageFilter::default() };
    let page = store.messages(client, &span, None, LIMIT, ROWS).await.unwrap();
    assert_eq!(page.items.first().map(|found| found.record.key.id), is_filled.then(|| message(ROWS / 2 - 1)));
    let named = ClientFilter { name_prefix: "nobody".into(), ..ClientFilter::default() };
    assert_eq!(store.clients(&named, None, LIMIT, SCAN).await.unwrap().scanned_to.is_some(), is_filled);
    let old = DeadLetterFilter {
        ended_from: Some(from),
        ended_before: Some(end),
        provider: "none".into(),
        ..DeadLetterFilter::default()
    };
    assert_eq!(store.dead_letters(&old, None, LIMIT, SCAN).await.unwrap().scanned_to.is_some(), is_filled);
    let page = store.unmatched_reports("none", None, LIMIT, SCAN).await.unwrap();
    assert_eq!(page.scanned_to.is_some(), is_filled);
    let done = AuditFilter { action: "none".into(), ..AuditFilter::default() };
    assert_eq!(store.audit_entries(&done, None, LIMIT, SCAN).await.unwrap().scanned_to.is_some(), is_filled);
    let half = Some(AuditEntryId::from_uuid(*message(ROWS / 2).as_uuid()));
    let all = AuditFilter::default();
    let found = store.audit_entries(&all, half, LIMIT, ROWS).await.unwrap().items.len();
    assert_eq!(found > 0, is_filled);
    assert_eq!(store.old_audit_entries(end, LIMIT).await.unwrap().is_empty(), !is_filled);
    let after = Some(message(ROWS / 4));
    assert_eq!(store.old_messages(client, end, after, LIMIT).await.unwrap().is_empty(), !is_filled);
    assert_eq!(store.totals(client, ROWS - SCAN, ROWS).await.unwrap().is_empty(), !is_filled);
    let late = TransactionFilter { from_seq: ROWS - SCAN, ..TransactionFilter::default() };
    assert_eq!(store.transactions(client, &late, ROWS, ROWS).await.unwrap().is_empty(), !is_filled);
    assert_eq!(store.api_keys(Some(client), "k", LIMIT).await.unwrap().is_empty(), !is_filled);
}

/// The time of row `n`: each has a millisecond of its own.
fn at(n: i64) -> Timestamp {
    Timestamp::from_micros(n * 1_000)
}

fn message(n: i64) -> MessageId {
    MessageId::new(at(n), Entropy([0; 10]))
}

/// Rows 1 to ROWS of each table that is listed; all that can be one client's is the first's.
fn filling() -> Vec<String> {
    let key = "(lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid";
    let first = "'00000000-0001-7000-8000-000000000000'::uuid";
    let at = "to_timestamp(n / 1000.0)";
    [
        (
            "clients",
            format!(
                "{key}, 'client', 'ACTIVE', '', 'USD', true, 'DELIVERED', 'CAPTURE', 1, 'WAIT', 1, 0, 0, '', 1, 0, {at}, 1"
            ),
        ),
        ("client_heads", format!("{key}, 0, 0, {ROWS}, 1")),
        ("api_keys", format!("'k' || n, {first}, '', 'SEND', '', '', {at}, NULL, NULL, NULL, ''")),
        ("audit_entries", format!("{key}, {at}, '', NULL, '', '', '', '', '', ''")),
        (
            "messages",
            format!(
                "{first}, {key}, '+12025550100', '', 'hello', NULL, 'GSM7', 16, 1, 1, 'USD', '', '{{}}', 'WAIT', '', \
                 false, 'NORMAL', false, 'TRANSACTIONAL', NULL, NULL, {at}, {at}"
            ),
        ),
        (
            "message_states",
            format!(
                "{first}, {key}, 'DELIVERED', {at}, 1, 1, NULL, NULL, NULL, '', '[]', NULL, NULL, NULL, 'D', false, 1"
            ),
        ),
        ("credit_locks", format!("{first}, {key}, 1, 'CAPTURED'")),
        (
            "events (client_id, seq, kind, at, previous_seq, transaction_kind, available_delta, held_delta, note, \
             available_after, held_after)",
            format!("{first}, n, 'credit.topped_up', {at}, 0, 'TOP_UP', 1, 0, '', n, 0"),
        ),
        (
            "provider_reports (provider, reference, state, part, done_date, stored_at)",
            format!("'p', 'r' || n, 'DELIVERED', 0, '', {at}"),
        ),
        ("pending_reports", "n".to_owned()),
        ("dead_letters", format!("{first}, {key}, 'p', 'PROVIDER_REJECTED', '', '', false, {at}, NULL")),
    ]
    .map(|(table, columns)| format!("INSERT INTO {table} SELECT {columns} FROM generate_series(1, {ROWS}) AS n"))
    .into()
}

/// In a session of its own.
async fn run(database: &Database, statements: &[String]) {
    let mut session = PgConnection::connect(&database.url).await.unwrap();
    for sql in statements {
        sqlx::query(AssertSqlSafe(sql.as_str())).execute(&mut session).await.unwrap();
    }
    session.close().await.unwrap();
}

/// Rows that sessions have read in all, once no more than `open` others are there: since PostgreSQL 15, one leaves its
/// count before it is gone.
async fn rows_read(admin: &mut PgConnection, open: i64) -> i64 {
    let deadline = Instant::now() + Duration::from_secs(30);
    let others = "SELECT COUNT(*) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    while sqlx::query_scalar::<_, i64>(others).fetch_one(&mut *admin).await.unwrap() > open {
        assert!(Instant::now() < deadline, "a session has not ended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let read = "SELECT ((SELECT SUM(seq_tup_read + COALESCE(idx_tup_fetch, 0)) FROM pg_stat_user_tables)
        + (SELECT SUM(idx_tup_read) FROM pg_stat_user_indexes))::bigint";
    sqlx::query_scalar(read).fetch_one(admin).await.unwrap()
}
