//! Redis stopped, hung, emptied and brought back: the node's own limiter takes its place and makes room again.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::model::{IdempotencyKey, KeyKind, Made, RememberedCall};
use delivery::port::{Admission, Admitted, Limiter, Rate};
use limiter_redis::{Options, RedisLimiter};
use memory::MemoryLimiter;
use message::Timestamp;
use message::fingerprint::Fingerprint;
use message::id::{ClientId, Entropy, MessageId};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::bench::PATIENCE;
use crate::server::Server;

/// Long enough for an answer on a busy machine, short enough to be waited for when none comes.
const CALL_LIMIT: Duration = Duration::from_secs(1);
const FAILURES_MAX: u32 = 3;
const BURST: u32 = 100;

#[tokio::test]
async fn without_redis_each_node_allows_its_share_and_that_is_counted() {
    let metrics = Metrics::here();
    let mut server = Server::started().await;
    let nodes = [node(&server).await, node(&server).await];
    assert_eq!(take(&nodes[0], BURST).await, Admitted::Passed);
    assert!(matches!(take(&nodes[1], BURST).await, Admitted::RetryAfter(_)), "they share");
    assert_eq!(metrics.read("herald_limiter_degraded_total"), None);
    assert_eq!(metrics.read("herald_limiter_shared"), Some(1.0));

    server.stop().await;
    let stopped = Instant::now();
    let mut passed = 0;
    for node in &nodes {
        for _ in 0..BURST {
            passed += u32::from(take(node, 1).await == Admitted::Passed);
        }
    }
    let most = f64::from(BURST) * 1.5 + stopped.elapsed().as_secs_f64() * 1.5;
    assert!(passed >= BURST * 3 / 2 && f64::from(passed) <= most, "{passed} passed, of {most} at most");
    assert_eq!(metrics.read("herald_limiter_degraded_total"), Some(f64::from(2 * BURST)));
    assert_eq!(metrics.read("herald_limiter_shared"), Some(0.0));
}

#[tokio::test]
async fn a_redis_that_comes_back_is_used_again() {
    let metrics = Metrics::here();
    let mut server = Server::started().await;
    let nodes = [node(&server).await, node(&server).await];
    server.stop().await;
    for node in &nodes {
        take(node, 1).await;
        soon(node.wait_until(false)).await;
    }
    server.start().await;
    for node in &nodes {
        soon(node.wait_until(true)).await;
    }
    let degraded = metrics.read("herald_limiter_degraded_total");
    assert_eq!(take(&nodes[0], BURST).await, Admitted::Passed);
    assert!(matches!(take(&nodes[1], BURST).await, Admitted::RetryAfter(_)), "they share");
    assert_eq!(metrics.read("herald_limiter_degraded_total"), degraded);
    assert_eq!(metrics.read("herald_limiter_shared"), Some(1.0));
}

#[tokio::test]
async fn a_node_starts_without_redis_and_finds_it_later() {
    let mut server = Server::new();
    let node = start(&options(&server)).await;
    assert!(!node.is_shared());
    assert_eq!(take(&node, 1).await, Admitted::Passed);
    server.start().await;
    soon(node.wait_until(true)).await;
    assert_eq!(take(&node, BURST).await, Admitted::Passed);
}

#[tokio::test]
async fn a_redis_that_hangs_holds_no_call_up_for_longer_than_its_limit() {
    let metrics = Metrics::here();
    let server = Server::started().await;
    let node = Arc::new(node(&server).await);
    server.hang();
    // As one, many calls wait as long as one.
    let started = Instant::now();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let node = node.clone();
            tokio::spawn(async move { take(&node, 1).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), Admitted::Passed, "the local bucket has as many");
    }
    assert!(started.elapsed() < CALL_LIMIT * 10, "{:?}", started.elapsed());
    assert!(node.is_shared(), "what failed together failed once");
    for _ in 1..FAILURES_MAX {
        assert_eq!(take(&node, 1).await, Admitted::Passed);
    }
    assert!(!node.is_shared(), "it is not asked any more");
    assert_eq!(metrics.read("herald_limiter_degraded_total"), Some(f64::from(50 + FAILURES_MAX - 1)));

    node.remember(&[call("key", 1)], PATIENCE);
    node.give_back(client(), 1);
    soon(node.settled()).await;
    server.go_on();
    soon(node.wait_until(true)).await;
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_nobody_elses() {
    let server = Server::started().await;
    let options = Options { failures_max: NonZeroU32::MAX, ..options(&server) };
    let node = start(&options).await;
    soon(node.wait_until(true)).await;
    let calls = [call("a", 1), call("b", 2)];
    node.remember(&calls, PATIENCE);
    node.settled().await;
    server.hang();
    assert_eq!(ask(&node, &calls[0]).await, Admitted::Passed, "by the local limiter");
    server.go_on();
    for _ in 0..3 {
        for call in &calls {
            assert_eq!(soon(answered(&node, call)).await, call.made);
        }
    }
    assert!(node.is_shared());
}

