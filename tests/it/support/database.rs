//! The database of one test.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use delivery::port::Store;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Executor};
use store_postgres::PostgresStore;
use store_sqlite::SqliteStore;

use super::mode::url_in;
use super::removal::remove;

/// A superuser's URL; each test makes its own database with it.
const POSTGRES_URL: &str = "HERALD_TEST_POSTGRES_URL";

/// An empty database of its own, removed on drop.
pub(crate) struct Database {
    url: String,
    /// On PostgreSQL: the superuser's URL and the name to drop.
    to_drop: Option<(String, String)>,
}

impl Database {
    pub(super) fn file_in(folder: &Path) -> Self {
        Self { url: format!("sqlite:{}", folder.join("herald.db").display()), to_drop: None }
    }

    pub(super) async fn on_postgres(name: String) -> Self {
        let server = url_in(POSTGRES_URL);
        run_as_superuser(&server, &format!("CREATE DATABASE {name}")).await.expect("a database is made");
        let (base, _) = server.rsplit_once('/').expect("the URL names a database");
        Self { url: format!("{base}/{name}"), to_drop: Some((server, name)) }
    }

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
            None => open_postgres(&self.url).await,
        }
    }
}

/// Opens the store beside its servers.
pub(super) async fn open_postgres(url: &str) -> Arc<dyn Store> {
    let (options, clock) = (store_postgres::PoolOptions::default(), store_postgres::Clock::Database);
    Arc::new(PostgresStore::connect(url, options, clock).await.expect("the store opens"))
}

async fn run_as_superuser(server: &str, statement: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnectOptions::from_str(server)?.connect().await?;
    connection.execute(sqlx::AssertSqlSafe(statement.to_owned())).await.map(drop)
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some((server, name)) = self.to_drop.take() {
            remove("database is", async move {
                let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                Ok(run_as_superuser(&server, &drop).await?)
            });
        }
    }
}
