//! The claims on a queue. [`queue_suite!`](crate::queue_suite) makes a test of each.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use delivery::model::MessageKey;
use delivery::port::{Offer, Queue, Ticket};
use message::id::{ClientId, Entropy, MessageId};
use tokio_util::sync::CancellationToken;

use crate::bench::START;

/// How an adapter hands its queues to the suite.
pub trait QueueFixture: 'static {
    /// An empty queue with room for a thousand ids in a lane.
    fn fresh() -> impl Future<Output = Arc<dyn Queue>> + Send;
}

const LANE: &str = "lane";
/// How long an empty lane is watched being empty.
const PATIENCE: Duration = Duration::from_millis(50);

pub async fn what_is_offered_is_taken(queue: Arc<dyn Queue>) {
    queue.offer(LANE, &offers(&keys(3))).await;
    queue.offer(LANE, &[]).await;
    assert_eq!(take_all(&queue, 3).await, keys(3));
    assert!(is_empty(&queue, LANE).await);
}

pub async fn a_taker_waits_for_an_offer(queue: Arc<dyn Queue>) {
    let taker = tokio::spawn({
        let queue = queue.clone();
        async move { take_done(&queue, 10).await }
    });
    assert!(is_empty(&queue, "another.lane").await);
    queue.offer("another.lane", &offers(&keys(1))).await;
    assert!(!taker.is_finished());
    queue.offer(LANE, &offers(&keys(1))).await;
    assert_eq!(taker.await.unwrap(), keys(1));
}

pub async fn no_more_is_taken_than_asked_for(queue: Arc<dyn Queue>) {
    queue.offer(LANE, &offers(&keys(10))).await;
    let mut taken = BTreeSet::new();
    while taken.len() < 10 {
        let some = take_done(&queue, 3).await;
        assert!((1..=3).contains(&some.len()), "{some:?}");
        taken.extend(some);
    }
    assert_eq!(taken, keys(10).into_iter().collect());
    assert!(is_empty(&queue, LANE).await);
}

pub async fn a_lane_carries_its_own_ids_only(queue: Arc<dyn Queue>) {
    queue.offer("slow", &offers(&keys(2)[..1])).await;
    queue.offer(LANE, &offers(&keys(2)[1..])).await;
    assert_eq!(take_done(&queue, 10).await, keys(2)[1..]);
    assert!(is_empty(&queue, LANE).await);
    assert_eq!(queue.take("slow", 10).await[0].key(), keys(2)[0]);
}

pub async fn a_dropped_ticket_comes_back_to_somebody(queue: Arc<dyn Queue>) {
    queue.offer(LANE, &offers(&keys(3))).await;
    let mut tickets = Vec::new();
    while tickets.len() < 3 {
        tickets.extend(queue.take(LANE, 3).await);
    }
    let waiter = tokio::spawn({
        let queue = queue.clone();
        async move { take_all(&queue, 2).await }
    });
    let done = tickets.pop().unwrap();
    let mut dropped: Vec<MessageKey> = tickets.iter().map(|ticket| ticket.key()).collect();
    done.done().await;
    drop(tickets);
    dropped.sort();
    assert_eq!(waiter.await.unwrap(), dropped);
}

pub async fn a_ticket_that_is_done_does_not_come_back(queue: Arc<dyn Queue>) {
    queue.offer(LANE, &offers(&keys(5))).await;
    take_all(&queue, 5).await;
    assert!(is_empty(&queue, LANE).await);
    // It is forgotten, not banned: a message that is due again is offered again.
    queue.offer(LANE, &offers(&keys(5))).await;
    assert_eq!(take_all(&queue, 5).await, keys(5));
}

pub async fn a_held_ticket_is_nobody_elses(queue: Arc<dyn Queue>) {
    queue.offer(LANE, &offers(&keys(1))).await;
    let held = queue.take(LANE, 1).await;
    assert!(is_empty(&queue, LANE).await);
    drop(held);
    assert_eq!(take_all(&queue, 1).await, keys(1));
}

pub async fn a_dropped_wait_takes_nothing(queue: Arc<dyn Queue>) {
    for _ in 0..5 {
        assert!(is_empty(&queue, LANE).await);
    }
    queue.offer(LANE, &offers(&keys(4))).await;
    assert_eq!(take_all(&queue, 4).await, keys(4));
    // And a wait that is dropped just as the offer comes.
    for round in 0..50u32 {
        let taker = tokio::spawn({
            let queue = queue.clone();
            async move { take_done(&queue, 1).await }
        });
        let offerer = tokio::spawn({
            let queue = queue.clone();
            async move { queue.offer(LANE, &offers(&keys(1))).await }
        });
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        taker.abort();
        offerer.await.unwrap();
        // Aborted between the take and its answer, the ticket was dropped; after its answer, it was done.
        match taker.await {
            Ok(taken) => assert_eq!(taken, keys(1)),
            Err(_) => assert_eq!(take_all(&queue, 1).await, keys(1), "round {round}"),
        }
    }
}

pub async fn an_id_that_is_offered_again_is_given_once_or_once_an_offer(queue: Arc<dyn Queue>) {
    let key = keys(1);
    for _ in 0..3 {
        queue.offer(LANE, &offers(&key)).await;
    }
    assert_eq!(take_done(&queue, 1).await, key);
    let more = drain(&queue).await;
    assert!(more.len() <= 2 && more.iter().all(|more| *more == key[0]), "{more:?}");
}

