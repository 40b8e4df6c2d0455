//! The database's time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use message::Timestamp;
use sqlx::SqliteConnection;

/// Where a store takes its time from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The database's own clock.
    #[default]
    Database,
    /// A test's: microseconds since the Unix epoch.
    Fixed(Arc<AtomicI64>),
}

/// A clock that never goes back.
#[derive(Debug, Default)]
pub(crate) struct Ticker {
    clock: Clock,
    newest: AtomicI64,
}

impl Ticker {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, newest: AtomicI64::new(0) }
    }

    pub(crate) async fn now(&self, connection: &mut SqliteConnection) -> Result<Timestamp, sqlx::Error> {
        let read = match &self.clock {
            Clock::Fixed(micros) => micros.load(Ordering::SeqCst),
            Clock::Database => {
                // SQLite tells milliseconds.
                sqlx::query_scalar("-- now\nSELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000")
                    .fetch_one(connection)
                    .await?
            }
        };
        let newest = self.newest.fetch_max(read, Ordering::SeqCst);
        Ok(Timestamp::from_micros(read.max(newest)))
    }
}
