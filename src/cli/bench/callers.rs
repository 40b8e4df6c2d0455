//! Who sends: one message a call, many a call, or a stream of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream;
use herald_sdk::{Error, v1};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::load::{Load, Outcome};

/// Who was refused pauses at least so long, or it would only measure refusals.
const REFUSED_PAUSE: Duration = Duration::from_millis(10);

/// Sends a message when its last was answered. It goes round the senders, so that all have their part in the load.
pub async fn unary(load: Arc<Load>, caller: usize) -> Outcome {
    let mut outcome = Outcome::new();
    let mut sender = caller;
    while let Some(due) = load.schedule.next().await {
        outcome.sent += 1;
        let client = &load.senders[sender % load.senders.len()];
        sender += load.in_flight;
        let sent = client.send(load.request.clone()).await;
        let pause = note(&load, &mut outcome, due, sent.map(|receipt| receipt.message.id));
        rest(&load, pause).await;
    }
    outcome
}

/// Sends a batch when its last was answered. On a fixed schedule it waits until so many are due.
pub async fn batch(load: Arc<Load>, caller: usize) -> Outcome {
    let callers = (load.in_flight / load.batch).max(1);
    let mut outcome = Outcome::new();
    let mut sender = caller;
    loop {
        let mut dues = Vec::with_capacity(load.batch);
        while dues.len() < load.batch
            && let Some(due) = load.schedule.next().await
        {
            dues.push(due);
        }
        if dues.is_empty() {
            return outcome;
        }
        outcome.sent += dues.len() as u64;
        let client = &load.senders[sender % load.senders.len()];
        sender += callers;
        let messages = vec![load.request.clone(); dues.len()];
        let sent = client.send_many(v1::SendMessagesRequest { messages, ..Default::default() }).await;
        let mut longest = None;
        match sent {
            Ok(results) => {
                for (due, result) in dues.into_iter().zip(results) {
                    longest = longest.max(note(&load, &mut outcome, due, result.map(|it| it.message_id)));
                }
            }
            Err(error) => {
                let count = dues.len();
                longest = note(&load, &mut outcome, dues[0], Err(error));
                load.deliveries.refused(count as u64 - 1);
            }
        }
        rest(&load, longest).await;
    }
}

/// When a message was due, and its place in flight, until it is acknowledged.
type Unacknowledged = Arc<Mutex<HashMap<u64, (Instant, OwnedSemaphorePermit)>>>;

/// Sends what is due on one stream, as long as there are places in flight, which all streams share.
pub async fn stream(load: Arc<Load>, places: Arc<Semaphore>, sender: usize) -> Outcome {
    let mut outcome = Outcome::new();
    let open = Unacknowledged::default();
    let source = {
        let (load, open) = (load.clone(), open.clone());
        stream::unfold(0, move |index| {
            let (load, open, places) = (load.clone(), open.clone(), places.clone());
            async move {
                let place = places.acquire_owned().await.ok()?;
                let due = load.schedule.next().await?;
                open.lock().unwrap_or_else(PoisonError::into_inner).insert(index, (due, place));
                Some((load.request.clone(), index + 1))
            }
        })
    };
    let mut volume = load.senders[sender].send_stream(source);
    while let Some(acknowledged) = volume.next().await {
        match acknowledged {
            Ok(ack) => {
                let known = open.lock().unwrap_or_else(PoisonError::into_inner).remove(&ack.index);
                let Some((due, _place)) = known else { continue };
                outcome.sent += 1;
                let pause = note(&load, &mut outcome, due, ack.outcome.map(|it| it.message_id));
                rest(&load, pause).await;
            }
            Err(error) => {
                note(&load, &mut outcome, Instant::now(), Err(error));
            }
        }
    }
    outcome
}

/// Answers how long to pause, if it was refused.
fn note(load: &Load, outcome: &mut Outcome, due: Instant, result: Result<String, Error>) -> Option<Duration> {
    let now = Instant::now();
    match result {
        Ok(id) => {
            load.deliveries.accepted(&id, due, now);
            outcome.accept(load.window, due, now);
            None
        }
        Err(error) => {
            let pause = error.retry_after().unwrap_or_default().max(REFUSED_PAUSE);
            load.deliveries.refused(1);
            outcome.refuse(load.window, due, error);
            Some(pause)
        }
    }
}

/// On a fixed schedule nobody waits.
async fn rest(load: &Load, pause: Option<Duration>) {
    if let Some(pause) = pause.filter(|_| !load.schedule.is_open()) {
        sleep(pause).await;
    }
}
