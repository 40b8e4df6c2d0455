//! The in-process queue, bell and limiter against what every one must satisfy.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use conformance::bell::BellFixture;
use conformance::limiter::{LimiterBench, LimiterFixture};
use conformance::queue::QueueFixture;
use delivery::port::{Bell, Limiter, Queue};
use memory::{MemoryBell, MemoryLimiter, MemoryQueue};

struct MemoryFixture;

impl QueueFixture for MemoryFixture {
    async fn fresh() -> Arc<dyn Queue> {
        Arc::new(MemoryQueue::new(1_000))
    }
}

impl BellFixture for MemoryFixture {
    async fn fresh() -> Arc<dyn Bell> {
        Arc::new(MemoryBell::new())
    }
}

/// In the test's own time, which is tokio's.
struct Limited(Arc<MemoryLimiter>);

impl LimiterFixture for MemoryFixture {
    async fn fresh() -> Box<dyn LimiterBench> {
        tokio::time::pause();
        Box::new(Limited(Arc::new(MemoryLimiter::new())))
    }
}

#[async_trait]
impl LimiterBench for Limited {
    fn limiter(&self) -> Arc<dyn Limiter> {
        self.0.clone()
    }

    async fn advance(&self, by: Duration) {
        tokio::time::advance(by).await;
    }

    async fn settled(&self) {}
}

conformance::queue_suite!(MemoryFixture);
conformance::bell_suite!(MemoryFixture);
conformance::limiter_suite!(MemoryFixture);
