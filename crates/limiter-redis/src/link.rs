//! The connection to Redis: one for all calls, given up when it fails and made again in the background.
//!
//! It comes from a pool and stays out of it: the pool makes it, within its limits, and tests it with a round trip whenever it is
//! handed out, which here is once and not at each call.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncConnectionConfig, RedisError, RedisResult};
use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::options::{Options, OptionsError};
use crate::script::Scripts;

/// How long making a connection may take: names are looked up, hands are shaken.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Calls that may wait to be written.
const WAITING: usize = 1_024;

/// A call was not answered: there is no connection, or it failed, or the time was up.
#[derive(Debug)]
pub(crate) struct Away;

pub(crate) struct Link {
    pool: Pool,
    call_limit: Duration,
    failures_max: u32,
    probe_gap: Duration,
    /// `None` = Redis is not used.
    live: watch::Sender<Option<Live>>,
}

/// Calls share it. An answer that comes too late finds nobody, and never another call.
#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    /// Each connection has its own, so that what an old one still owes is not held against the next.
    failures: Arc<Failures>,
}

/// Failures in a row. Calls that were under way together fail together, which counts once: one moment in which
/// nothing moved, here or there, is no reason to leave.
#[derive(Default)]
struct Failures {
    count: AtomicU32,
    last: Mutex<Option<Instant>>,
}

impl Failures {
    /// The failures in a row, with that of a call that began then.
    fn add(&self, began: Instant) -> u32 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| began < last) {
            return self.count.load(Ordering::Relaxed);
        }
        *last = Some(Instant::now());
        self.count.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn end(&self) {
        self.count.store(0, Ordering::Relaxed);
    }
}

impl Link {
    pub(crate) fn new(options: &Options) -> Result<Self, OptionsError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WAITING);
        let manager = Manager::new_with_config(options.url.as_str(), config).map_err(OptionsError::Url)?;
        let pool = Pool::builder(manager).max_size(1).runtime(Runtime::Tokio1);
        let pool = pool.create_timeout(Some(CONNECT_LIMIT)).build().map_err(OptionsError::Pool)?;
        Ok(Self {
            pool,
            call_limit: options.call_limit,
            failures_max: options.failures_max.get(),
            probe_gap: options.probe_gap,
            live: watch::Sender::default(),
        })
    }

    pub(crate) fn is_up(&self) -> bool {
        self.live.borrow().is_some()
    }

    /// Waits until Redis is used, or is not.
    pub(crate) async fn wait_until(&self, is_up: bool) {
        // The sender is this link's own, so it is there.
        let _ = self.live.subscribe().wait_for(|live| live.is_some() == is_up).await;
    }

    /// One call. While Redis is not used it fails at once.
    pub(crate) async fn call<T, F>(&self, call: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, Away>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let live = self.live.borrow().clone().ok_or(Away)?;
        let began = Instant::now();
        match timeout(self.call_limit, call(live.connection.clone())).await {
            Ok(Ok(answer)) => {
                live.failures.end();
                return Ok(answer);
            }
            Ok(Err(error)) => {
                self.count_failure(&live, began, error.is_io_error(), &cause(&error));
            }
            Err(_) => self.count_failure(&live, began, false, "no answer in time"),
        }
        Err(Away)
    }

    fn count_failure(&self, live: &Live, began: Instant, is_over: bool, cause: &str) {
        if live.failures.add(began) < self.failures_max && !is_over {
            return;
        }
        let is_given_up = self.live.send_if_modified(|current| {
            current.take_if(|current| Arc::ptr_eq(&current.failures, &live.failures)).is_some()
        });
        if is_given_up {
            tracing::warn!(cause, "Redis is not used for now: this node limits by itself");
            metrics::gauge!("herald_limiter_shared").set(0.0);
        }
    }

    /// Makes the first connection; whether it does or not, `keep` goes on from there.
    pub(crate) async fn open(&self, scripts: &Scripts) {
        if let Err(cause) = self.connect(scripts).await {
            tracing::warn!(cause, "Redis is not reached: this node limits by itself");
            metrics::gauge!("herald_limiter_shared").set(0.0);
        }
    }

    /// Brings the connection back whenever it was given up. Runs until it is dropped.
    pub(crate) async fn keep(&self, scripts: &Scripts) {
        loop {
            self.wait_until(false).await;
            loop {
                tokio::time::sleep(self.probe_gap).await;
                match self.connect(scripts).await {
                    Ok(()) => break,
                    Err(cause) => tracing::debug!(cause, "Redis is still away"),
                }
            }
        }
    }

    /// A connection is used once it has taken a write within the time limit of a call.
    async fn connect(&self, scripts: &Scripts) -> Result<(), String> {
        let made = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => cause(&error),
            error => error.to_string(),
        })?;
        // Not back into the pool: what was given up is closed.
        let connection = Connection::take(made);
        match timeout(self.call_limit, scripts.probe(connection.clone())).await {
            Ok(probed) => probed.map_err(|error| cause(&error))?,
            Err(_) => return Err("no answer in time".into()),
        }
        self.live.send_replace(Some(Live { connection, failures: Arc::default() }));
        tracing::info!("Redis is in use: limits are shared");
        metrics::gauge!("herald_limiter_shared").set(1.0);
        Ok(())
    }
}

/// What a log may say of an error: servers repeat the call in some, with its keys.
fn cause(error: &RedisError) -> String {
    if error.is_io_error() {
        return error.to_string();
    }
    error.code().unwrap_or_else(|| error.category()).to_owned()
}
