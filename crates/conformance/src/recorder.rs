//! A queue, a bell and a limiter that only remember what they were told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use delivery::model::{DeadLetter, Made, MessageKey, RememberedCall};
use delivery::port::{Admission, Admitted, Bell, Limiter, Offer, Queue, Ring, Ticket};
use message::id::ClientId;

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

/// Answers with the copies that it was told of, and keeps one count of tokens for all clients.
#[derive(Default)]
pub struct RecordingLimiter(Mutex<Recorded>);

#[derive(Default)]
struct Recorded {
    copies: Vec<RememberedCall>,
    taken: i64,
    is_refusing: bool,
}

impl RecordingLimiter {
    /// The copies, in the order in which they were told.
    pub fn copies(&self) -> Vec<RememberedCall> {
        self.recorded().copies.clone()
    }

    pub fn forget_copies(&self) {
        self.recorded().copies.clear();
    }

    /// Tokens taken and not given back.
    pub fn taken(&self) -> i64 {
        self.recorded().taken
    }

    /// From now on, whether every take is refused.
    pub fn refuse(&self, is_refusing: bool) {
        self.recorded().is_refusing = is_refusing;
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Limiter for RecordingLimiter {
    async fn admit(&self, ask: &Admission<'_>) -> Admitted {
        let mut recorded = self.recorded();
        let copy = ask.call.and_then(|(key, fingerprint)| {
            recorded.copies.iter().rev().find(|copy| copy.key == *key && copy.fingerprint == fingerprint)
        });
        if let Some(Made::Message(id)) = copy.map(|copy| copy.made) {
            return Admitted::Remembered(id);
        }
        let Some(rate) = ask.rate else { return Admitted::Passed };
        if recorded.is_refusing {
            return Admitted::RetryAfter(Duration::from_secs(1));
        }
        recorded.taken += i64::from(rate.parts);
        Admitted::Passed
    }

    fn give_back(&self, _client: ClientId, parts: u32) {
        self.recorded().taken -= i64::from(parts);
    }

    fn remember(&self, calls: &[RememberedCall], _lifetime: Duration) {
        self.recorded().copies.extend_from_slice(calls);
    }
}
