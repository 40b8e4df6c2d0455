//! The hub: wakes subscribers when their client's log grows, and shares what they read.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use message::event::Event;
use message::id::ClientId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::pages::Pages;
use crate::port::{Bell, PageAsked, Ring, Store, StoreError};
use crate::timing::Timing;

/// Events kept in memory per client with live subscribers.
const TAIL: usize = 1_000;

/// One per node: one subscription to the bell, and one poll for all clients as the net.
pub struct Hub {
    store: Arc<dyn Store>,
    pages: Pages,
    channels: Mutex<HashMap<ClientId, Weak<Channel>>>,
}

/// What the subscribers of one client share.
struct Channel {
    client: ClientId,
    newest: watch::Sender<i64>,
    tail: tokio::sync::Mutex<VecDeque<Arc<Event>>>,
}

/// Why a log cannot be read on from a position.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("events before {oldest_seq} are no longer kept")]
    AgedOut { oldest_seq: i64 },
    /// The position is ahead of the log.
    #[error("the log ends at {last_seq}")]
    Ahead { last_seq: i64 },
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Latest,
    Oldest,
    After(i64),
}

/// One subscriber's place in its client's log.
pub struct Subscription {
    hub: Arc<Hub>,
    channel: Arc<Channel>,
    newest: watch::Receiver<i64>,
    cursor: i64,
    /// The log may have more after the cursor: it is read. Otherwise a ring is waited for.
    has_more: bool,
}

impl Hub {
    /// Must be called within a Tokio runtime.
    pub fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { pages: Pages::of(&store), store, channels: Mutex::default() })
    }

    /// Passes rings on until `stop`.
    pub async fn run(self: Arc<Self>, bell: Arc<dyn Bell>, timing: Arc<Timing>, stop: CancellationToken) {
        let mut poll = tokio::time::interval(timing.watch_poll);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                rings = bell.wait() => self.pass_on(&rings),
                _ = poll.tick() => self.poll().await,
            }
        }
    }

    /// Subscribes at `start`. Nothing that is committed after this returns is missed.
    pub async fn subscribe(
        self: &Arc<Self>,
        client: ClientId,
        start: Start,
    ) -> Result<Subscription, WatchError> {
        // The channel first: a ring between the read and the subscription would be lost otherwise.
        let channel = self.channel(client);
        let newest = channel.newest.subscribe();
        let after = if let Start::After(seq) = start { seq } else { i64::MAX };
        let page = self.pages.read(PageAsked { client, after: after.max(0), limit: 0 }).await?;
        let cursor = match start {
            Start::Latest => page.last_seq,
            Start::Oldest => page.oldest_seq - 1,
            Start::After(seq) => check_position(seq, page.oldest_seq, page.last_seq)?,
        };
        Ok(Subscription { hub: self.clone(), channel, newest, cursor, has_more: true })
    }

    fn channel(&self, client: ClientId) -> Arc<Channel> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&client).and_then(Weak::upgrade) {
            return channel;
        }
        let channel = Arc::new(Channel { client, newest: watch::Sender::new(0), tail: Default::default() });
        channels.insert(client, Arc::downgrade(&channel));
        channel
    }

    fn pass_on(&self, rings: &[Ring]) {
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        for ring in rings {
            if let Some(channel) = channels.get(&ring.client).and_then(Weak::upgrade) {
                channel.ring(ring.last_seq);
            }
        }
    }

    async fn poll(&self) {
        let clients: Vec<ClientId> = {
            let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
            channels.retain(|_, channel| channel.strong_count() > 0);
            metrics::gauge!("herald_watched_clients").set(channels.len() as f64);
            channels.keys().copied().collect()
        };
        if clients.is_empty() {
            return;
        }
        match self.store.last_seqs(&clients).await {
            Ok(seqs) => {
                let rings: Vec<Ring> =
                    seqs.into_iter().map(|(client, last_seq)| Ring { client, last_seq }).collect();
                self.pass_on(&rings);
            }
            Err(error) => tracing::warn!(error = ?error, "the poll for missed rings failed"),
        }
    }
}

/// A position is good if nothing after it is gone, and it is not ahead of the log.
pub fn check_position(seq: i64, oldest_seq: i64, last_seq: i64) -> Result<i64, WatchError> {
    if seq > last_seq || seq < 0 {
        return Err(WatchError::Ahead { last_seq });
    }
    if seq + 1 < oldest_seq {
        return Err(WatchError::AgedOut { oldest_seq });
    }
    Ok(seq)
}

impl Channel {
    fn ring(&self, last_seq: i64) {
        self.newest.send_if_modified(|newest| {
            let is_news = last_seq > *newest;
            *newest = last_seq.max(*newest);
            is_news
        });
    }

    /// Events after `cursor`: from the shared tail if it reaches back so far, else from the store. The lock makes
    /// the subscribers that woke together read the log once.
    async fn read(&self, pages: &Pages, cursor: i64, limit: usize) -> Result<Vec<Arc<Event>>, WatchError> {
        let mut tail = self.tail.lock().await;
        let first = tail.front().map(|event| event.seq);
        let next = tail.back().map_or(0, |event| event.seq + 1);
        if first.is_some_and(|first| first <= cursor + 1) && cursor + 1 < next {
            let skip = tail.partition_point(|event| event.seq <= cursor);
            return Ok(tail.iter().skip(skip).take(limit).cloned().collect());
        }
        let is_behind = cursor + 1 < next;
        if is_behind {
            // A slow subscriber reads the log by itself and leaves the tail to the others.
            drop(tail);
            return self.fetch(pages, cursor, limit).await;
        }
        let events = self.fetch(pages, cursor, limit).await?;
        if cursor + 1 != next {
            tail.clear();
        }
        tail.extend(events.iter().cloned());
        let excess = tail.len().saturating_sub(TAIL);
        tail.drain(..excess);
        Ok(events)
    }

    async fn fetch(&self, pages: &Pages, cursor: i64, limit: usize) -> Result<Vec<Arc<Event>>, WatchError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let page = pages.read(PageAsked { client: self.client, after: cursor, limit }).await?;
        check_position(cursor, page.oldest_seq, page.last_seq)?;
        Ok(page.events.into_iter().map(Arc::new).collect())
    }
}

impl Subscription {
    /// The `seq` of the last event handed out.
    pub fn cursor(&self) -> i64 {
        self.cursor
    }

    /// Waits for the next events, at most `limit`, in order and without a gap. Cancel-safe: a dropped wait
    /// loses nothing, and the next one goes on waiting without a look at the log.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Event>>, WatchError> {
        loop {
            while !self.has_more {
                // The sender lives in the channel that this subscription holds.
                let is_gone = self.newest.changed().await.is_err();
                self.has_more = is_gone || *self.newest.borrow_and_update() > self.cursor;
            }
            // Marked as seen before the read: a ring during the read wakes the next wait.
            self.newest.borrow_and_update();
            let events = self.channel.read(&self.hub.pages, self.cursor, limit).await?;
            if let Some(last) = events.last() {
                self.cursor = last.seq;
                return Ok(events);
            }
            self.has_more = false;
        }
    }
}
