//! What Redis is told and nobody waits for: tokens given back, copies. Written in the background, some at a time.

use std::sync::Arc;
use std::time::Duration;

use delivery::model::RememberedCall;
use message::id::ClientId;
use tokio::sync::{mpsc, oneshot};

use crate::link::Link;
use crate::script::{Copied, Scripts};

/// Notes that may wait; what comes past that is dropped.
const WAITING: usize = 8_192;
/// The most notes of one round trip: more would make the calls on the same connection wait.
const BATCH: usize = 128;

pub(crate) struct Notes(mpsc::Sender<Note>);

enum Note {
    GiveBack(ClientId, u32),
    Copy(Copied),
    /// Everything before it is written or dropped.
    Settled(oneshot::Sender<()>),
}

impl Notes {
    /// And what writes them, which runs until all senders are gone.
    pub(crate) fn new(
        link: Arc<Link>,
        scripts: Arc<Scripts>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), write(link, scripts, receiver))
    }

    pub(crate) fn give_back(&self, client: ClientId, parts: u32) {
        self.tell(Note::GiveBack(client, parts));
    }

    pub(crate) fn remember(&self, scripts: &Scripts, calls: &[RememberedCall], lifetime: Duration) {
        for copy in calls.iter().filter_map(|call| scripts.copy_of(call, lifetime)) {
            self.tell(Note::Copy(copy));
        }
    }

    pub(crate) async fn settled(&self) {
        let (sender, settled) = oneshot::channel();
        if self.0.send(Note::Settled(sender)).await.is_ok() {
            let _ = settled.await;
        }
    }

    fn tell(&self, note: Note) {
        if self.0.try_send(note).is_err() {
            count_dropped(1);
        }
    }
}

async fn write(link: Arc<Link>, scripts: Arc<Scripts>, mut receiver: mpsc::Receiver<Note>) {
    let mut notes = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut notes, BATCH).await > 0 {
        let mut pipeline = deadpool_redis::redis::Pipeline::with_capacity(BATCH);
        let mut waiters = Vec::new();
        for note in notes.drain(..) {
            match note {
                Note::GiveBack(client, parts) => scripts.give_back(&mut pipeline, client, parts),
                Note::Copy(copy) => scripts.remember(&mut pipeline, &copy),
                Note::Settled(waiter) => waiters.push(waiter),
            }
        }
        let count = pipeline.len();
        if count > 0 {
            let written =
                link.call(|mut connection| async move { pipeline.query_async::<()>(&mut connection).await });
            if written.await.is_err() {
                count_dropped(count);
            }
        }
        for waiter in waiters {
            let _ = waiter.send(());
        }
    }
}

fn count_dropped(count: usize) {
    metrics::counter!("herald_limiter_dropped_total").increment(count as u64);
}
