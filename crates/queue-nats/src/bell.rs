//! The bell: each ring is heard on this node at once, and told to the others by core NATS, which forgets what nobody hears.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{SubscribeError, Subscriber};
use async_trait::async_trait;
use delivery::port::{Bell, Ring};
use futures_util::StreamExt;
use message::id::ClientId;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::connection::Connection;
use crate::payload;
use crate::stream::Options;

/// Rings of one message: 24 bytes each, well below the server's limit of 1 MiB.
const RINGS_MAX: usize = 20_000;

/// One listener, any number of ringers.
pub struct NatsBell {
    heard: Arc<Merged>,
    untold: Arc<Merged>,
    _tasks: JoinSet<()>,
}

/// Rings that wait, one a client: the newest.
#[derive(Default)]
struct Merged {
    waiting: Mutex<HashMap<ClientId, i64>>,
    rung: Notify,
}

impl NatsBell {
    /// Listens from now on. `prefix` stands before the subject, as in [`Options`].
    pub async fn start(connection: &Connection, prefix: &str) -> Result<Self, SubscribeError> {
        let (heard, untold) = (Arc::<Merged>::default(), Arc::<Merged>::default());
        let (origin, subject) = (Uuid::now_v7(), Options::bell_subject(prefix));
        let arriving = connection.client.subscribe(subject.clone()).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(arriving, origin, heard.clone()));
        tasks.spawn(tell(connection.clone(), subject, origin, untold.clone()));
        Ok(Self { heard, untold, _tasks: tasks })
    }
}

#[async_trait]
impl Bell for NatsBell {
    async fn ring(&self, rings: &[Ring]) {
        self.heard.put(rings);
        self.untold.put(rings);
    }

    async fn wait(&self) -> Vec<Ring> {
        self.heard.take().await
    }
}

async fn listen(mut arriving: Subscriber, origin: Uuid, heard: Arc<Merged>) {
    while let Some(message) = arriving.next().await {
        match payload::read_rings(&message.payload) {
            Some((who, rings)) if who != origin => heard.put(&rings),
            Some(_) => {}
            None => metrics::counter!("herald_bell_unparsable_total").increment(1),
        }
    }
}

/// Tells what was rung while the last message was handed over; without a connection, nothing.
async fn tell(connection: Connection, subject: String, origin: Uuid, untold: Arc<Merged>) {
    loop {
        let rings = untold.take().await;
        for rings in rings.chunks(RINGS_MAX) {
            let message = payload::write_rings(origin, rings);
            if !connection.is_up()
                || connection.client.publish(subject.clone(), message.into()).await.is_err()
            {
                metrics::counter!("herald_bell_rings_lost_total").increment(rings.len() as u64);
            }
        }
    }
}

impl Merged {
    fn put(&self, rings: &[Ring]) {
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

    async fn take(&self) -> Vec<Ring> {
        loop {
            let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if !waiting.is_empty() {
                return waiting.into_iter().map(|(client, last_seq)| Ring { client, last_seq }).collect();
            }
            self.rung.notified().await;
        }
    }
}
