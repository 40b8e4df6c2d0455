//! A queue and a bell that only remember what they were told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use delivery::model::{DeadLetter, MessageKey};
use delivery::port::{Bell, Offer, Queue, Ring, Ticket};

/// Remembers offers and dead letters; nobody can take.
#[derive(Default)]
pub struct RecordingQueue {
    offers: Mutex<Vec<Offer>>,
    letters: Mutex<Vec<DeadLetter>>,
    waiting: AtomicUsize,
}

impl RecordingQueue {
    /// The ids offered since the last call.
    pub fn drain(&self) -> Vec<MessageKey> {
        self.drain_offers().into_iter().map(|offer| offer.key).collect()
    }

    /// The offers since the last call.
    pub fn drain_offers(&self) -> Vec<Offer> {
        std::mem::take(&mut self.offers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The dead letters since the last call.
    pub fn drain_letters(&self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What every lane says that waits in it.
    pub fn set_waiting(&self, count: usize) {
        self.waiting.store(count, Ordering::SeqCst);
    }
}

#[async_trait]
impl Queue for RecordingQueue {
    async fn offer(&self, _lane: &str, offers: &[Offer]) {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(offers);
    }

    async fn take(&self, _lane: &str, _limit: usize) -> Vec<Box<dyn Ticket>> {
        std::future::pending().await
    }

    async fn waiting(&self, _lane: &str) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    async fn begun(&self) -> String {
        std::future::pending().await
    }

    async fn dead(&self, letters: &[DeadLetter]) {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(letters);
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
