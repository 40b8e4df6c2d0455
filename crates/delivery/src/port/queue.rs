//! Queue and bell: they carry ids and numbers only. Losing one loses time, nothing else.

use async_trait::async_trait;
use message::class::Priority;
use message::id::ClientId;
use message::time::Timestamp;

use super::Timer;
use crate::model::{DeadLetter, MessageKey, MessageState};

/// Spreads due messages over workers, by lane.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Offers ids to a lane. May drop some (a full queue, an engine that is down): the sweeper offers them again. An id
    /// that waits already, and the same offer made by two nodes, may be merged; another offer of an id that was done is
    /// not. Takes a second or so at most.
    async fn offer(&self, lane: &str, offers: &[Offer]);

    /// Waits until the lane has ids, then takes up to `limit`. Cancel-safe: a dropped wait takes nothing.
    async fn take(&self, lane: &str, limit: usize) -> Vec<Box<dyn Ticket>>;

    /// About how many ids of the lane were offered and are not done; may be a second or so old. Cheap.
    async fn waiting(&self, lane: &str) -> usize;

    /// Waits until the queue has begun anew since the last call on this handle, and answers its epoch: a name that no
    /// earlier beginning had and that all nodes see alike. What was offered before may be lost. Cancel-safe.
    async fn begun(&self) -> String;

    /// Tells whoever listens of messages that became dead letters. Best effort: the store has them.
    async fn dead(&self, letters: &[DeadLetter]);
}

/// An id that is offered. `fence` and `timer_at` name the offer: each claim moves the one, each further offer of an
/// unclaimed message the other. So two equal offers are one, made twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    pub key: MessageKey,
    /// The fence that a claim will move.
    pub fence: i64,
    /// When the message is offered again, should nobody claim it.
    pub timer_at: Timestamp,
}

/// A message that could be claimed now: what to offer, and to which lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub offer: Offer,
    pub priority: Priority,
}

impl Due {
    /// `None` = it has no timer, so it is not due.
    pub fn of(key: MessageKey, state: &MessageState, priority: Priority) -> Option<Self> {
        state.timer_at.map(|timer_at| Self { offer: Offer { key, fence: state.fence, timer_at }, priority })
    }

    pub fn timer(&self) -> Timer {
        Timer { at: self.offer.timer_at, key: self.offer.key }
    }
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
