//! The store on PostgreSQL against what every store must satisfy. Needs a server: `make test` brings one.
#![allow(clippy::unwrap_used)]

mod bounds;
mod database;
mod fill;
mod network;
mod partitions;
mod plans;
mod proxy;

use std::sync::Arc;

use conformance::{Bench, StoreFixture, TestClock};
use store_postgres::{Clock, PoolOptions, PostgresStore};

use database::Database;

struct PostgresFixture;

impl StoreFixture for PostgresFixture {
    async fn empty() -> Bench {
        let database = Database::create().await;
        bench(&database.url.clone(), database).await
    }
}

/// Two nodes on the database of the URL.
async fn bench(url: &str, guard: Database) -> Bench {
    let clock = TestClock::default();
    let node = async || {
        let clock = Clock::Fixed(clock.micros());
        let options = PoolOptions { max_connections: 8, min_connections: 1, ..PoolOptions::default() };
        PostgresStore::connect(url, options, clock).await.expect("the database is there")
    };
    let (store, other) = (Arc::new(node().await), Arc::new(node().await));
    Bench::new(store, other, clock.clone(), guard)
}

conformance::store_suite!(PostgresFixture);
