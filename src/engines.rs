//! The engines that a node works with, as its settings name them.

use std::sync::Arc;

use anyhow::Context;
use delivery::port::{Bell, Limiter, Queue, Store};
use memory::{MemoryBell, MemoryLimiter, MemoryQueue};
use store_postgres::PostgresStore;
use store_sqlite::SqliteStore;

use crate::config::{Config, StoreKind};

/// Ids that the in-process queue holds.
const QUEUE_CAPACITY: usize = 1_000_000;

/// All but the store.
#[derive(Clone)]
pub struct Engines {
    pub queue: Arc<dyn Queue>,
    pub bell: Arc<dyn Bell>,
    pub limiter: Arc<dyn Limiter>,
    /// Whether the queue can be reached.
    pub queue_is_up: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Opens the store that the settings name, without migrating it.
pub async fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match config.store()? {
        StoreKind::Sqlite(path) => Arc::new(
            SqliteStore::open(&path, store_sqlite::Clock::Database)
                .await
                .context("cannot open the SQLite store")?,
        ),
        StoreKind::Postgres(url) => {
            let options = store_postgres::PoolOptions {
                max_connections: config.store_connections,
                ..store_postgres::PoolOptions::default()
            };
            let store = PostgresStore::connect(url.expose(), options, store_postgres::Clock::Database)
                .await
                .context("cannot connect to PostgreSQL")?;
            Arc::new(store)
        }
    })
}

/// Opens the others.
pub fn open() -> Engines {
    Engines {
        queue: Arc::new(MemoryQueue::new(QUEUE_CAPACITY)),
        bell: Arc::new(MemoryBell::new()),
        limiter: Arc::new(MemoryLimiter::new()),
        queue_is_up: Arc::new(|| true),
    }
}
