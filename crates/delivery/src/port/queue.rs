//! Queue and bell: they carry ids and numbers only. Losing one loses time, nothing else.

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
