//! The store on SQLite against what every store must satisfy.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use conformance::{Bench, StoreFixture, TestClock};
use store_sqlite::{Clock, SqliteStore};

struct SqliteFixture;

impl StoreFixture for SqliteFixture {
    async fn empty() -> Bench {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let clock = TestClock::default();
        let path = directory.path().join("herald.db");
        let store = SqliteStore::open(&path, Clock::Fixed(clock.micros())).await.expect("the file opens");
        // One process has the file, so its other node is a clone.
        let (store, other) = (Arc::new(store.clone()), Arc::new(store));
        Bench::new(store, other, clock, directory)
    }
}

conformance::store_suite!(SqliteFixture);
