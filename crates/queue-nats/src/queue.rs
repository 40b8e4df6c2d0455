//! The queue: one stream for all lanes, and what this node does with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_trait::async_trait;
use delivery::model::DeadLetter;
use delivery::port::{Offer, Queue, Ticket};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::connection::{Connection, Unhealthy};
use crate::lane::Lane;
use crate::pull::Puller;
use crate::rarely::Rarely;
use crate::stream::{self, Options, SHARES, StreamError, is_subject};
use crate::ticket::{Answer, Tickets};
use crate::unheard::Unheard;
use crate::watch::{Sight, Watch};

/// For what is asked of JetStream besides publishing.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// Publishes whose acknowledgement is awaited, on this connection.
const IN_FLIGHT: usize = 20_000;
const LETTERS_WAITING: usize = 100;

/// Ids on a JetStream stream. A lane's clients are spread over eight shares, whose turns come one after the other: one
/// client's backlog holds up those of its own share, an eighth of all, and nobody else.
pub struct NatsQueue {
    shared: Arc<Shared>,
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
    sight: watch::Receiver<Sight>,
    /// The epoch that `begun` told last.
    told: tokio::sync::Mutex<String>,
    /// Ends with the queue.
    tasks: Mutex<JoinSet<()>>,
}

/// What every part works with.
pub(crate) struct Shared {
    pub(crate) connection: Connection,
    pub(crate) jetstream: Context,
    pub(crate) options: Arc<Options>,
    pub(crate) watch: Watch,
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) unparsable_letters: mpsc::Sender<Value>,
    pub(crate) unheard: Unheard,
    pub(crate) offer_failures: Rarely,
    pub(crate) pull_failures: Rarely,
    pub(crate) unparsable: Rarely,
}

impl NatsQueue {
    /// Makes the streams if they are missing, and begins to watch them.
    pub async fn start(connection: &Connection, options: Options) -> Result<Self, StreamError> {
        options.check()?;
        let jetstream = ContextBuilder::new()
            .timeout(REQUEST_LIMIT)
            .max_ack_inflight(IN_FLIGHT)
            .backpressure_on_inflight(true)
            .build(connection.client.clone());
        stream::await_streams(&jetstream, &options).await?;
        let options = Arc::new(options);
        let (tickets, answers) = Tickets::new();
        let (unparsable_letters, unsent_letters) = mpsc::channel(LETTERS_WAITING);
        let shared = Arc::new(Shared {
            watch: Watch::new(connection.clone(), jetstream.clone(), options.clone()),
            connection: connection.clone(),
            jetstream,
            options,
            tickets,
            unparsable_letters,
            unheard: Unheard::default(),
            offer_failures: Rarely::default(),
            pull_failures: Rarely::default(),
            unparsable: Rarely::default(),
        });
        let mut sight = shared.watch.subscribe();
        let mut tasks = JoinSet::new();
        tasks.spawn(shared.clone().send_answers(answers));
        tasks.spawn(shared.clone().watch_stream());
        tasks.spawn(shared.clone().keep_tickets());
        tasks.spawn(shared.clone().follow_epochs());
        tasks.spawn(shared.clone().repeat_unheard());
        tasks.spawn(shared.clone().send_letters(unsent_letters));
        // Offers and takes before the first look would fail.
        let _ = timeout(REQUEST_LIMIT, sight.wait_for(|sight| sight.is_there)).await;
        Ok(Self {
            shared,
            lanes: Mutex::default(),
            sight,
            told: tokio::sync::Mutex::default(),
            tasks: Mutex::new(tasks),
        })
    }

    /// Whether JetStream answers and the stream is there, as of the last second.
    pub fn health(&self) -> Result<(), Unhealthy> {
        if !self.shared.connection.is_up() {
            return Err(Unhealthy::Disconnected);
        }
        if self.shared.watch.is_usable() { Ok(()) } else { Err(Unhealthy::NotAnswering) }
    }

    /// The first taker of a lane starts its pullers.
    fn lane(&self, name: &str) -> Option<Arc<Lane>> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(name) {
            return Some(lane.clone());
        }
        if !is_subject(name) {
            return None;
        }
        let lane = Arc::new(Lane::new(name));
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for share in 0..SHARES {
            tasks.spawn(Puller { shared: self.shared.clone(), lane: lane.clone(), share }.run());
        }
        lanes.insert(name.to_owned(), lane.clone());
        Some(lane)
    }
}

impl Shared {
    async fn watch_stream(self: Arc<Self>) {
        self.watch.run().await;
    }

    async fn send_answers(self: Arc<Self>, answers: mpsc::Receiver<Answer>) {
        self.tickets.send(&self.watch, &self.connection.client, answers).await;
    }

    async fn keep_tickets(self: Arc<Self>) {
        self.tickets.keep_alive(&self.watch, self.options.ack_wait).await;
    }

    async fn follow_epochs(self: Arc<Self>) {
        let mut sight = self.watch.subscribe();
        let mut epoch = String::new();
        while sight.changed().await.is_ok() {
            let now = sight.borrow_and_update().epoch.clone();
            if now != epoch && !epoch.is_empty() {
                self.tickets.forget();
            }
            epoch = now;
        }
    }

    async fn send_letters(self: Arc<Self>, mut letters: mpsc::Receiver<Value>) {
        while let Some(letter) = letters.recv().await {
            self.publish_letter(&letter, None).await;
        }
    }
}

#[async_trait]
impl Queue for NatsQueue {
    async fn offer(&self, lane: &str, offers: &[Offer]) {
        self.shared.publish_offers(lane, offers).await;
    }

    async fn take(&self, lane: &str, limit: usize) -> Vec<Box<dyn Ticket>> {
        if limit == 0 {
            return Vec::new();
        }
        let Some(lane) = self.lane(lane) else { return std::future::pending().await };
        let taken = lane.take(limit).await;
        taken.into_iter().map(|ticket| Box::new(ticket) as Box<dyn Ticket>).collect()
    }

    async fn waiting(&self, lane: &str) -> usize {
        self.shared.watch.waiting(lane)
    }

    async fn begun(&self) -> String {
        let mut told = self.told.lock().await;
        let mut sight = self.sight.clone();
        let is_new = |sight: &Sight| !sight.epoch.is_empty() && sight.epoch != *told;
        let seen = sight.wait_for(is_new).await.map(|sight| sight.epoch.clone());
        // The watch lives as long as the queue.
        let Ok(epoch) = seen else { return std::future::pending().await };
        told.clone_from(&epoch);
        epoch
    }

    async fn dead(&self, letters: &[DeadLetter]) {
        self.shared.publish_letters(letters).await;
    }
}
