//! A database for one test, on the server that `HERALD_TEST_POSTGRES_URL` names.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

const VARIABLE: &str = "HERALD_TEST_POSTGRES_URL";

/// Dropped with the test.
pub(crate) struct Database {
    pub(crate) url: String,
    name: String,
}

impl Database {
    pub(crate) async fn create() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let server = server();
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let nanos =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
        let name = format!("herald_test_{}_{number}_{nanos}", std::process::id());
        run(&server, &format!("CREATE DATABASE {name}")).await.expect("a superuser makes databases");
        let url = server.database(&name).to_url_lossy().to_string();
        Self { url, name }
    }
}

impl Drop for Database {
    /// A runtime of its own, on its own thread: the test's is on its way out.
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let dropper = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(run(&server(), &drop)))
        });
        // What could not be dropped goes with the server, which is a test's too.
        let _ = dropper.join();
    }
}

fn server() -> PgConnectOptions {
    let Ok(url) = std::env::var(VARIABLE) else {
        panic!(
            "{VARIABLE} names no server: run `make test`, or set it to a superuser's URL of a PostgreSQL for tests"
        )
    };
    url.parse().expect("it is a URL")
}

async fn run(server: &PgConnectOptions, sql: &str) -> Result<(), sqlx::Error> {
    let mut connection: PgConnection = server.connect().await?;
    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await?;
    connection.close().await
}