pub async fn the_next_offer_of_an_id_that_was_done_is_given(queue: Arc<dyn Queue>) {
    let key = keys(1);
    let first = offers(&key)[0];
    // Unclaimed and offered again; claimed and due again; both.
    let later = Offer { timer_at: first.timer_at + Duration::from_micros(1), ..first };
    let retry = Offer { fence: first.fence + 1, ..first };
    for offer in [first, later, retry, Offer { fence: retry.fence, ..later }] {
        queue.offer(LANE, &[offer]).await;
        assert_eq!(take_done(&queue, 1).await, key, "{offer:?}");
    }
}

pub async fn an_offer_that_is_made_twice_is_given_once_or_twice(queue: Arc<dyn Queue>) {
    let made = offers(&keys(20));
    queue.offer(LANE, &made).await;
    queue.offer(LANE, &made).await;
    let mut taken = take_all(&queue, 20).await;
    let count = taken.len();
    taken.extend(drain(&queue).await);
    assert!((count..=40).contains(&taken.len()), "{}", taken.len());
    taken.sort();
    taken.dedup();
    assert_eq!(taken, keys(20));
}

pub async fn many_takers_share_what_is_offered(queue: Arc<dyn Queue>) {
    let all = keys(200);
    let (counted, is_over) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    let takers: Vec<_> = (0..8)
        .map(|_| {
            let (queue, counted, is_over) = (queue.clone(), counted.clone(), is_over.clone());
            tokio::spawn(async move {
                let mut taken = Vec::new();
                while let Some(some) = is_over.run_until_cancelled(take_done(&queue, 7)).await {
                    if counted.fetch_add(some.len(), Ordering::SeqCst) + some.len() >= 200 {
                        is_over.cancel();
                    }
                    taken.extend(some);
                }
                taken
            })
        })
        .collect();
    for chunk in all.chunks(13) {
        queue.offer(LANE, &offers(chunk)).await;
    }
    let mut taken = Vec::new();
    for taker in takers {
        taken.extend(taker.await.unwrap());
    }
    taken.sort();
    assert_eq!(taken, all, "each once");
}

pub async fn what_waits_is_counted(queue: Arc<dyn Queue>) {
    assert_eq!(queue.waiting(LANE).await, 0);
    queue.offer(LANE, &offers(&keys(30))).await;
    until(|| async { queue.waiting(LANE).await == 30 }).await;
    assert_eq!(queue.waiting("another.lane").await, 0);
    take_all(&queue, 30).await;
    until(|| async { queue.waiting(LANE).await == 0 }).await;
}

pub async fn a_queue_tells_of_its_beginning_once(queue: Arc<dyn Queue>) {
    let waiter = tokio::spawn({
        let queue = queue.clone();
        async move { queue.begun().await }
    });
    let epoch = waiter.await.unwrap();
    assert!(!epoch.is_empty());
    for _ in 0..3 {
        assert!(tokio::time::timeout(PATIENCE, queue.begun()).await.is_err());
    }
}

/// Asks again until the answer is yes: for what may be told a little later.
async fn until<F: Future<Output = bool>>(ask: impl Fn() -> F) {
    while !ask().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Each time other offers.
fn offers(keys: &[MessageKey]) -> Vec<Offer> {
    static MADE: AtomicI64 = AtomicI64::new(0);
    let timer_at = START + Duration::from_micros(MADE.fetch_add(2, Ordering::Relaxed).unsigned_abs());
    keys.iter().map(|key| Offer { key: *key, fence: 0, timer_at }).collect()
}

/// Takes until nothing seems to come any more.
async fn drain(queue: &Arc<dyn Queue>) -> Vec<MessageKey> {
    let mut taken = Vec::new();
    while let Ok(some) = tokio::time::timeout(PATIENCE, take_done(queue, 10)).await {
        taken.extend(some);
    }
    taken
}

/// Sorted, of three clients.
fn keys(count: u32) -> Vec<MessageKey> {
    let key = |number: u32| {
        let mut bytes = [0; 10];
        bytes[6..].copy_from_slice(&number.to_be_bytes());
        let client = ClientId::new(START, Entropy([u8::try_from(number % 3).unwrap_or(0); 10]));
        MessageKey { client, id: MessageId::new(START, Entropy(bytes)) }
    };
    let mut keys: Vec<_> = (0..count).map(key).collect();
    keys.sort();
    keys
}

/// One take, done and sorted.
async fn take_done(queue: &Arc<dyn Queue>, limit: usize) -> Vec<MessageKey> {
    let mut taken = Vec::new();
    for ticket in queue.take(LANE, limit).await {
        taken.push(ticket.key());
        Ticket::done(ticket).await;
    }
    taken.sort();
    taken
}

/// Takes until `count` ids are there, sorted.
async fn take_all(queue: &Arc<dyn Queue>, count: usize) -> Vec<MessageKey> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(take_done(queue, count - taken.len()).await);
    }
    taken.sort();
    taken
}

async fn is_empty(queue: &Arc<dyn Queue>, lane: &str) -> bool {
    tokio::time::timeout(PATIENCE, queue.take(lane, 1)).await.is_err()
}
