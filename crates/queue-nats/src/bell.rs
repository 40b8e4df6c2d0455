//! The bell: each ring is heard on this node at once, and told to the others by core NATS, which forgets what nobody hears.

use std::sync::Arc;

use async_nats::{SubscribeError, Subscriber};
use async_trait::async_trait;
use delivery::port::{Bell, Ring};
use delivery::rings::Rings;
use futures_util::StreamExt;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::connection::Connection;
use crate::payload;
use crate::stream::Options;

/// Rings of one message: 24 bytes each, well below the server's limit of 1 MiB.
const RINGS_MAX: usize = 20_000;

/// One listener, any number of ringers.
pub struct NatsBell {
    heard: Arc<Rings>,
    untold: Arc<Rings>,
    _tasks: JoinSet<()>,
}

impl NatsBell {
    /// Listens from now on. `prefix` stands before the subject, as in [`Options`].
    pub async fn start(connection: &Connection, prefix: &str) -> Result<Self, SubscribeError> {
        let (heard, untold) = (Arc::<Rings>::default(), Arc::<Rings>::default());
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

async fn listen(mut arriving: Subscriber, origin: Uuid, heard: Arc<Rings>) {
    while let Some(message) = arriving.next().await {
        match payload::read_rings(&message.payload) {
            Some((who, rings)) if who != origin => heard.put(&rings),
            Some(_) => {}
            None => metrics::counter!("herald_bell_unparsable_total").increment(1),
        }
    }
}

/// Tells what was rung while the last message was handed over; without a connection, nothing.
async fn tell(connection: Connection, subject: String, origin: Uuid, untold: Arc<Rings>) {
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
