//! The store on SQLite.
//! For the embedded mode: one process, one file, nothing to install. Its twin with the same files is
//! `store-postgres`. No rules here: what is written was decided in `delivery`.

mod admin;
mod audit;
mod claim;
mod clock;
mod error;
mod inbox;
mod keys;
mod letters;
mod rows;
mod schema;
mod settings;
mod timers;
mod trail;
mod transaction;
mod view;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use delivery::port::StoreError;
use message::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection, SqlitePool};
use tokio::sync::{Mutex, OwnedMutexGuard};

pub use clock::Clock;
use clock::Ticker;
use error::{commit_error, store_error};

/// Readers at once.
const READERS: u32 = 4;
/// Page cache of the writer and of each reader, in KiB below zero (`PRAGMA cache_size`): together they bound what the
/// store keeps in memory. Pages that fall out come from the system's own cache.
const WRITER_CACHE: &str = "-16384";
const READER_CACHE: &str = "-4096";

/// A store in one SQLite file. Clones share it.
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

struct Shared {
    writer: Arc<Mutex<Writer>>,
    readers: SqlitePool,
    options: SqliteConnectOptions,
    ticker: Ticker,
    /// Held as long as the store is open: the in-process queue beside it assumes one process.
    _lock: File,
}

/// The one connection that writes.
struct Writer {
    connection: SqliteConnection,
    /// A transaction was begun and not ended: its owner was dropped, so it is rolled back.
    is_open: bool,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot open {path}")]
    File { path: String, source: std::io::Error },
    #[error("{0} is in use by another process")]
    InUse(String),
    #[error("SQLite refuses")]
    Sqlite(#[from] sqlx::Error),
}

impl SqliteStore {
    /// Opens the file, and makes it (mode 0600) if it is absent. Does not migrate.
    pub async fn open(path: &Path, clock: Clock) -> Result<Self, OpenError> {
        let lock = lock_file(path)?;
        let failed = |source| OpenError::File { path: path.display().to_string(), source };
        OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(failed)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit survives the loss of power.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5))
            .pragma("cache_size", WRITER_CACHE)
            .pragma("temp_store", "memory");
        let writer = Writer { connection: options.connect().await?, is_open: false };
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(options.clone().pragma("cache_size", READER_CACHE).pragma("query_only", "on"))
            .await?;
        let writer = Arc::new(Mutex::new(writer));
        let ticker = Ticker::new(clock);
        Ok(Self { shared: Arc::new(Shared { writer, readers, options, ticker, _lock: lock }) })
    }

    /// A write transaction: waits for its turn.
    async fn begin_write(&self) -> Result<Write, StoreError> {
        let mut writer = self.shared.writer.clone().lock_owned().await;
        writer.begin().await.map_err(store_error)?;
        Ok(Write { writer })
    }

    fn readers(&self) -> &SqlitePool {
        &self.shared.readers
    }

    /// The time as a reader sees it.
    async fn read_now(&self) -> Result<Timestamp, StoreError> {
        let mut connection = self.readers().acquire().await.map_err(store_error)?;
        self.shared.ticker.now(&mut connection).await.map_err(store_error)
    }
}

fn lock_file(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let failed = |source| OpenError::File { path: name.to_string_lossy().into_owned(), source };
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&name).map_err(failed)?;
    file.try_lock().map_err(|_| OpenError::InUse(path.display().to_string()))?;
    Ok(file)
}

impl Writer {
    async fn begin(&mut self) -> Result<(), sqlx::Error> {
        if self.is_open {
            sqlx::query("ROLLBACK").execute(&mut self.connection).await?;
            self.is_open = false;
        }
        // Marked before: a caller that is dropped in mid-statement leaves it to the next.
        self.is_open = true;
        let begun = sqlx::query("BEGIN IMMEDIATE").execute(&mut self.connection).await;
        self.is_open = begun.is_ok();
        begun.map(drop)
    }
}

/// An open write transaction. Dropped before its commit it leaves nothing.
struct Write {
    writer: OwnedMutexGuard<Writer>,
}

impl Write {
    fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.writer.connection
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        sqlx::query("COMMIT").execute(self.connection()).await.map_err(commit_error)?;
        self.writer.is_open = false;
        Ok(())
    }
}
