//! What partitions cost: accepts and claims a second through the store, on a database with so many weeks of partitions, or on
//! plain tables.
//!
//! Arguments: `URL WEEKS`, of an empty database; 0 weeks = plain tables. Prints JSON.

use std::sync::Arc;
use std::time::Instant;

use conformance::verbs::{self, LEASE};
use conformance::{Bench, TestClock, given};
use delivery::port::{AdminStore, Claim, Store};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store_postgres::{Clock, PoolOptions, PostgresStore};

const BATCH: usize = 100;
const ROUNDS: usize = 150;

/// The same tables, uncut.
const PLAIN: &str = "DO $$ DECLARE t text; BEGIN
    FOREACH t IN ARRAY ARRAY['messages', 'message_states', 'credit_locks', 'events', 'idempotency_keys'] LOOP
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', t || '_plain', t);
        EXECUTE format('DROP TABLE %I', t);
        EXECUTE format('ALTER TABLE %I RENAME TO %I', t || '_plain', t);
    END LOOP;
    ALTER TABLE message_states SET (fillfactor = 50);
END $$";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (url, weeks): (&str, i32) = (&args[0], args[1].parse()?);
    let store = PostgresStore::connect(url, PoolOptions::default(), Clock::Database).await?;
    store.migrate().await?;
    let mut admin = PgConnection::connect(url).await?;
    for week in 1..weeks {
        for (table, by_id) in
            [("messages", true), ("message_states", true), ("credit_locks", true), ("events", false)]
        {
            sqlx::raw_sql(AssertSqlSafe(older(table, by_id, week))).execute(&mut admin).await?;
        }
    }
    if weeks == 0 {
        sqlx::raw_sql(PLAIN).execute(&mut admin).await?;
    }
    let store: Arc<dyn Store> = Arc::new(store);
    let clock = TestClock::default();
    clock.set(store.now().await?);
    let bench = Bench::new(store.clone(), store, clock, ());
    let client = bench.client_with(1_000_000_000_000, |_| {}).await;
    // The plans are made once.
    let mut accept = 0.0;
    let mut claim = 0.0;
    for round in 0..=ROUNDS {
        let batch: Vec<_> = (0..BATCH)
            .map(|n| {
                given::submission(given::keyed(client, &format!("{round}-{n}"), "hello"), bench.entropy())
            })
            .collect();
        let begin = Instant::now();
        let keys: Vec<_> = bench.accept(&batch).await.iter().map(|message| message.record.key).collect();
        let accepted = begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        let taken = Claim { keys, provider: given::PROVIDER.into(), lease: LEASE };
        let claimed = bench.store.claim(&taken).await?;
        let elapsed = begin.elapsed().as_secs_f64();
        assert_eq!(claimed.len(), BATCH);
        let outcomes: Vec<_> =
            claimed.iter().map(|claimed| verbs::learned(claimed, verbs::rejected(true))).collect();
        bench.mover().apply(&outcomes).await?;
        if round > 0 {
            accept += accepted;
            claim += elapsed;
        }
    }
    let rows = (BATCH * ROUNDS) as f64;
    println!(
        "{}",
        json!({ "weeks": weeks, "accepts_per_second": rows / accept, "claims_per_second": rows / claim })
    );
    Ok(())
}

/// A partition of the past.
fn older(table: &str, by_id: bool, week: i32) -> String {
    let bound = |weeks: i32| {
        let at = format!("(floor(extract(epoch FROM now()) / 604800) - {weeks}) * 604800");
        match by_id {
            true => format!("(lpad(to_hex((({at}) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid"),
            false => format!("to_timestamp({at})"),
        }
    };
    format!(
        "CREATE TABLE {table}_older_{week} PARTITION OF {table} FOR VALUES FROM ({}) TO ({})",
        bound(week),
        bound(week - 1)
    )
}
