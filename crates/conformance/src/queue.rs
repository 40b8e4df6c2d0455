//! The claims on a queue. [`queue_suite!`](crate::queue_suite) makes a test of each.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use delivery::model::MessageKey;
use delivery::port::{Queue, Ticket};
use message::id::{ClientId, Entropy, MessageId};

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
    queue.offer(LANE, &keys(3)).await;
    queue.offer(LANE, &[]).await;
    assert_eq!(take_all(&queue, 3).await, keys(3));
    assert!(is_empty(&queue, LANE).await);
}

pub async fn a_taker_waits_for_an_offer(queue: Arc<dyn Queue>) {
    let taker = tokio::spawn({
        let queue = queue.clone();
        async move { take_done(&queue, 10).await }
    });
    assert!(is_empty(&queue, "another lane").await);
    queue.offer("another lane", &keys(1)).await;
    assert!(!taker.is_finished());
    queue.offer(LANE, &keys(1)).await;
    assert_eq!(taker.await.unwrap(), keys(1));
}

pub async fn no_more_is_taken_than_asked_for(queue: Arc<dyn Queue>) {
    queue.offer(LANE, &keys(10)).await;
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
    queue.offer("slow", &keys(2)[..1]).await;
    queue.offer(LANE, &keys(2)[1..]).await;
    assert_eq!(take_done(&queue, 10).await, keys(2)[1..]);
    assert!(is_empty(&queue, LANE).await);
    assert_eq!(queue.take("slow", 10).await[0].key(), keys(2)[0]);
}

pub async fn a_dropped_ticket_comes_back_to_somebody(queue: Arc<dyn Queue>) {
    queue.offer(LANE, &keys(3)).await;
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
    queue.offer(LANE, &keys(5)).await;
    take_all(&queue, 5).await;
    assert!(is_empty(&queue, LANE).await);
    // It is forgotten, not banned: a message that is due again is offered again.
    queue.offer(LANE, &keys(5)).await;
    assert_eq!(take_all(&queue, 5).await, keys(5));
}

pub async fn a_held_ticket_is_nobody_elses(queue: Arc<dyn Queue>) {
    queue.offer(LANE, &keys(1)).await;
    let held = queue.take(LANE, 1).await;
    assert!(is_empty(&queue, LANE).await);
    drop(held);
    assert_eq!(take_all(&queue, 1).await, keys(1));
}

pub async fn a_dropped_wait_takes_nothing(queue: Arc<dyn Queue>) {
    for _ in 0..5 {
        assert!(is_empty(&queue, LANE).await);
    }
    queue.offer(LANE, &keys(4)).await;
    assert_eq!(take_all(&queue, 4).await, keys(4));
    // And a wait that is dropped just as the offer comes.
    for round in 0..50u32 {
        let taker = tokio::spawn({
            let queue = queue.clone();
            async move { take_done(&queue, 1).await }
        });
        let offerer = tokio::spawn({
            let queue = queue.clone();
            async move { queue.offer(LANE, &keys(1)).await }
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
        queue.offer(LANE, &key).await;
    }
    let mut given = 0;
    while let Ok(tickets) = tokio::time::timeout(PATIENCE, queue.take(LANE, 10)).await {
        for ticket in tickets {
            assert_eq!(ticket.key(), key[0]);
            ticket.done().await;
            given += 1;
        }
    }
    assert!((1..=3).contains(&given), "{given}");
}

pub async fn many_takers_share_what_is_offered(queue: Arc<dyn Queue>) {
    let all = keys(200);
    let takers: Vec<_> = (0..8)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let mut taken = Vec::new();
                while let Ok(tickets) = tokio::time::timeout(PATIENCE * 4, queue.take(LANE, 7)).await {
                    for ticket in tickets {
                        taken.push(ticket.key());
                        ticket.done().await;
                    }
                }
                taken
            })
        })
        .collect();
    for chunk in all.chunks(13) {
        queue.offer(LANE, chunk).await;
    }
    let mut taken = Vec::new();
    for taker in takers {
        taken.extend(taker.await.unwrap());
    }
    taken.sort();
    assert_eq!(taken, all, "each once");
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
