//! The store on PostgreSQL.
//! For production: any number of nodes on one database, at READ COMMITTED. Its twin with the same files is
//! `store-sqlite`. No rules here: what is written was decided in `delivery`.

mod admin;
mod audit;
mod claim;
mod clock;
mod connection;
mod error;
mod inbox;
mod keys;
mod letters;
mod partitions;
mod rows;
mod schema;
mod servers;
mod settings;
mod spans;
mod timers;
mod trail;
mod transaction;
mod view;

use std::sync::Arc;
use std::time::Duration;

use delivery::port::StoreError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};
use tokio::time::{Instant, timeout};

pub use clock::Clock;
use clock::Ticker;
use connection::{Connection, Reader};
use error::store_error;
use partitions::Partitions;
use servers::Servers;

/// What every connection of the pool starts with.
const SETTINGS: [(&str, &str); 14] = [
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
    // Each row of a batch is asked for once: there is nothing to remember.
    ("enable_memoize", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
    // A worker takes longer to start than a row to read, but beside a large table it looks cheap.
    ("max_parallel_workers_per_gather", "0"),
];

/// Migrations wait for each other, and may take long.
pub(crate) const MIGRATION_SETTINGS: [(&str, &str); 2] = [("lock_timeout", "0"), ("statement_timeout", "0")];

/// An idle connection that is older is tested before it is used.
const TESTED_AFTER: Duration = Duration::from_secs(1);

/// With several servers: how long a connection is waited for before the primary is looked for again.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a caller who waits looks for a connection that has become free.
const GLANCE: Duration = Duration::from_millis(50);

/// A store in one PostgreSQL database. Clones share its connections.
///
/// Each verb ends within a bound, even if the server hangs: `acquire_timeout` for a connection, and `answer_timeout` for
/// the statement that gets no answer.
#[derive(Clone)]
pub struct PostgresStore {
    shared: Arc<Shared>,
}

struct Shared {
    pool: PgPool,
    servers: Servers,
    options: PoolOptions,
    ticker: Ticker,
    partitions: Partitions,
}

/// How a node uses its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Connections of this node at once.
    pub max_connections: u32,
    /// Made before the first verb, and kept: no more than `max_connections`.
    pub min_connections: u32,
    /// How long a verb waits for a connection before the store counts as unavailable.
    pub acquire_timeout: Duration,
    /// How long a statement may go without an answer: above 10 s, at which the server ends it with a better one.
    pub answer_timeout: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            max_connections: 16,
            min_connections: 4,
            acquire_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(12),
        }
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
    /// Connects to the database of the URL, which must exist, on the first of its servers that is the primary. Does
    /// not migrate.
    pub async fn connect(url: &str, options: PoolOptions, clock: Clock) -> Result<Self, OpenError> {
        let servers = Servers::new(servers::parse(url).map_err(OpenError::Url)?);
        servers.find(options.acquire_timeout).await.map_err(OpenError::Connect)?;
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .min_connections(options.min_connections.min(options.max_connections))
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
            .after_connect(|connection, _| Box::pin(servers::takes_writes(connection)))
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    // A server that restarted has left dead connections; one in constant use needs no test.
                    if meta.idle_for > TESTED_AFTER {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(pooled(servers.current()))
            .await
            .map_err(OpenError::Connect)?;
        let ticker = Ticker::new(clock);
        let partitions = Partitions::default();
        let store = Self { shared: Arc::new(Shared { pool, servers, options, ticker, partitions }) };
        store.warm_up(options).await.map_err(OpenError::Connect)?;
        Ok(store)
    }

    /// Opens the connections that are kept, all at once: the first callers of a cold pool would wait for each other's.
    async fn warm_up(&self, options: PoolOptions) -> Result<(), sqlx::Error> {
        let count = options.min_connections.min(options.max_connections);
        let opened = (0..count).map(|_| self.shared.pool.acquire());
        futures_util::future::try_join_all(opened).await.map(drop)
    }

    /// For one statement that reads.
    fn reader(&self) -> Reader<'_> {
        Reader(self)
    }

    /// A connection for statements that write: only what fails after this may have been committed.
    async fn writer(&self) -> Result<Connection, StoreError> {
        self.acquire().await.map_err(store_error)
    }

    async fn acquire(&self) -> Result<Connection, sqlx::Error> {
        let Shared { pool, servers, options, .. } = &*self.shared;
        let connection = |pooled| Connection::new(pooled, options.answer_timeout);
        if !servers.are_several() {
            return free_or_new(pool).await.map(connection);
        }
        // The pool goes on trying one server; it is led to another meanwhile.
        let deadline = Instant::now() + options.acquire_timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let cause = match timeout(PATIENCE.min(left), free_or_new(pool)).await {
                Ok(Ok(pooled)) => return Ok(connection(pooled)),
                Ok(Err(cause)) => cause,
                Err(_) => sqlx::Error::PoolTimedOut,
            };
            let is_late =
                timeout(deadline.saturating_duration_since(Instant::now()), servers.follow(pool)).await;
            if is_late.is_err() || Instant::now() >= deadline {
                return Err(cause);
            }
        }
    }

    /// A connection of its own, without the pool's settings and limits.
    async fn aside(&self, settings: [(&str, &str); 2]) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect_with(&self.shared.servers.current().options(settings)).await
    }
}

/// The pool lets each caller make a connection of its own while there is room. On a busy machine that may take longer than
/// another caller needs with one that is made: whichever comes first.
async fn free_or_new(pool: &PgPool) -> Result<PoolConnection<Postgres>, sqlx::Error> {
    let mut new = std::pin::pin!(pool.acquire());
    loop {
        match timeout(GLANCE, &mut new).await {
            Ok(made) => return made,
            Err(_) => {
                if let Some(free) = pool.try_acquire() {
                    return Ok(free);
                }
            }
        }
    }
}

fn pooled(server: PgConnectOptions) -> PgConnectOptions {
    server.options(SETTINGS)
}
