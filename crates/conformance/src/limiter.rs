//! The claims on a limiter. [`limiter_suite!`](crate::limiter_suite) makes a test of each.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use delivery::port::{Admission, Admitted, Limiter, Rate};
use message::id::{ClientId, Entropy};

use crate::bench::START;

/// How an adapter hands its limiters to the suite.
pub trait LimiterFixture: 'static {
    fn fresh() -> impl Future<Output = Box<dyn LimiterBench>> + Send;
}

/// A limiter without a bucket yet, whose time stands still until the claim moves it.
#[async_trait]
pub trait LimiterBench: Send + Sync {
    fn limiter(&self) -> Arc<dyn Limiter>;

    async fn advance(&self, by: Duration);

    /// Waits until what the limiter was told is in force.
    async fn settled(&self);
}

const SECOND: Duration = Duration::from_secs(1);
/// What rounding may cost.
const GRAIN: Duration = Duration::from_millis(1);

pub async fn a_new_bucket_gives_its_burst_and_then_says_when(bench: Box<dyn LimiterBench>) {
    let limiter = bench.limiter();
    for _ in 0..5 {
        assert_eq!(take(&limiter, client(1), 1, 10, 5).await, Admitted::Passed);
    }
    let wait = refused(&limiter, 1, 10, 5).await;
    assert_near(wait, SECOND / 10);
    bench.advance(wait.saturating_sub(GRAIN * 2)).await;
    refused(&limiter, 1, 10, 5).await;
    bench.advance(GRAIN * 3).await;
    assert_eq!(take(&limiter, client(1), 1, 10, 5).await, Admitted::Passed);
    refused(&limiter, 1, 10, 5).await;
}

pub async fn all_of_a_message_is_taken_or_none(bench: Box<dyn LimiterBench>) {
    let limiter = bench.limiter();
    assert_eq!(take(&limiter, client(1), 7, 1, 10).await, Admitted::Passed);
    assert_near(refused(&limiter, 5, 1, 10).await, SECOND * 2);
    // The refusal took nothing of the three that are left.
    assert_eq!(take(&limiter, client(1), 3, 1, 10).await, Admitted::Passed);
    assert_near(refused(&limiter, 1, 1, 10).await, SECOND);
}

pub async fn clients_have_buckets_of_their_own(bench: Box<dyn LimiterBench>) {
    let limiter = bench.limiter();
    assert_eq!(take(&limiter, client(1), 5, 1, 5).await, Admitted::Passed);
    refused(&limiter, 1, 1, 5).await;
    assert_eq!(take(&limiter, client(2), 5, 1, 5).await, Admitted::Passed);
}

pub async fn a_bucket_fills_at_its_rate_up_to_its_burst(bench: Box<dyn LimiterBench>) {
    let limiter = bench.limiter();
    assert_eq!(take(&limiter, client(1), 100, 10, 100).await, Admitted::Passed);
    bench.advance(SECOND * 3 + GRAIN).await;
    assert_eq!(take(&limiter, client(1), 30, 10, 100).await, Admitted::Passed);
    refused(&limiter, 1, 10, 100).await;
    bench.advance(SECOND * 3_600).await;
    assert_eq!(take(&limiter, client(1), 100, 10, 100).await, Admitted::Passed);
    refused(&limiter, 1, 10, 100).await;
}

pub async fn a_message_larger_than_the_bucket_passes_when_it_is_full(bench: Box<dyn LimiterBench>) {
    let limiter = bench.limiter();
    assert_eq!(take(&limiter, client(1), 20, 10, 5).await, Admitted::Passed);
    let wait = refused(&limiter, 20, 10, 5).await;
    // A debt of fifteen, then the five of a full bucket.
    assert_near(wait, SECOND * 2);
    bench.advance(wait + GRAIN).await;
    assert_eq!(take(&limiter, client(1), 20, 10, 5).await, Admitted::Passed);
    bench.advance(SECOND * 60).await;
    assert_eq!(take(&limiter, client(1), 1, 10, 5).await, Admitted::Passed);
    assert_near(refused(&limiter, 20, 10, 5).await, SECOND / 10);
}

