//! The claims on a bell. [`bell_suite!`](crate::bell_suite) makes a test of each.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use delivery::port::{Bell, Ring};
use message::id::{ClientId, Entropy};

use crate::bench::START;

/// How an adapter hands its bells to the suite.
pub trait BellFixture: 'static {
    fn fresh() -> impl Future<Output = Arc<dyn Bell>> + Send;
}

/// How long a silent bell is watched being silent.
const PATIENCE: Duration = Duration::from_millis(50);

pub async fn a_ring_wakes_a_waiter(bell: Arc<dyn Bell>) {
    let waiter = listen(&bell, [(client(1), 7)].into());
    bell.ring(&[Ring { client: client(1), last_seq: 7 }]).await;
    waiter.await.unwrap();
}

pub async fn a_bell_that_is_not_rung_is_silent(bell: Arc<dyn Bell>) {
    assert!(tokio::time::timeout(PATIENCE, bell.wait()).await.is_err());
    bell.ring(&[]).await;
    assert!(tokio::time::timeout(PATIENCE, bell.wait()).await.is_err());
}

pub async fn a_dropped_wait_does_not_deafen_the_next(bell: Arc<dyn Bell>) {
    for _ in 0..3 {
        assert!(tokio::time::timeout(PATIENCE, bell.wait()).await.is_err());
    }
    let waiter = listen(&bell, [(client(1), 1)].into());
    bell.ring(&[Ring { client: client(1), last_seq: 1 }]).await;
    waiter.await.unwrap();
}

pub async fn merged_rings_tell_the_newest_seq(bell: Arc<dyn Bell>) {
    let waiter = listen(&bell, [(client(1), 100), (client(2), 50)].into());
    for last_seq in 1..=100 {
        let mut rings = vec![Ring { client: client(1), last_seq }];
        if last_seq <= 50 {
            rings.push(Ring { client: client(2), last_seq });
        }
        bell.ring(&rings).await;
    }
    waiter.await.unwrap();
}

pub async fn many_ringers_are_all_heard(bell: Arc<dyn Bell>) {
    let waiter = listen(&bell, (0..8).map(|number| (client(number), 20)).collect());
    let ringers: Vec<_> = (0..8)
        .map(|number| {
            let bell = bell.clone();
            tokio::spawn(async move {
                for last_seq in 1..=20 {
                    bell.ring(&[Ring { client: client(number), last_seq }]).await;
                }
            })
        })
        .collect();
    for ringer in ringers {
        ringer.await.unwrap();
    }
    waiter.await.unwrap();
}

fn client(number: u8) -> ClientId {
    ClientId::new(START, Entropy([number; 10]))
}

/// Waits until each of these clients was rung for its seq, and for no other and no later.
fn listen(bell: &Arc<dyn Bell>, expected: BTreeMap<ClientId, i64>) -> tokio::task::JoinHandle<()> {
    let bell = bell.clone();
    tokio::spawn(async move {
        let mut heard = BTreeMap::new();
        while heard != expected {
            for ring in bell.wait().await {
                assert!(expected.get(&ring.client).is_some_and(|last| ring.last_seq <= *last), "{ring:?}");
                let newest = heard.entry(ring.client).or_insert(0);
                *newest = ring.last_seq.max(*newest);
            }
        }
    })
}
