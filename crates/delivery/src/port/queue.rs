//! Queue, bell and limiter: they carry ids and counters only. Losing one loses time, nothing else.

use std::time::Duration;

use async_trait::async_trait;
use message::id::ClientId;

use crate::model::MessageKey;

/// Spreads due messages over workers, by lane.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Offers ids to a lane. May drop some (a full queue): the sweeper offers them again. An id that waits
    /// already may be merged with it.
    async fn offer(&self, lane: &str, keys: &[MessageKey]);

    /// Waits until the lane has ids, then takes up to `limit`. Cancel-safe: a dropped wait takes nothing.
    async fn take(&self, lane: &str, limit: usize) -> Vec<Box<dyn Ticket>>;
}

/// One taken id. Dropped without `done`, the id may be given to another worker.
#[async_trait]
pub trait Ticket: Send + Sync {
    fn key(&self) -> MessageKey;

    /// The work on it is committed.
    async fn done(self: Box<Self>);
}

/// A client's log has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    pub client: ClientId,
    pub last_seq: i64,
}

/// Wakes those who read event logs. Rings may be merged or lost; a poll is the net.
#[async_trait]
pub trait Bell: Send + Sync + 'static {
    async fn ring(&self, rings: &[Ring]);

    /// Waits for rings. Rings before the first wait may be missed.
    async fn wait(&self) -> Vec<Ring>;
}

/// Answer of the limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateDecision {
    Ok,
    RetryAfter(Duration),
}

/// Token buckets by client.
#[async_trait]
pub trait Limiter: Send + Sync + 'static {
    /// Takes `parts` tokens from the client's bucket, filled at `per_second` up to `burst`, all or none.
    /// A message larger than the bucket passes when the bucket is full.
    async fn take(&self, client: ClientId, parts: u32, per_second: u32, burst: u32) -> RateDecision;

    /// Gives back tokens of a call that turned out to cost none.
    async fn give_back(&self, client: ClientId, parts: u32);
}
