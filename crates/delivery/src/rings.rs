//! Rings that wait to be heard, one a client: the newest. For bells, whatever carries them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use message::id::ClientId;
use tokio::sync::Notify;

use crate::port::Ring;

/// One taker, any number of ringers.
#[derive(Default)]
pub struct Rings {
    waiting: Mutex<HashMap<ClientId, i64>>,
    rung: Notify,
}

impl Rings {
    pub fn put(&self, rings: &[Ring]) {
        if rings.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for ring in rings {
            let newest = waiting.entry(ring.client).or_default();
            *newest = ring.last_seq.max(*newest);
        }
        drop(waiting);
        self.rung.notify_one();
    }

    /// Waits until there are some, and takes them all. Cancel-safe.
    pub async fn take(&self) -> Vec<Ring> {
        loop {
            let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if !waiting.is_empty() {
                return waiting.into_iter().map(|(client, last_seq)| Ring { client, last_seq }).collect();
            }
            self.rung.notified().await;
        }
    }
}
