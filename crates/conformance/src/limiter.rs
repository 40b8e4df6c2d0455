//! The claims on a limiter, with tokio's time paused. [`limiter_suite!`](crate::limiter_suite) makes a test of
//! each.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use delivery::port::{Limiter, RateDecision};
use message::id::{ClientId, Entropy};

use crate::bench::START;

/// How an adapter hands its limiters to the suite.
pub trait LimiterFixture: 'static {
    fn fresh() -> impl Future<Output = Arc<dyn Limiter>> + Send;
}

const SECOND: Duration = Duration::from_secs(1);
/// What rounding may cost.
const GRAIN: Duration = Duration::from_millis(1);

pub async fn a_new_bucket_gives_its_burst_and_then_says_when(limiter: Arc<dyn Limiter>) {
    for _ in 0..5 {
        assert_eq!(limiter.take(client(1), 1, 10, 5).await, RateDecision::Ok);
    }
    let wait = refused(&limiter, 1, 10, 5).await;
    assert_near(wait, SECOND / 10);
    tokio::time::advance(wait.saturating_sub(GRAIN * 2)).await;
    refused(&limiter, 1, 10, 5).await;
    tokio::time::advance(GRAIN * 3).await;
    assert_eq!(limiter.take(client(1), 1, 10, 5).await, RateDecision::Ok);
    refused(&limiter, 1, 10, 5).await;
}

pub async fn all_of_a_message_is_taken_or_none(limiter: Arc<dyn Limiter>) {
    assert_eq!(limiter.take(client(1), 7, 1, 10).await, RateDecision::Ok);
    assert_near(refused(&limiter, 5, 1, 10).await, SECOND * 2);
    // The refusal took nothing of the three that are left.
    assert_eq!(limiter.take(client(1), 3, 1, 10).await, RateDecision::Ok);
    assert_near(refused(&limiter, 1, 1, 10).await, SECOND);
}

pub async fn clients_have_buckets_of_their_own(limiter: Arc<dyn Limiter>) {
    assert_eq!(limiter.take(client(1), 5, 1, 5).await, RateDecision::Ok);
    refused(&limiter, 1, 1, 5).await;
    assert_eq!(limiter.take(client(2), 5, 1, 5).await, RateDecision::Ok);
}

pub async fn a_bucket_fills_at_its_rate_up_to_its_burst(limiter: Arc<dyn Limiter>) {
    assert_eq!(limiter.take(client(1), 100, 10, 100).await, RateDecision::Ok);
    tokio::time::advance(SECOND * 3 + GRAIN).await;
    assert_eq!(limiter.take(client(1), 30, 10, 100).await, RateDecision::Ok);
    refused(&limiter, 1, 10, 100).await;
    tokio::time::advance(SECOND * 3_600).await;
    assert_eq!(limiter.take(client(1), 100, 10, 100).await, RateDecision::Ok);
    refused(&limiter, 1, 10, 100).await;
}

pub async fn a_message_larger_than_the_bucket_passes_when_it_is_full(limiter: Arc<dyn Limiter>) {
    assert_eq!(limiter.take(client(1), 20, 10, 5).await, RateDecision::Ok);
    let wait = refused(&limiter, 20, 10, 5).await;
    assert!(wait >= SECOND / 2 - GRAIN, "the bucket is not full: {wait:?}");
    tokio::time::advance(wait + GRAIN).await;
    assert_eq!(limiter.take(client(1), 20, 10, 5).await, RateDecision::Ok);
    tokio::time::advance(SECOND * 60).await;
    assert_eq!(limiter.take(client(1), 1, 10, 5).await, RateDecision::Ok);
    assert!(refused(&limiter, 20, 10, 5).await > Duration::ZERO, "one is missing");
}

pub async fn what_is_given_back_can_be_taken_again_but_no_more(limiter: Arc<dyn Limiter>) {
    assert_eq!(limiter.take(client(1), 5, 1, 5).await, RateDecision::Ok);
    limiter.give_back(client(1), 2).await;
    assert_near(refused(&limiter, 3, 1, 5).await, SECOND);
    assert_eq!(limiter.take(client(1), 2, 1, 5).await, RateDecision::Ok);
    for _ in 0..3 {
        limiter.give_back(client(1), 5).await;
    }
    assert_eq!(limiter.take(client(1), 5, 1, 5).await, RateDecision::Ok);
    refused(&limiter, 1, 1, 5).await;
    // A client that never took has nothing to get.
    limiter.give_back(client(2), 5).await;
    assert_eq!(limiter.take(client(2), 5, 1, 5).await, RateDecision::Ok);
    assert!(matches!(limiter.take(client(2), 1, 1, 5).await, RateDecision::RetryAfter(_)));
}

pub async fn new_settings_hold_from_the_next_call_on(limiter: Arc<dyn Limiter>) {
    assert_eq!(limiter.take(client(1), 1, 1, 100).await, RateDecision::Ok);
    assert_eq!(limiter.take(client(1), 10, 1, 10).await, RateDecision::Ok);
    assert_near(refused(&limiter, 1, 1, 10).await, SECOND);
    assert_near(refused(&limiter, 1, 10, 10).await, SECOND / 10);
}

pub async fn racing_callers_get_the_burst_and_no_more(limiter: Arc<dyn Limiter>) {
    let callers: Vec<_> = (0..40)
        .map(|_| {
            let limiter = limiter.clone();
            tokio::spawn(async move { limiter.take(client(1), 3, 1, 60).await == RateDecision::Ok })
        })
        .collect();
    let mut passed = 0;
    for caller in callers {
        passed += u32::from(caller.await.unwrap());
    }
    assert_eq!(passed, 20);
}

fn client(number: u8) -> ClientId {
    ClientId::new(START, Entropy([number; 10]))
}

/// Takes for the first client, and must be refused.
async fn refused(limiter: &Arc<dyn Limiter>, parts: u32, per_second: u32, burst: u32) -> Duration {
    match limiter.take(client(1), parts, per_second, burst).await {
        RateDecision::RetryAfter(wait) => wait,
        RateDecision::Ok => panic!("{parts} passed"),
    }
}

fn assert_near(wait: Duration, expected: Duration) {
    assert!(wait.abs_diff(expected) <= GRAIN, "{wait:?} instead of {expected:?}");
}
