//! The store on PostgreSQL.
//! For production: any number of nodes on one database, at READ COMMITTED. Its twin with the same files is
//! `store-sqlite`. No rules here: what is written was decided in `delivery`.

mod admin;
mod audit;
mod claim;
mod clock;
mod error;
mod inbox;
mod keys;
mod letters;
mod rows;
mod timers;
mod trail;
mod transaction;
mod view;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use delivery::port::StoreError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool, Postgres};

pub use clock::Clock;
use clock::Ticker;
use error::store_error;

/// What every connection of the pool starts with.
const SETTINGS: [(&str, &str); 12] = [
    ("default_transaction_isolation", "read committed"),
    // A commit survives the loss of power.
    ("synchronous_commit", "on"),
    ("lock_timeout", "2s"),
    ("statement_timeout", "10s"),
    // A node that stops in mid-transaction must not hold a client's lock for long.
    ("idle_in_transaction_session_timeout", "5s"),
    // Every statement finds its rows by key, one after the other. A plan that was made while the tables were young
    // must not read them whole once they have grown.
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_material", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
];

/// Migrations wait for each other, and may take long.
const MIGRATION_SETTINGS: [(&str, &str); 2] = [("lock_timeout", "0"), ("statement_timeout", "0")];

/// An idle connection that is older is tested before it is used.
const TESTED_AFTER: Duration = Duration::from_secs(1);

/// A store in one PostgreSQL database. Clones share its connections.
#[derive(Clone)]
pub struct PostgresStore {
    shared: Arc<Shared>,
}

struct Shared {
    pool: PgPool,
    /// Without the pool's settings.
    options: PgConnectOptions,
    ticker: Ticker,
}

/// How a node uses its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Connections of this node at once.
    pub max_connections: u32,
    /// How long a verb waits for a connection before the store counts as unavailable.
    pub acquire_timeout: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self { max_connections: 16, acquire_timeout: Duration::from_secs(5) }
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the URL of the database is malformed")]
    Url(#[source] sqlx::Error),
    #[error("PostgreSQL cannot be reached")]
    Connect(#[source] sqlx::Error),
}

impl PostgresStore {
    /// Connects to the database of the URL, which must exist. Does not migrate.
    pub async fn connect(url: &str, options: PoolOptions, clock: Clock) -> Result<Self, OpenError> {
        let server = PgConnectOptions::from_str(url).map_err(OpenError::Url)?.application_name("herald");
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    // A server that restarted has left dead connections; one in constant use needs no test.
                    if meta.idle_for > TESTED_AFTER {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(server.clone().options(SETTINGS))
            .await;
        let pool = match pool {
            Ok(pool) => pool,
            Err(error) => return Err(OpenError::Connect(reason(error, &server, options).await)),
        };
        let ticker = Ticker::new(clock);
        Ok(Self { shared: Arc::new(Shared { pool, options: server, ticker }) })
    }

    fn pool(&self) -> &PgPool {
        &self.shared.pool
    }

    /// A connection for one statement that writes: only what fails after this may have been committed.
    async fn writer(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        self.pool().acquire().await.map_err(store_error)
    }
}

/// The pool retries a refused connection, and says in the end only that it waited in vain: asks once more for the cause.
async fn reason(error: sqlx::Error, server: &PgConnectOptions, options: PoolOptions) -> sqlx::Error {
    if !matches!(error, sqlx::Error::PoolTimedOut) {
        return error;
    }
    match tokio::time::timeout(options.acquire_timeout, server.connect()).await {
        Ok(Err(cause)) => cause,
        _ => error,
    }
}
