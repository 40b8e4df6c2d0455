//! What a claim on a store is given: the store, twice, with a clock that the claim moves, and the ports around it.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use delivery::port::Store;
use delivery::timing::Timing;
use message::Timestamp;
use message::id::Entropy;

use crate::recorder::{RecordingBell, RecordingLimiter, RecordingQueue};

/// The time at which every clock of a test begins.
pub const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// How an adapter hands its stores to the suite.
pub trait StoreFixture: 'static {
    /// A store on a database of its own that has no schema yet.
    fn empty() -> impl Future<Output = Bench> + Send;

    /// The same, migrated.
    fn fresh() -> impl Future<Output = Bench> + Send {
        async {
            let bench = Self::empty().await;
            bench.store.migrate().await.expect("the schema is brought up to date");
            bench
        }
    }
}

/// A store to test, with all that a use case needs around it.
pub struct Bench {
    pub store: Arc<dyn Store>,
    /// The same database as another node of the installation sees it.
    pub other: Arc<dyn Store>,
    pub clock: TestClock,
    pub queue: Arc<RecordingQueue>,
    pub bell: Arc<RecordingBell>,
    pub limiter: Arc<RecordingLimiter>,
    pub timing: Arc<Timing>,
    drawn: AtomicU64,
    /// Dropped last: it takes the database away.
    _guard: Box<dyn Any + Send + Sync>,
}

impl Bench {
    /// `store` and `other` share one database, which `guard` removes, and take their time from `clock`.
    pub fn new(
        store: Arc<dyn Store>,
        other: Arc<dyn Store>,
        clock: TestClock,
        guard: impl Any + Send + Sync,
    ) -> Self {
        Self {
            store,
            other,
            clock,
            queue: Arc::default(),
            bell: Arc::default(),
            limiter: Arc::default(),
            timing: Arc::default(),
            drawn: AtomicU64::new(0),
            _guard: Box::new(guard),
        }
    }

    /// Different at each call, and the same in each run.
    pub fn entropy(&self) -> Entropy {
        let mut bytes = [0; 10];
        bytes[2..].copy_from_slice(&self.drawn.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Entropy(bytes)
    }
}

/// A clock that stands still until it is moved. Clones share it.
#[derive(Clone, Debug)]
pub struct TestClock(Arc<AtomicI64>);

impl Default for TestClock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(START.as_micros())))
    }
}

impl TestClock {
    /// Microseconds since the Unix epoch, as stores take it.
    pub fn micros(&self) -> Arc<AtomicI64> {
        self.0.clone()
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }

    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }

    pub fn advance(&self, by: Duration) {
        self.set(self.now() + by);
    }
}
