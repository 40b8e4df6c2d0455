//! Token buckets, counted in parts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use delivery::port::{Limiter, RateDecision};
use message::id::ClientId;
use tokio::time::Instant;

/// Buckets kept at most; full ones are forgotten first, since a new bucket is full.
const BUCKETS_MAX: usize = 100_000;

/// Exact for one process.
#[derive(Default)]
pub struct MemoryLimiter {
    buckets: Mutex<HashMap<ClientId, Bucket>>,
}

struct Bucket {
    tokens: f64,
    per_second: f64,
    burst: f64,
    filled_at: Instant,
}

impl MemoryLimiter {
    pub fn new() -> Self {
        Self::default()
    }
}

impl Bucket {
    fn fill(&mut self, now: Instant) {
        let gained = now.duration_since(self.filled_at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(self.burst);
        self.filled_at = now;
    }
}

#[async_trait]
impl Limiter for MemoryLimiter {
    async fn take(&self, client: ClientId, parts: u32, per_second: u32, burst: u32) -> RateDecision {
        let now = Instant::now();
        let (per_second, burst, parts) =
            (f64::from(per_second.max(1)), f64::from(burst.max(1)), f64::from(parts));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(&client) {
            buckets.retain(|_, bucket| {
                bucket.fill(now);
                bucket.tokens < bucket.burst
            });
        }
        let bucket = buckets.entry(client).or_insert_with(|| Bucket {
            tokens: burst,
            per_second,
            burst,
            filled_at: now,
        });
        bucket.fill(now);
        (bucket.per_second, bucket.burst) = (per_second, burst);
        bucket.tokens = bucket.tokens.min(burst);
        // A message larger than the bucket passes when the bucket is full, and leaves a debt.
        let needed = parts.min(burst);
        if bucket.tokens >= needed {
            bucket.tokens -= parts;
            return RateDecision::Ok;
        }
        RateDecision::RetryAfter(Duration::from_secs_f64((needed - bucket.tokens) / per_second))
    }

    async fn give_back(&self, client: ClientId, parts: u32) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(&client) {
            bucket.tokens = (bucket.tokens + f64::from(parts)).min(bucket.burst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use message::Timestamp;
    use message::id::Entropy;

    fn client(number: u8) -> ClientId {
        ClientId::new(Timestamp::from_micros(0), Entropy([number; 10]))
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_gives_its_burst_then_its_rate() {
        let limiter = MemoryLimiter::new();
        for _ in 0..5 {
            assert_eq!(limiter.take(client(1), 1, 10, 5).await, RateDecision::Ok);
        }
        let RateDecision::RetryAfter(wait) = limiter.take(client(1), 1, 10, 5).await else {
            panic!("the burst is spent");
        };
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(limiter.take(client(2), 5, 10, 5).await, RateDecision::Ok, "another client has its own");
        tokio::time::advance(wait).await;
        assert_eq!(limiter.take(client(1), 1, 10, 5).await, RateDecision::Ok);
        assert!(matches!(limiter.take(client(1), 1, 10, 5).await, RateDecision::RetryAfter(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_larger_than_the_bucket_passes_when_it_is_full_and_is_paid_off() {
        let limiter = MemoryLimiter::new();
        assert_eq!(limiter.take(client(1), 20, 10, 5).await, RateDecision::Ok);
        let RateDecision::RetryAfter(wait) = limiter.take(client(1), 1, 10, 5).await else {
            panic!("there is a debt of 15");
        };
        assert_eq!(wait, Duration::from_millis(1_600));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_can_be_taken_again_but_no_more() {
        let limiter = MemoryLimiter::new();
        assert_eq!(limiter.take(client(1), 5, 1, 5).await, RateDecision::Ok);
        limiter.give_back(client(1), 5).await;
        limiter.give_back(client(1), 5).await;
        assert_eq!(limiter.take(client(1), 5, 1, 5).await, RateDecision::Ok);
        assert!(matches!(limiter.take(client(1), 1, 1, 5).await, RateDecision::RetryAfter(_)));
    }
}
