//! The store on PostgreSQL against what every store must satisfy. Needs a server: `make test` brings one.
#![allow(clippy::unwrap_used)]

mod bounds;
mod database;

use std::sync::Arc;

use conformance::{Bench, StoreFixture, TestClock};
use store_postgres::{Clock, PoolOptions, PostgresStore};

use database::Database;

struct PostgresFixture;

impl StoreFixture for PostgresFixture {
    async fn empty() -> Bench {
        let database = Database::create().await;
        let clock = TestClock::default();
        let node = async || {
            let clock = Clock::Fixed(clock.micros());
            let options = PoolOptions { max_connections: 8, ..PoolOptions::default() };
            PostgresStore::connect(&database.url, options, clock).await.expect("the database is there")
        };
        let (store, other) = (Arc::new(node().await), Arc::new(node().await));
        Bench::new(store, other, clock.clone(), database)
    }
}

conformance::store_suite!(PostgresFixture);