pub async fn what_is_given_back_can_be_taken_again_but_no_more(bench: Box<dyn LimiterBench>) {
    let limiter = bench.limiter();
    assert_eq!(take(&limiter, client(1), 5, 1, 5).await, Admitted::Passed);
    limiter.give_back(client(1), 2);
    bench.settled().await;
    assert_near(refused(&limiter, 3, 1, 5).await, SECOND);
    assert_eq!(take(&limiter, client(1), 2, 1, 5).await, Admitted::Passed);
    for _ in 0..3 {
        limiter.give_back(client(1), 5);
    }
    bench.settled().await;
    assert_eq!(take(&limiter, client(1), 5, 1, 5).await, Admitted::Passed);
    refused(&limiter, 1, 1, 5).await;
    // A client that never took has nothing to get.
    limiter.give_back(client(2), 5);
    bench.settled().await;
    assert_eq!(take(&limiter, client(2), 5, 1, 5).await, Admitted::Passed);
    assert!(matches!(take(&limiter, client(2), 1, 1, 5).await, Admitted::RetryAfter(_)));
}

pub async fn new_settings_hold_from_the_next_call_on(bench: Box<dyn LimiterBench>) {
    let limiter = bench.limiter();
    assert_eq!(take(&limiter, client(1), 1, 1, 100).await, Admitted::Passed);
    assert_eq!(take(&limiter, client(1), 10, 1, 10).await, Admitted::Passed);
    assert_near(refused(&limiter, 1, 1, 10).await, SECOND);
    assert_near(refused(&limiter, 1, 10, 10).await, SECOND / 10);
    bench.advance(SECOND / 10 + GRAIN).await;
    assert_eq!(take(&limiter, client(1), 1, 10, 10).await, Admitted::Passed, "a refusal brings them in too");
}

pub async fn a_client_without_a_limit_always_passes(bench: Box<dyn LimiterBench>) {
    let limiter = bench.limiter();
    assert_eq!(take(&limiter, client(1), 5, 1, 5).await, Admitted::Passed);
    refused(&limiter, 1, 1, 5).await;
    let ask = Admission { client: client(1), rate: None, call: None };
    assert_eq!(limiter.admit(&ask).await, Admitted::Passed);
}

pub async fn racing_callers_get_the_burst_and_no_more(bench: Box<dyn LimiterBench>) {
    let limiter = bench.limiter();
    let callers: Vec<_> = (0..40)
        .map(|_| {
            let limiter = limiter.clone();
            tokio::spawn(async move { take(&limiter, client(1), 3, 1, 60).await == Admitted::Passed })
        })
        .collect();
    let mut passed = 0;
    for caller in callers {
        passed += u32::from(caller.await.unwrap());
    }
    assert_eq!(passed, 20);
}

pub(crate) fn client(number: u8) -> ClientId {
    ClientId::new(START, Entropy([number; 10]))
}

/// Asks for a send without a key.
pub(crate) async fn take(
    limiter: &Arc<dyn Limiter>,
    client: ClientId,
    parts: u32,
    per_second: u32,
    burst: u32,
) -> Admitted {
    let rate = Some(Rate { parts, per_second, burst });
    limiter.admit(&Admission { client, rate, call: None }).await
}

/// Takes for the first client, and must be refused.
pub(crate) async fn refused(limiter: &Arc<dyn Limiter>, parts: u32, per_second: u32, burst: u32) -> Duration {
    match take(limiter, client(1), parts, per_second, burst).await {
        Admitted::RetryAfter(wait) => wait,
        other => panic!("{parts}: {other:?}"),
    }
}

fn assert_near(wait: Duration, expected: Duration) {
    assert!(wait.abs_diff(expected) <= GRAIN, "{wait:?} instead of {expected:?}");
}