#[tokio::test]
async fn only_failures_in_a_row_end_the_use_of_redis() {
    let server = Server::started().await;
    let node = node(&server).await;
    let call = call("key", 1);
    node.remember(std::slice::from_ref(&call), PATIENCE);
    node.settled().await;
    for _ in 0..2 {
        server.hang();
        for _ in 1..FAILURES_MAX {
            assert_eq!(ask(&node, &call).await, Admitted::Passed);
        }
        assert!(node.is_shared());
        server.go_on();
        assert_eq!(soon(answered(&node, &call)).await, call.made);
    }
    server.hang();
    for _ in 0..FAILURES_MAX {
        ask(&node, &call).await;
    }
    assert!(!node.is_shared());
    server.go_on();
}

#[tokio::test]
async fn what_redis_forgets_costs_time_only() {
    let metrics = Metrics::here();
    let server = Server::started().await;
    let node = node(&server).await;
    let call = call("key", 1);
    node.remember(std::slice::from_ref(&call), PATIENCE);
    node.settled().await;
    assert_eq!(take(&node, BURST).await, Admitted::Passed);

    server.run::<()>(&["SCRIPT", "FLUSH"]).await;
    assert!(matches!(take(&node, BURST).await, Admitted::RetryAfter(_)));
    assert!(matches!(ask(&node, &call).await, Admitted::Remembered(_)));

    server.run::<()>(&["FLUSHALL"]).await;
    assert_eq!(ask(&node, &call).await, Admitted::Passed, "the store decides");
    assert_eq!(take(&node, BURST - 1).await, Admitted::Passed, "the bucket is full again");
    node.remember(std::slice::from_ref(&call), PATIENCE);
    node.settled().await;
    assert!(matches!(ask(&node, &call).await, Admitted::Remembered(_)));
    assert_eq!(metrics.read("herald_limiter_degraded_total"), None);
}

/// One of two nodes, which uses Redis.
async fn node(server: &Server) -> RedisLimiter {
    let node = start(&options(server)).await;
    soon(node.wait_until(true)).await;
    node
}

async fn start(options: &Options) -> RedisLimiter {
    RedisLimiter::start(options, Arc::new(MemoryLimiter::new())).await.unwrap()
}

fn options(server: &Server) -> Options {
    Options {
        nodes: NonZeroU32::new(2).unwrap(),
        call_limit: CALL_LIMIT,
        failures_max: NonZeroU32::new(FAILURES_MAX).unwrap(),
        probe_gap: Duration::from_millis(50),
        ..Options::new(server.url(), 7)
    }
}

fn client() -> ClientId {
    ClientId::new(Timestamp::from_micros(0), Entropy([1; 10]))
}

/// Of a bucket that hardly fills while a test runs.
async fn take(node: &RedisLimiter, parts: u32) -> Admitted {
    let rate = Some(Rate { parts, per_second: 1, burst: BURST });
    node.admit(&Admission { client: client(), rate, call: None }).await
}

fn call(key: &str, number: u8) -> RememberedCall {
    let now = Timestamp::from_micros(0);
    RememberedCall {
        key: IdempotencyKey { client: client(), kind: KeyKind::Send, key: key.into() },
        fingerprint: Fingerprint::builder("test.v1").finish(),
        made: Made::Message(MessageId::new(now, Entropy([number; 10]))),
        created_at: now,
    }
}

async fn ask(node: &RedisLimiter, call: &RememberedCall) -> Admitted {
    let rate = Some(Rate { parts: 1, per_second: 1, burst: BURST });
    let call_asked = Some((&call.key, call.fingerprint));
    node.admit(&Admission { client: client(), rate, call: call_asked }).await
}

/// The first answer of Redis.
async fn answered(node: &RedisLimiter, call: &RememberedCall) -> Made {
    loop {
        if let Admitted::Remembered(id) = ask(node, call).await {
            return Made::Message(id);
        }
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it comes in time")
}

/// What this test's thread counts.
struct Metrics {
    handle: PrometheusHandle,
    _here: metrics::LocalRecorderGuard<'static>,
}

impl Metrics {
    fn here() -> Self {
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        Self { handle: recorder.handle(), _here: metrics::set_default_local_recorder(recorder) }
    }

    /// `None` = it was never counted.
    fn read(&self, name: &str) -> Option<f64> {
        let page = self.handle.render();
        let line = page.lines().find(|line| line.starts_with(&format!("{name} ")))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }
}
