//! Nodes for one test, with a prefix of their own on the server that `HERALD_TEST_REDIS_URL` names.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use conformance::TestClock;
use conformance::limiter::{LimiterBench, LimiterFixture};
use conformance::shared_limiter::{SharedLimiterBench, SharedLimiterFixture};
use delivery::model::RememberedCall;
use delivery::port::{Admission, Admitted, Limiter};
use limiter_redis::{Clock, Options, RedisLimiter};
use message::id::ClientId;

const VARIABLE: &str = "HERALD_TEST_REDIS_URL";
/// How long a call may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct RedisFixture;

struct Bench {
    prefix: String,
    clock: TestClock,
    first: Arc<RedisLimiter>,
    nodes: Mutex<Vec<Arc<RedisLimiter>>>,
}

impl Bench {
    async fn new() -> Self {
        let (prefix, clock) = (prefix(), TestClock::default());
        let first = node(&prefix, &clock, 0).await;
        Self { prefix, clock, nodes: Mutex::new(vec![first.clone()]), first }
    }
}

impl LimiterFixture for RedisFixture {
    async fn fresh() -> Box<dyn LimiterBench> {
        Box::new(Bench::new().await)
    }
}

impl SharedLimiterFixture for RedisFixture {
    async fn shared() -> Box<dyn SharedLimiterBench> {
        Box::new(Bench::new().await)
    }
}

#[async_trait]
impl LimiterBench for Bench {
    fn limiter(&self) -> Arc<dyn Limiter> {
        self.first.clone()
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn settled(&self) {
        let nodes = self.nodes.lock().unwrap().clone();
        for node in nodes {
            node.settled().await;
        }
    }
}

#[async_trait]
impl SharedLimiterBench for Bench {
    async fn node(&self, log_epoch: u64) -> Arc<dyn Limiter> {
        let node = node(&self.prefix, &self.clock, log_epoch).await;
        self.nodes.lock().unwrap().push(node.clone());
        node
    }
}

async fn node(prefix: &str, clock: &TestClock, log_epoch: u64) -> Arc<RedisLimiter> {
    let options = Options {
        prefix: prefix.to_owned(),
        call_limit: PATIENCE,
        clock: Clock::Fixed(clock.micros()),
        ..Options::new(url(), log_epoch)
    };
    let node = RedisLimiter::start(&options, Arc::new(Unwanted)).await.unwrap();
    assert!(node.is_shared(), "the server of {VARIABLE} is reached");
    Arc::new(node)
}

/// While Redis is there, nobody else is asked.
struct Unwanted;

#[async_trait]
impl Limiter for Unwanted {
    async fn admit(&self, ask: &Admission<'_>) -> Admitted {
        panic!("the local limiter was asked: {ask:?}")
    }

    fn give_back(&self, _client: ClientId, parts: u32) {
        panic!("the local limiter got {parts} back")
    }

    fn remember(&self, _calls: &[RememberedCall], _lifetime: Duration) {}
}

pub(crate) fn url() -> String {
    let Ok(url) = std::env::var(VARIABLE) else {
        panic!("{VARIABLE} names no server: run `make test`, or set it to the URL of a Redis for tests")
    };
    url
}

pub(crate) fn prefix() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("test-{}-{nanos}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed))
}
