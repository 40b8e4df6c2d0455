//! This node's share of each limit, for the time without Redis.

use std::num::NonZeroU32;
use std::sync::Arc;

use delivery::port::{Admission, Admitted, Limiter, Rate};
use message::id::ClientId;

/// Allows `limit / nodes x 1.5`: all nodes together at most 1.5 times the limit, and a node that gets more than its
/// share of the calls does not have to refuse all of the surplus.
pub(crate) struct Local {
    limiter: Arc<dyn Limiter>,
    nodes: u32,
}

impl Local {
    pub(crate) fn new(limiter: Arc<dyn Limiter>, nodes: NonZeroU32) -> Self {
        Self { limiter, nodes: nodes.get() }
    }

    pub(crate) async fn admit(&self, ask: &Admission<'_>) -> Admitted {
        let rate = ask.rate.map(|rate| Rate {
            parts: self.tokens(rate.parts),
            per_second: rate.per_second.saturating_mul(3),
            burst: rate.burst.saturating_mul(3),
        });
        self.limiter.admit(&Admission { rate, ..*ask }).await
    }

    pub(crate) fn give_back(&self, client: ClientId, parts: u32) {
        self.limiter.give_back(client, self.tokens(parts));
    }

    /// A part costs two tokens of each node of a bucket that is three times as large: exact in whole numbers, also
    /// where a share is less than one part.
    fn tokens(&self, parts: u32) -> u32 {
        parts.saturating_mul(self.nodes).saturating_mul(2)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use message::Timestamp;
    use message::id::Entropy;

    use super::*;

    async fn take(local: &Local, parts: u32, per_second: u32, burst: u32) -> Admitted {
        let client = ClientId::new(Timestamp::from_micros(0), Entropy([1; 10]));
        let rate = Some(Rate { parts, per_second, burst });
        local.admit(&Admission { client, rate, call: None }).await
    }

    fn one_of(nodes: u32) -> Local {
        let nodes = NonZeroU32::new(nodes).expect("there is one at least");
        Local::new(Arc::new(memory::MemoryLimiter::new()), nodes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_allows_one_and_a_half_of_its_share() {
        let local = one_of(3);
        for _ in 0..50 {
            assert_eq!(take(&local, 1, 10, 100).await, Admitted::Passed);
        }
        assert_eq!(take(&local, 1, 10, 100).await, Admitted::RetryAfter(Duration::from_millis(200)));
        local.give_back(ClientId::new(Timestamp::from_micros(0), Entropy([1; 10])), 2);
        assert_eq!(take(&local, 2, 10, 100).await, Admitted::Passed);
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(take(&local, 20, 10, 100).await, Admitted::Passed);
        assert!(matches!(take(&local, 1, 10, 100).await, Admitted::RetryAfter(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_of_less_than_a_part_is_kept_to_over_time() {
        let local = one_of(4);
        let mut passed = 0;
        for _ in 0..800 {
            passed += u32::from(take(&local, 1, 1, 1).await == Admitted::Passed);
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert!((30..=31).contains(&passed), "{passed} in 80 s, of 1 a second for four nodes");
    }

    #[tokio::test(start_paused = true)]
    async fn the_largest_limits_of_many_nodes_still_pass() {
        assert_eq!(take(&one_of(u32::MAX), 255, u32::MAX, u32::MAX).await, Admitted::Passed);
    }
}
