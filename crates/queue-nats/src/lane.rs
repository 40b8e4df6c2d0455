//! What this node has of a lane: ids that arrived and that nobody took yet, by share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::stream::SHARES;
use crate::ticket::NatsTicket;

/// Filled by one puller a share, emptied by takers in turns over the shares.
pub(crate) struct Lane {
    pub(crate) name: String,
    arrived: Mutex<Arrived>,
    /// Something arrived.
    news: Notify,
    /// For each puller: something was taken, or a taker waits.
    wanted: [Notify; SHARES],
    /// Takers that wait.
    takers: AtomicUsize,
    /// What the last taker would have taken at most.
    limit: AtomicUsize,
    /// When the last one took or left.
    taken_at: Mutex<Instant>,
}

#[derive(Default)]
struct Arrived {
    shares: [VecDeque<NatsTicket>; SHARES],
    /// Whether the server has more.
    has_more: [bool; SHARES],
    /// The share whose turn it is.
    turn: usize,
}

/// Counts a taker that waits.
struct Waits<'a>(&'a Lane);

impl Lane {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            arrived: Mutex::default(),
            news: Notify::new(),
            wanted: Default::default(),
            takers: AtomicUsize::new(0),
            limit: AtomicUsize::new(0),
            taken_at: Mutex::new(Instant::now()),
        }
    }

    /// Waits for ids, then takes up to `limit`. Between the taking and the answer nothing is awaited, so a wait that is
    /// dropped has taken nothing.
    pub(crate) async fn take(&self, limit: usize) -> Vec<NatsTicket> {
        self.limit.store(limit, Ordering::Relaxed);
        let taken = self.pop(limit);
        if !taken.is_empty() {
            return taken;
        }
        let _waits = Waits::begin(self);
        loop {
            self.news.notified().await;
            let taken = self.pop(limit);
            if !taken.is_empty() {
                return taken;
            }
        }
    }

    fn pop(&self, limit: usize) -> Vec<NatsTicket> {
        let mut arrived = self.arrived();
        let (mut taken, mut emptied) = (Vec::new(), 0);
        let mut was_touched = [false; SHARES];
        while taken.len() < limit && emptied < SHARES {
            let share = arrived.turn;
            arrived.turn = (share + 1) % SHARES;
            match arrived.shares[share].pop_front() {
                Some(ticket) => {
                    taken.push(ticket);
                    was_touched[share] = true;
                    emptied = 0;
                }
                None => emptied += 1,
            }
        }
        if arrived.shares.iter().any(|share| !share.is_empty()) {
            // Another taker may have missed the notice that this one used up.
            self.news.notify_one();
        }
        drop(arrived);
        if !taken.is_empty() {
            self.note_taken();
        }
        for (wanted, _) in self.wanted.iter().zip(was_touched).filter(|(_, touched)| *touched) {
            wanted.notify_one();
        }
        taken
    }

    pub(crate) fn put(&self, share: usize, ticket: NatsTicket, has_more: bool) {
        let mut arrived = self.arrived();
        arrived.shares[share].push_back(ticket);
        arrived.has_more[share] = has_more;
        drop(arrived);
        self.news.notify_one();
    }

    /// The server has nothing more for this share now.
    pub(crate) fn note_empty(&self, share: usize) {
        self.arrived().has_more[share] = false;
    }

    /// How many more this share should ask for: together, the shares bring what a taker takes at most, and those that
    /// may have something bring it alone.
    pub(crate) fn lack(&self, share: usize) -> usize {
        let limit = self.limit.load(Ordering::Relaxed);
        let arrived = self.arrived();
        let full = arrived.has_more.iter().filter(|has_more| **has_more).count();
        let part = if arrived.has_more[share] { full } else { SHARES };
        limit.div_ceil(part.max(1)).saturating_sub(arrived.shares[share].len())
    }

    /// Somebody waits, or took something a moment ago.
    pub(crate) fn is_wanted(&self, linger: Duration) -> bool {
        self.takers.load(Ordering::Acquire) > 0 || self.taken_at().elapsed() < linger
    }

    /// Something was taken of the share, or a taker waits.
    pub(crate) async fn wanted(&self, share: usize) {
        self.wanted[share].notified().await;
    }

    /// What arrived for the share and that nobody wants: dropped, it goes to another node.
    pub(crate) fn give_up(&self, share: usize) -> VecDeque<NatsTicket> {
        std::mem::take(&mut self.arrived().shares[share])
    }

    fn arrived(&self) -> std::sync::MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken_at(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.taken_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_taken(&self) {
        *self.taken_at() = Instant::now();
    }
}

impl<'a> Waits<'a> {
    fn begin(lane: &'a Lane) -> Self {
        lane.takers.fetch_add(1, Ordering::AcqRel);
        lane.wanted.iter().for_each(Notify::notify_one);
        Self(lane)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.note_taken();
        self.0.takers.fetch_sub(1, Ordering::AcqRel);
    }
}
