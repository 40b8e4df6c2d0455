//! The in-process queue, bell and limiter against what every one must satisfy.

use std::sync::Arc;

use conformance::bell::BellFixture;
use conformance::limiter::LimiterFixture;
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

impl LimiterFixture for MemoryFixture {
    async fn fresh() -> Arc<dyn Limiter> {
        Arc::new(MemoryLimiter::new())
    }
}

conformance::queue_suite!(MemoryFixture);
conformance::bell_suite!(MemoryFixture);
conformance::limiter_suite!(MemoryFixture);
