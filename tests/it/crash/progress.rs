//! How far the test has come, shared by the senders, the subscriber and the killer.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use super::evidence::{Ack, Micros, Seen};

/// What has happened so far.
#[derive(Default)]
pub(crate) struct Progress {
    acks: Mutex<Vec<Ack>>,
    seen: Mutex<Vec<Seen>>,
    /// Messages whose end the subscriber saw.
    ended: AtomicUsize,
    /// The longest that a sender waited for an acknowledgement, in microseconds.
    slowest: AtomicU64,
    /// Messages handed to senders.
    taken: AtomicUsize,
    /// The killer has done its work.
    is_calm: AtomicBool,
    /// Rings at each end, and when it is calm.
    moved: Notify,
}

impl Progress {
    pub(crate) fn note_ack(&self, ack: Ack) {
        self.acks.lock().expect("no panic holds it").push(ack);
    }

    pub(crate) fn note_event(&self, event: Seen) {
        if event.is_end() {
            self.ended.fetch_add(1, Ordering::Relaxed);
            self.moved.notify_waiters();
        }
        self.seen.lock().expect("no panic holds it").push(event);
    }

    pub(crate) fn note_wait(&self, wait: Duration) {
        self.slowest.fetch_max(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest.load(Ordering::Relaxed))
    }

    pub(crate) fn acked(&self) -> usize {
        self.acks.lock().expect("no panic holds it").len()
    }

    pub(crate) fn acks(&self) -> Vec<Ack> {
        self.acks.lock().expect("no panic holds it").clone()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic holds it").clone()
    }

    pub(crate) fn last_seq(&self) -> i64 {
        self.seen.lock().expect("no panic holds it").last().map_or(0, |event| event.seq)
    }

    /// About how many messages are acknowledged and not ended.
    pub(crate) fn in_flight(&self) -> usize {
        self.acked().saturating_sub(self.ended.load(Ordering::Relaxed))
    }

    /// Waits until fewer than so many are under way, or no more kills are to come.
    pub(crate) async fn until_room(&self, under_way: usize) {
        loop {
            let moved = self.moved.notified();
            if self.in_flight() < under_way || self.is_calm.load(Ordering::Relaxed) {
                return;
            }
            moved.await;
        }
    }

    /// The number of the next message to send; `None` = `wanted` were sent and no kill is to come.
    pub(crate) fn take(&self, wanted: usize) -> Option<usize> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        (number < wanted || !self.is_calm.load(Ordering::Relaxed)).then_some(number)
    }

    pub(crate) fn calm(&self) {
        self.is_calm.store(true, Ordering::Relaxed);
        self.moved.notify_waiters();
    }
}

/// Now, by the clock of this machine.
pub(crate) fn now() -> Micros {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    message::time::micros(since_epoch)
}
