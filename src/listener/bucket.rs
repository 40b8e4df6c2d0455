//! A token bucket: so many a second, and several seconds' worth at once.

use tokio::time::Instant;

/// How many seconds' worth may come at once.
const BURST_SECONDS: u32 = 2;

#[derive(Debug)]
pub(super) struct Bucket {
    per_second: f64,
    most: f64,
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        let most = per_second * f64::from(BURST_SECONDS);
        Self { per_second, most, tokens: most, filled_at: now }
    }

    /// Takes a token, if there is one.
    #[must_use]
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let passed = now.duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.most);
        self.filled_at = now;
        let is_one = self.tokens >= 1.0;
        if is_one {
            self.tokens -= 1.0;
        }
        is_one
    }

    /// Gives back a token.
    pub(super) fn give(&mut self) {
        self.tokens = (self.tokens + 1.0).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let mut now = Instant::now();
        let mut bucket = Bucket::new(10, now);
        assert!((0..20).all(|_| bucket.take(now)));
        assert!(!bucket.take(now));
        now += Duration::from_secs(1);
        assert!((0..10).all(|_| bucket.take(now)));
        assert!(!bucket.take(now));
        bucket.give();
        assert!(bucket.take(now) && !bucket.take(now));
    }
}
