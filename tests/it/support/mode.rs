//! The two modes that every story runs in.

use std::path::Path;

use super::database::Database;
use super::streams::Streams;

/// A server's URL; each test has its own prefix there.
const REDIS_URL: &str = "HERALD_TEST_REDIS_URL";

/// What the server under test works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// SQLite, and the rest in the process.
    Embedded,
    /// PostgreSQL, NATS and Redis.
    Engines,
}

/// Makes two tests of each story, `STORY::embedded` and `STORY::on_engines`.
macro_rules! in_both_modes {
    ($($story:ident,)+) => {$(
        mod $story {
            use $crate::support::Mode;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn embedded() {
                super::$story(Mode::Embedded).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_engines() {
                super::$story(Mode::Engines).await;
            }
        }
    )+};
}
pub(crate) use in_both_modes;

/// What one test's server keeps outside its process: empty at first, removed on drop.
pub(crate) struct Backing {
    pub(crate) database: Database,
    engines: Option<Engines>,
}

/// One test's part of the servers that all tests share.
struct Engines {
    streams: Streams,
    redis: String,
    /// Of streams, subjects and keys; and the name of the database.
    prefix: String,
}

impl Mode {
    /// A SQLite file lies in `folder`.
    pub(crate) async fn backing(self, folder: &Path) -> Backing {
        match self {
            Self::Embedded => Backing { database: Database::file_in(folder), engines: None },
            Self::Engines => {
                // Whoever finds such a name after the tests may remove what has it.
                let prefix = format!("herald_it_{:016x}", rand::random::<u64>());
                let database = Database::on_postgres(prefix.clone()).await;
                let streams = Streams::called(&prefix);
                Backing { database, engines: Some(Engines { streams, redis: url_in(REDIS_URL), prefix }) }
            }
        }
    }
}

impl Backing {
    /// By the names of their environment variables.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&'static str, String)> {
        let store = ("HERALD_STORE_URL", self.database.url().to_owned());
        std::iter::once(store).chain(self.engines.iter().flat_map(Engines::settings))
    }
}

#[cfg(feature = "faults")]
impl Backing {
    /// What waits in NATS is gone.
    pub(crate) async fn lose_streams(&self) {
        self.engines.as_ref().expect("the server has engines").streams.lose().await;
    }
}

impl Engines {
    fn settings(&self) -> [(&'static str, String); 5] {
        [
            ("HERALD_QUEUE__URL", self.streams.url().to_owned()),
            ("HERALD_QUEUE__PREFIX", self.prefix.clone()),
            ("HERALD_REDIS__URL", self.redis.clone()),
            ("HERALD_REDIS__PREFIX", self.prefix.clone()),
            // A machine that is busy with other tests must not take Redis for gone.
            ("HERALD_REDIS__TIMEOUT_MS", "1000".to_owned()),
        ]
    }
}

/// The URL that an environment variable names.
pub(super) fn url_in(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run `make test`, which provides the server"))
}
