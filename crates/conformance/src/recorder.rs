//! A queue and a bell that only remember what they were told.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use delivery::model::MessageKey;
use delivery::port::{Bell, Queue, Ring, Ticket};

/// Remembers offers; nobody can take.
#[derive(Default)]
pub struct RecordingQueue(Mutex<Vec<MessageKey>>);

impl RecordingQueue {
    /// The ids offered since the last call.
    pub fn drain(&self) -> Vec<MessageKey> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Queue for RecordingQueue {
    async fn offer(&self, _lane: &str, keys: &[MessageKey]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(keys);
    }

    async fn take(&self, _lane: &str, _limit: usize) -> Vec<Box<dyn Ticket>> {
        std::future::pending().await
    }
}

/// Remembers rings; nobody is woken.
#[derive(Default)]
pub struct RecordingBell(Mutex<Vec<Ring>>);

impl RecordingBell {
    /// The rings since the last call.
    pub fn drain(&self) -> Vec<Ring> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Bell for RecordingBell {
    async fn ring(&self, rings: &[Ring]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(rings);
    }

    async fn wait(&self) -> Vec<Ring> {
        std::future::pending().await
    }
}
