//! Tickets, and the answers that they give to the server. One task sends all answers, so that neither a commit nor a drop
//! waits for the network; another keeps the tickets that are still held alive.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Subject;
use async_nats::jetstream::AckKind;
use async_trait::async_trait;
use delivery::model::MessageKey;
use delivery::port::Ticket;
use tokio::sync::mpsc;

use crate::connection::Connection;

/// Answers that wait to be sent; past that they are dropped, and the ids come again.
const UNSENT_MAX: usize = 100_000;

/// The tickets of this node that are not answered.
pub(crate) struct Tickets {
    held: Mutex<HashMap<u64, Subject>>,
    numbers: AtomicU64,
    answers: mpsc::Sender<(Subject, AckKind)>,
}

/// What [`Tickets::send`] sends.
pub(crate) type Answers = mpsc::Receiver<(Subject, AckKind)>;

impl Tickets {
    pub(crate) fn new() -> (Arc<Self>, Answers) {
        let (answers, unsent) = mpsc::channel(UNSENT_MAX);
        (Arc::new(Self { held: Mutex::default(), numbers: AtomicU64::new(0), answers }), unsent)
    }

    pub(crate) fn issue(self: &Arc<Self>, key: MessageKey, reply: Subject) -> NatsTicket {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.held().insert(number, reply);
        NatsTicket { key, number, is_done: false, tickets: self.clone() }
    }

    /// The stream has begun anew: what an older ticket would answer names another id now, and must not reach it.
    pub(crate) fn forget(&self) {
        self.held().clear();
    }

    pub(crate) fn answer(&self, reply: Subject, kind: AckKind) {
        if self.answers.try_send((reply, kind)).is_err() {
            metrics::counter!("herald_queue_answers_lost_total").increment(1);
        }
    }

    /// Sends answers until the queue is gone. While there is no connection they are dropped: the ids come again.
    pub(crate) async fn send(connection: Connection, mut answers: Answers) {
        while let Some((reply, kind)) = answers.recv().await {
            if !connection.is_up() || connection.client.publish(reply, kind.into()).await.is_err() {
                metrics::counter!("herald_queue_answers_lost_total").increment(1);
            }
        }
    }

    /// Tells the server three times in each `ack_wait` that the held ones are worked on.
    pub(crate) async fn keep_alive(&self, ack_wait: Duration) {
        let mut interval = tokio::time::interval(ack_wait / 3);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let held: Vec<Subject> = self.held().values().cloned().collect();
            for reply in held {
                self.answer(reply, AckKind::Progress);
            }
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Subject>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, number: u64, kind: AckKind) {
        let reply = self.held().remove(&number);
        if let Some(reply) = reply {
            self.answer(reply, kind);
        }
    }
}

/// One id that this node has, until it is done or dropped.
pub(crate) struct NatsTicket {
    key: MessageKey,
    number: u64,
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
        self.tickets.end(self.number, kind);
    }
}
