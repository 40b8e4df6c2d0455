//! Tickets, and the answers that they give to the server. One task sends all answers, so that neither a commit nor a drop
//! waits for the network; another keeps the tickets that are still held alive.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::{Client, Subject};
use async_trait::async_trait;
use delivery::model::MessageKey;
use delivery::port::Ticket;
use tokio::sync::mpsc;

use crate::watch::Watch;

/// Answers that wait to be sent; past that they are dropped, and the ids come again.
const UNSENT_MAX: usize = 100_000;

/// The tickets of this node that are not answered.
pub(crate) struct Tickets {
    held: Mutex<HashMap<u64, Subject>>,
    numbers: AtomicU64,
    /// Counts the beginnings of the stream.
    era: AtomicU64,
    answers: mpsc::Sender<Answer>,
}

pub(crate) struct Answer {
    era: u64,
    reply: Subject,
    kind: AckKind,
}

impl Tickets {
    /// And the answers that [`send`](Self::send) is to send.
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<Answer>) {
        let (answers, unsent) = mpsc::channel(UNSENT_MAX);
        let (held, numbers, era) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
        (Arc::new(Self { held, numbers, era, answers }), unsent)
    }

    pub(crate) fn issue(self: &Arc<Self>, key: MessageKey, reply: Subject) -> NatsTicket {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.held().insert(number, reply);
        NatsTicket { key, number, era: self.era(), is_done: false, tickets: self.clone() }
    }

    /// The stream has begun anew: what an older ticket would answer names another id now, and must not reach it.
    pub(crate) fn forget(&self) {
        self.era.fetch_add(1, Ordering::AcqRel);
        self.held().clear();
    }

    /// The id that came with this reply subject is none.
    pub(crate) fn refuse(&self, reply: Subject) {
        self.answer(Answer { era: self.era(), reply, kind: AckKind::Term });
    }

    /// Sends answers, for ever. While the stream is not seen they wait: it may be another when it is seen again.
    pub(crate) async fn send(&self, watch: &Watch, client: &Client, mut answers: mpsc::Receiver<Answer>) {
        while let Some(Answer { era, reply, kind }) = answers.recv().await {
            watch.until_usable().await;
            if era != self.era() || client.publish(reply, kind.into()).await.is_err() {
                note_lost();
            }
        }
    }

    /// Tells the server three times in each `ack_wait` that the held ones are worked on.
    pub(crate) async fn keep_alive(&self, watch: &Watch, ack_wait: Duration) {
        let mut interval = tokio::time::interval(ack_wait / 3);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            watch.until_usable().await;
            let era = self.era();
            let held: Vec<Subject> = self.held().values().cloned().collect();
            for reply in held {
                self.answer(Answer { era, reply, kind: AckKind::Progress });
            }
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Subject>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn era(&self) -> u64 {
        self.era.load(Ordering::Acquire)
    }

    fn end(&self, number: u64, era: u64, kind: AckKind) {
        let reply = self.held().remove(&number);
        if let Some(reply) = reply {
            self.answer(Answer { era, reply, kind });
        }
    }

    fn answer(&self, answer: Answer) {
        if self.answers.try_send(answer).is_err() {
            note_lost();
        }
    }
}

fn note_lost() {
    metrics::counter!("herald_queue_answers_lost_total").increment(1);
}

/// One id that this node has, until it is done or dropped.
pub(crate) struct NatsTicket {
    key: MessageKey,
    number: u64,
    era: u64,
    is_done: bool,
    tickets: Arc<Tickets>,
}

#[async_trait]
impl Ticket for NatsTicket {
    fn key(&self) -> MessageKey {
        self.key
    }

    async fn done(mut self: Box<Self>) {
        self.is_done = true;
    }
}

impl Drop for NatsTicket {
    fn drop(&mut self) {
        let kind = if self.is_done { AckKind::Ack } else { AckKind::Nak(None) };
        self.tickets.end(self.number, self.era, kind);
    }
}
