//! Token buckets, counted in parts.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use delivery::model::RememberedCall;
use delivery::port::{Admission, Admitted, Limiter, Rate};
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

    fn buckets(&self) -> MutexGuard<'_, HashMap<ClientId, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, client: ClientId, rate: Rate) -> Admitted {
        let now = Instant::now();
        let parts = f64::from(rate.parts);
        let (per_second, burst) = (f64::from(rate.per_second.max(1)), f64::from(rate.burst.max(1)));
        let mut buckets = self.buckets();
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
            return Admitted::Passed;
        }
        Admitted::RetryAfter(Duration::from_secs_f64((needed - bucket.tokens) / per_second))
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
    async fn admit(&self, ask: &Admission<'_>) -> Admitted {
        match ask.rate {
            Some(rate) => self.take(ask.client, rate),
            None => Admitted::Passed,
        }
    }

    fn give_back(&self, client: ClientId, parts: u32) {
        if let Some(bucket) = self.buckets().get_mut(&client) {
            bucket.tokens = (bucket.tokens + f64::from(parts)).min(bucket.burst);
        }
    }

    /// Keeps none: the store is as near.
    fn remember(&self, _calls: &[RememberedCall], _lifetime: Duration) {}
}
