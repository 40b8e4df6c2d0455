//! Partitions: there when they are needed, gone when nothing is left in them.

use std::sync::Arc;
use std::time::Duration;

use conformance::verbs::ALL;
use conformance::{Bench, StoreFixture, given};
use delivery::port::{Checkpoint, PurgeLimits};
use message::id::ClientId;
use message::report::ReportState;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::database::Database;
use crate::{PostgresFixture, bench};

const DAY: Duration = Duration::from_secs(24 * 3_600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

async fn migrated() -> (Bench, PgConnection) {
    let database = Database::create().await;
    let admin = PgConnection::connect(&database.url).await.unwrap();
    let bench = bench(&database.url.clone(), database).await;
    bench.store.migrate().await.unwrap();
    (bench, admin)
}

/// Attached to the table, oldest first.
async fn partitions(admin: &mut PgConnection, table: &str) -> Vec<String> {
    let sql = "SELECT c.relname::text FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = $1::regclass ORDER BY c.relname";
    sqlx::query_scalar(sql).bind(table).fetch_all(admin).await.unwrap()
}

async fn housekeep(bench: &Bench) {
    let now = bench.clock.now();
    bench
        .store
        .purge(&PurgeLimits { reports_before: now - DAY * 3, refs_before: now - WEEK * 2 }, ALL)
        .await
        .unwrap();
}

#[tokio::test]
async fn partitions_are_made_two_spans_ahead() {
    for (table, span) in [
        ("messages", WEEK),
        ("message_states", WEEK),
        ("credit_locks", WEEK),
        ("events", WEEK),
        ("idempotency_keys", DAY),
    ] {
        let (bench, mut admin) = migrated().await;
        let first = partitions(&mut admin, table).await;
        assert_eq!(first.len(), 3, "{first:?}");
        bench.clock.advance(span);
        housekeep(&bench).await;
        let then = partitions(&mut admin, table).await;
        assert!(then.contains(&first[2]) && then.last() > first.last(), "{first:?}, {then:?}");
    }
}

/// No sweeper has run for ten weeks, and two nodes begin to send at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_not_made_ahead_is_made_by_whoever_writes_first() {
    let (bench, mut admin) = migrated().await;
    let client = bench.client().await;
    bench.clock.advance(WEEK * 10);
    let callers: Vec<_> = (0..8)
        .map(|n| {
            let store = if n % 2 == 0 { bench.store.clone() } else { bench.other.clone() };
            let (timing, entropy) = (bench.timing.clone(), bench.entropy());
            tokio::spawn(async move {
                let batch = [given::submission(given::keyed(client, &n.to_string(), "hello"), entropy)];
                conformance::verbs::accept(store.as_ref(), &timing, &batch).await.map(drop)
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(bench.messages(client).await.len(), 8);
    assert_eq!(partitions(&mut admin, "messages").await.len(), 4);
    bench.assert_sound(client).await;
}

#[tokio::test]
async fn a_partition_that_is_gone_is_made_again_at_the_next_try() {
    let (bench, mut admin) = migrated().await;
    let client = bench.client().await;
    for table in ["idempotency_keys", "messages", "message_states", "credit_locks"] {
        for name in partitions(&mut admin, table).await {
            sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {name}"))).execute(&mut admin).await.unwrap();
        }
    }
    let batch = [given::submission(given::keyed(client, "key", "hello"), bench.entropy())];
    conformance::verbs::retried(|| conformance::verbs::accept(bench.store.as_ref(), &bench.timing, &batch))
        .await;
    assert_eq!(bench.messages(client).await.len(), 1);
    bench.assert_sound(client).await;
}

#[tokio::test]
async fn the_keys_of_a_day_go_when_the_last_has_lived_its_time() {
    let (bench, mut admin) = migrated().await;
    for _ in 0..5 {
        housekeep(&bench).await;
        // Yesterday's, today's, and two to come.
        let left = partitions(&mut admin, "idempotency_keys").await;
        assert!(left.len() <= 4, "{left:?}");
        bench.clock.advance(DAY);
    }
}

#[tokio::test]
async fn events_go_by_the_week_once_all_clients_have_trimmed_them() {
    let (bench, mut admin) = migrated().await;
    let clients = [bench.client().await, bench.client().await];
    let first = partitions(&mut admin, "events").await;
    bench.clock.advance(WEEK * 3);
    for client in clients {
        bench.top_up(client, 1, "later").await;
    }
    housekeep(&bench).await;
    assert!(partitions(&mut admin, "events").await.starts_with(&first), "nothing is trimmed");
    for (n, client) in clients.into_iter().enumerate() {
        let before = bench.events(client).await;
        trim(&bench, client, 1).await;
        assert_eq!(bench.events(client).await, before[1..], "they are gone for readers at once");
        housekeep(&bench).await;
        let left = partitions(&mut admin, "events").await;
        assert_eq!(left.contains(&first[0]), n == 0, "with the last client's: {left:?}");
        bench.assert_sound(client).await;
    }
    let left = partitions(&mut admin, "events").await;
    assert!(!left.contains(&first[1]), "an empty one goes too: {left:?}");
}

async fn checkpoint(bench: &Bench, client: ClientId) {
    let head = bench.head(client).await;
    let checkpoint =
        Checkpoint { seq: head.last_seq, available: head.balance.available(), held: head.balance.held() };
    bench.store.write_checkpoint(client, checkpoint).await.unwrap();
}

async fn trim(bench: &Bench, client: ClientId, through: i64) {
    checkpoint(bench, client).await;
    assert_eq!(bench.store.trim_events(client, through).await.unwrap(), through + 1);
}

#[tokio::test]
async fn the_messages_of_a_week_go_when_the_last_is_removed() {
    let (bench, mut admin) = migrated().await;
    let client = bench.client().await;
    let keys = [bench.sent(client, "ref-1").await, bench.sent(client, "ref-2").await];
    let reports = ["ref-1", "ref-2"].map(|reference| given::report(reference, ReportState::Delivered));
    bench.store_reports(&reports).await;
    bench.apply_reports().await;
    let first = partitions(&mut admin, "messages").await;
    bench.clock.advance(WEEK * 2);
    checkpoint(&bench, client).await;
    for (n, key) in keys.iter().enumerate() {
        housekeep(&bench).await;
        for table in ["messages", "message_states", "credit_locks"] {
            let suffix = first[0].rsplit_once('_').unwrap().1;
            let left = partitions(&mut admin, table).await;
            assert!(left.contains(&format!("{table}_{suffix}")), "{n} of 2 are removed: {left:?}");
        }
        assert_eq!(bench.store.remove_messages(client, &[key.id]).await.unwrap(), 1);
    }
    housekeep(&bench).await;
    for table in ["messages", "message_states", "credit_locks"] {
        let left = partitions(&mut admin, table).await;
        assert!(left.iter().all(|name| !name.ends_with(first[0].rsplit_once('_').unwrap().1)), "{left:?}");
    }
    bench.assert_sound(client).await;
}

/// While a reader holds the table, as a backup does: the drop waits no longer than its limit, and nobody waits behind it.
#[tokio::test]
async fn a_drop_holds_nobody_up_and_is_finished_later() {
    let (bench, mut admin) = migrated().await;
    let client = bench.client().await;
    let first = partitions(&mut admin, "events").await;
    bench.clock.advance(WEEK * 3);
    bench.top_up(client, 1, "later").await;
    trim(&bench, client, 1).await;
    let mut reader = admin.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE events IN ACCESS SHARE MODE").execute(&mut *reader).await.unwrap();
    let limits =
        PurgeLimits { reports_before: bench.clock.now() - WEEK, refs_before: bench.clock.now() - WEEK };
    let cut_off = bench.store.purge(&limits, ALL).await;
    assert!(cut_off.is_err(), "{cut_off:?}");
    bench.top_up(client, 1, "meanwhile").await;
    assert_eq!(bench.events(client).await.len(), 2);
    reader.rollback().await.unwrap();
    housekeep(&bench).await;
    let left = partitions(&mut admin, "events").await;
    assert!(!left.contains(&first[0]), "{left:?}");
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(&first[0])
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert!(!is_there, "it is no table of its own either");
    bench.assert_sound(client).await;
}

/// A server whose clock is behind takes over, just as a week has begun.
#[tokio::test]
async fn no_event_is_missed_after_the_clock_has_gone_back() {
    let fixture = PostgresFixture::fresh().await;
    let client = fixture.client().await;
    fixture.clock.advance(WEEK);
    fixture.top_up(client, 1, "new week").await;
    // A node that has not seen the later time.
    fixture.clock.set(fixture.clock.now() - WEEK);
    let other = Arc::clone(&fixture.other);
    let batch = [given::submission(given::prepared(client), fixture.entropy())];
    conformance::verbs::accept(other.as_ref(), &fixture.timing, &batch).await.unwrap();
    let seqs: Vec<i64> =
        other.events(client, 2, ALL).await.unwrap().events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, [3]);
    assert_eq!(fixture.events(client).await.len(), 3);
}
