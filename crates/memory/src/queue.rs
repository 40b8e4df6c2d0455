//! The queue: bounded lanes that take turns between clients.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use delivery::model::{DeadLetter, MessageKey};
use delivery::port::{Offer, Queue, Ticket};
use message::id::{ClientId, MessageId};
use tokio::sync::Notify;
use uuid::Uuid;

/// Ids by lane. A lane gives each client its turn, so that one client's flood does not hold up the others.
/// It begins with the process, once.
pub struct MemoryQueue {
    capacity: usize,
    epoch: String,
    has_told_epoch: AtomicBool,
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
}

#[derive(Default)]
struct Lane {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    /// Clients with waiting ids, in the order of their turns.
    turns: VecDeque<ClientId>,
    ids: HashMap<ClientId, VecDeque<MessageId>>,
    known: HashSet<MessageKey>,
}

impl MemoryQueue {
    /// `capacity` = ids that a lane holds; more are dropped, and offered again by the sweeper.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            epoch: Uuid::now_v7().to_string(),
            has_told_epoch: AtomicBool::new(false),
            lanes: Mutex::default(),
        }
    }

    fn lane(&self, name: &str) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(name) {
            return lane.clone();
        }
        lanes.entry(name.to_owned()).or_default().clone()
    }
}

impl Lane {
    fn put(&self, keys: impl Iterator<Item = MessageKey>, capacity: usize) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            if waiting.known.len() >= capacity {
                break;
            }
            waiting.put(key);
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    fn take(&self, limit: usize) -> Vec<MessageKey> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = (0..limit).map_while(|_| waiting.take()).collect();
        if !waiting.turns.is_empty() {
            // Another taker may have missed the notice that this one used up.
            self.arrived.notify_one();
        }
        taken
    }
}

impl Waiting {
    fn put(&mut self, key: MessageKey) {
        if !self.known.insert(key) {
            return;
        }
        let ids = self.ids.entry(key.client).or_default();
        if ids.is_empty() {
            self.turns.push_back(key.client);
        }
        ids.push_back(key.id);
    }

    fn take(&mut self) -> Option<MessageKey> {
        let client = self.turns.pop_front()?;
        let ids = self.ids.get_mut(&client)?;
        let id = ids.pop_front()?;
        if ids.is_empty() {
            self.ids.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        let key = MessageKey { client, id };
        self.known.remove(&key);
        Some(key)
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn offer(&self, lane: &str, offers: &[Offer]) {
        self.lane(lane).put(offers.iter().map(|offer| offer.key), self.capacity);
    }

    async fn take(&self, lane: &str, limit: usize) -> Vec<Box<dyn Ticket>> {
        let lane = self.lane(lane);
        loop {
            let taken = lane.take(limit);
            if !taken.is_empty() || limit == 0 {
                let ticket =
                    |key| Box::new(MemoryTicket { key, lane: Some(lane.clone()) }) as Box<dyn Ticket>;
                return taken.into_iter().map(ticket).collect();
            }
            lane.arrived.notified().await;
        }
    }

    async fn waiting(&self, lane: &str) -> usize {
        self.lane(lane).waiting.lock().unwrap_or_else(PoisonError::into_inner).known.len()
    }

    async fn begun(&self) -> String {
        if self.has_told_epoch.swap(true, Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.epoch.clone()
    }

    /// Nobody outside the process could listen.
    async fn dead(&self, _letters: &[DeadLetter]) {}
}

struct MemoryTicket {
    key: MessageKey,
    /// `None` = done.
    lane: Option<Arc<Lane>>,
}

#[async_trait]
impl Ticket for MemoryTicket {
    fn key(&self) -> MessageKey {
        self.key
    }

    async fn done(mut self: Box<Self>) {
        self.lane = None;
    }
}

impl Drop for MemoryTicket {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.take() {
            lane.put(std::iter::once(self.key), usize::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use message::Timestamp;
    use message::id::Entropy;

    fn key(client: u8, number: u8) -> MessageKey {
        let at = Timestamp::from_micros(0);
        MessageKey {
            client: ClientId::new(at, Entropy([client; 10])),
            id: MessageId::new(at, Entropy([number; 10])),
        }
    }

    fn offers<const N: usize>(keys: [MessageKey; N]) -> [Offer; N] {
        keys.map(|key| Offer { key, fence: 0, timer_at: Timestamp::from_micros(0) })
    }

    async fn take(queue: &MemoryQueue, limit: usize) -> Vec<MessageKey> {
        let mut keys = Vec::new();
        for ticket in queue.take("lane", limit).await {
            keys.push(ticket.key());
            ticket.done().await;
        }
        keys
    }

    #[tokio::test]
    async fn clients_take_turns() {
        let queue = MemoryQueue::new(100);
        queue.offer("lane", &offers([key(1, 1), key(1, 2), key(1, 3), key(2, 4)])).await;
        assert_eq!(take(&queue, 9).await, [key(1, 1), key(2, 4), key(1, 2), key(1, 3)]);
    }

    #[tokio::test]
    async fn an_id_that_waits_already_is_merged_and_a_full_lane_drops() {
        let queue = MemoryQueue::new(2);
        queue.offer("lane", &offers([key(1, 1), key(1, 1), key(1, 2), key(1, 3)])).await;
        assert_eq!(take(&queue, 9).await, [key(1, 1), key(1, 2)]);
    }

    #[tokio::test]
    async fn a_ticket_that_is_dropped_comes_back_and_one_that_is_done_does_not() {
        let queue = MemoryQueue::new(100);
        queue.offer("lane", &offers([key(1, 1)])).await;
        drop(queue.take("lane", 1).await);
        assert_eq!(take(&queue, 1).await, [key(1, 1)]);
        queue.offer("lane", &offers([key(1, 2)])).await;
        assert_eq!(take(&queue, 9).await, [key(1, 2)], "the done one is gone");
    }

    #[tokio::test]
    async fn every_taker_wakes_while_ids_wait() {
        let queue = Arc::new(MemoryQueue::new(100));
        let takers: Vec<_> = (0..4)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { take(&queue, 1).await })
            })
            .collect();
        tokio::task::yield_now().await;
        queue.offer("lane", &offers([key(1, 1), key(1, 2), key(1, 3), key(1, 4)])).await;
        for taker in takers {
            assert_eq!(taker.await.expect("the taker ends").len(), 1);
        }
    }
}
