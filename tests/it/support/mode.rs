//! The two stores that every story runs on.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use delivery::port::Store;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Executor};
use store_postgres::PostgresStore;
use store_sqlite::SqliteStore;

/// A superuser's URL; each test makes its own database with it.
const POSTGRES_URL: &str = "HERALD_TEST_POSTGRES_URL";

/// Which store the server under test has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Sqlite,
    Postgres,
}

/// Makes two tests of each story, `STORY::on_sqlite` and `STORY::on_postgres`.
macro_rules! on_both_stores {
    ($($story:ident,)+) => {$(
        mod $story {
            use $crate::support::Mode;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                super::$story(Mode::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                super::$story(Mode::Postgres).await;
            }
        }
    )+};
}
pub(crate) use on_both_stores;

/// An empty database of its own, removed on drop.
pub(crate) struct Database {
    url: String,
    /// On PostgreSQL: the superuser's URL and the name to drop.
    to_drop: Option<(String, String)>,
}

impl Mode {
    /// Makes the database; a SQLite file lies in `folder`.
    pub(crate) async fn database(self, folder: &Path) -> Database {
        match self {
            Self::Sqlite => {
                Database { url: format!("sqlite:{}", folder.join("herald.db").display()), to_drop: None }
            }
            Self::Postgres => postgres_database().await,
        }
    }
}

async fn postgres_database() -> Database {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = std::env::var(POSTGRES_URL).unwrap_or_else(|_| {
        panic!("{POSTGRES_URL} is not set: run `make test`, which provides a PostgreSQL")
    });
    let name = format!("herald_it_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    run_as_superuser(&server, &format!("CREATE DATABASE {name}")).await.expect("a database is made");
    let (base, _) = server.rsplit_once('/').expect("the URL names a database");
    Database { url: format!("{base}/{name}"), to_drop: Some((server, name)) }
}

async fn run_as_superuser(server: &str, statement: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnectOptions::from_str(server)?.connect().await?;
    connection.execute(sqlx::AssertSqlSafe(statement.to_owned())).await.map(drop)
}

impl Database {
    /// As the server's `store_url` setting takes it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Opens the store beside, or after, the server. A SQLite store has one process at a time.
    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        match self.url.strip_prefix("sqlite:") {
            Some(path) => Arc::new(
                SqliteStore::open(Path::new(path), store_sqlite::Clock::Database)
                    .await
                    .expect("the store opens"),
            ),
            None => Arc::new(
                PostgresStore::connect(
                    &self.url,
                    store_postgres::PoolOptions::default(),
                    store_postgres::Clock::Database,
                )
                .await
                .expect("the store opens"),
            ),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some((server, name)) = self.to_drop.take() else { return };
        // A thread of its own: the test's runtime may be on its way out.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime
                .block_on(run_as_superuser(&server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")))
                .map_err(std::io::Error::other)
        });
        if let Ok(Err(error)) = dropped.join() {
            eprintln!("a test's database was not dropped: {error}");
        }
    }
}
