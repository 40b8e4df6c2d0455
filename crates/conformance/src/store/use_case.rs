//! The accept batcher against the store: one receipt a key, no overdraft, and a poison item that fails alone.

use std::sync::Arc;
use std::time::Duration;

use delivery::accept::prepare::Prepared;
use delivery::accept::{AcceptError, Acceptor, Ports, Receipt};
use delivery::lane::Lanes;
use delivery::port::{Store, StoreError};
use message::status::Status;
use tokio_util::sync::CancellationToken;

use crate::bench::Bench;
use crate::given::{self, PRICE, PROVIDER};

/// Batch writers that stop with the claim.
pub(super) struct Writers {
    pub(super) acceptor: Acceptor,
    stop: CancellationToken,
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub async fn racing_duplicates_make_one_message_and_one_receipt(bench: Bench) {
    let client = bench.client().await;
    // Two nodes with two writers each.
    let nodes = [writers(&bench, &bench.store, 2), writers(&bench, &bench.other, 2)];
    let callers: Vec<_> = (0..64)
        .map(|n| {
            let acceptor = nodes[n % 2].acceptor.clone();
            let submission = given::submission(given::keyed(client, "key", "hello"), bench.entropy());
            tokio::spawn(async move { acceptor.accept(submission).unwrap().wait().await })
        })
        .collect();
    let mut receipts = Vec::new();
    for caller in callers {
        receipts.push(caller.await.unwrap().unwrap());
    }
    assert_eq!(receipts.iter().filter(|receipt| !receipt.is_replay).count(), 1);
    let first = receipts[0].message.record.clone();
    assert!(receipts.iter().all(|receipt| receipt.message.record == first));
    assert_eq!(bench.messages(client).await.len(), 1);
    assert_eq!(bench.balance(client).await.1, PRICE);
    assert_eq!(bench.queue.drain(), [first.key]);

    let other_body = accept(&nodes[0], &bench, given::keyed(client, "key", "other")).await;
    assert!(
        matches!(other_body, Err(AcceptError::KeyReused { first_message: Some(id) }) if id == first.key.id),
        "{other_body:?}"
    );
    bench.assert_sound(client).await;
}

pub async fn credit_for_a_hundred_accepts_exactly_a_hundred(bench: Bench) {
    let client = bench.client_with(100 * PRICE, |_| {}).await;
    let nodes = [Arc::new(writers(&bench, &bench.store, 1)), Arc::new(writers(&bench, &bench.other, 1))];
    let callers: Vec<_> = (0..16)
        .map(|n| {
            let node = nodes[n % 2].clone();
            let batch: Vec<_> =
                (0..20).map(|_| given::submission(given::prepared(client), bench.entropy())).collect();
            tokio::spawn(async move {
                let mut accepted = 0;
                for submission in batch {
                    match node.acceptor.accept(submission).unwrap().wait().await {
                        Ok(_) => accepted += 1,
                        Err(AcceptError::InsufficientCredit { need_micros, available_micros, .. }) => {
                            assert_eq!((need_micros, available_micros), (PRICE, 0));
                        }
                        Err(error) => panic!("{error:?}"),
                    }
                }
                accepted
            })
        })
        .collect();
    let mut accepted = 0;
    for caller in callers {
        accepted += caller.await.unwrap();
    }
    assert_eq!(accepted, 100);
    assert_eq!(bench.balance(client).await, (0, 100 * PRICE));
    assert_eq!(bench.messages(client).await.len(), 100);
    bench.assert_sound(client).await;
}

pub async fn a_poison_item_fails_alone(bench: Bench) {
    let client = bench.client().await;
    let node = Arc::new(writers(&bench, &bench.store, 1));
    let callers: Vec<_> = (0..30)
        .map(|n| {
            let mut prepared = given::prepared(client);
            // No store takes a message of no part; that it is one is checked long before.
            prepared.part_count = u16::from(n % 10 != 7);
            let submission = given::submission(prepared, bench.entropy());
            let node = node.clone();
            tokio::spawn(async move { (n % 10 == 7, node.acceptor.accept(submission).unwrap().wait().await) })
        })
        .collect();
    for caller in callers {
        let (is_poison, result) = caller.await.unwrap();
        assert_eq!(
            matches!(result, Err(AcceptError::Store(StoreError::Refused(_)))),
            is_poison,
            "{result:?}"
        );
        assert_eq!(result.is_ok(), !is_poison);
    }
    assert_eq!(bench.messages(client).await.len(), 27);
    bench.assert_sound(client).await;
}

pub async fn a_replay_is_the_first_answer_whatever_became_of_the_message(bench: Bench) {
    let client = bench.client().await;
    let node = writers(&bench, &bench.store, 1);
    let first = accept(&node, &bench, given::keyed(client, "key", "hello")).await.unwrap();
    let claimed = bench.claim_one(first.message.record.key).await;
    bench.outcome(&claimed, crate::verbs::rejected(true)).await;
    bench.suspend(client).await;
    bench.clock.advance(Duration::from_secs(23 * 3_600));
    let replay = accept(&node, &bench, given::keyed(client, "key", "hello")).await.unwrap();
    assert!(replay.is_replay);
    assert_eq!(replay.message.record, first.message.record);
    assert_eq!(replay.message.state.status, Status::Queued);
    let new = accept(&node, &bench, given::keyed(client, "new", "hello")).await;
    assert!(matches!(new, Err(AcceptError::ClientSuspended)), "{new:?}");
}

pub async fn a_key_may_be_used_again_after_its_day(bench: Bench) {
    let client = bench.client().await;
    let node = writers(&bench, &bench.store, 1);
    let first = accept(&node, &bench, given::keyed(client, "key", "hello")).await.unwrap();
    bench.clock.advance(bench.timing.key_lifetime);
    let second = accept(&node, &bench, given::keyed(client, "key", "other")).await.unwrap();
    assert!(!second.is_replay);
    assert_ne!(second.message.record.key, first.message.record.key);
    let replay = accept(&node, &bench, given::keyed(client, "key", "other")).await.unwrap();
    assert!(replay.is_replay);
    assert_eq!(replay.message.record, second.message.record);
    bench.sweep().await;
    bench.assert_sound(client).await;
}

pub async fn what_is_refused_leaves_its_key_free(bench: Bench) {
    let client = bench.client_with(PRICE - 1, |_| {}).await;
    let node = writers(&bench, &bench.store, 1);
    let refused = accept(&node, &bench, given::keyed(client, "key", "hello")).await;
    assert!(matches!(refused, Err(AcceptError::InsufficientCredit { .. })), "{refused:?}");
    assert_eq!(bench.head(client).await.last_seq, 1);
    bench.top_up(client, 1, "more").await;
    assert!(!accept(&node, &bench, given::keyed(client, "key", "hello")).await.unwrap().is_replay);
    assert_eq!(bench.balance(client).await, (0, PRICE));
}

pub async fn racing_top_ups_of_one_key_are_booked_once(bench: Bench) {
    let client = bench.client_with(0, |_| {}).await;
    let callers: Vec<_> = (0..16)
        .map(|n| {
            let store = if n % 2 == 0 { bench.store.clone() } else { bench.other.clone() };
            let (bell, timing) = (bench.bell.clone(), bench.timing.clone());
            tokio::spawn(async move {
                let request = delivery::top_up::TopUp {
                    client,
                    amount_micros: 7,
                    currency: "USD".into(),
                    idempotency_key: "key".into(),
                    note: given::AWKWARD.into(),
                };
                delivery::top_up::top_up(store.as_ref(), bell.as_ref(), &timing, &request, None)
                    .await
                    .unwrap()
            })
        })
        .collect();
    let mut receipts = Vec::new();
    for caller in callers {
        receipts.push(caller.await.unwrap());
    }
    assert_eq!(receipts.iter().filter(|receipt| !receipt.is_replay).count(), 1);
    let event = bench.events(client).await.pop().unwrap();
    assert!(receipts.iter().all(|receipt| receipt.event == event));
    assert_eq!(bench.balance(client).await, (7, 0));
    bench.assert_sound(client).await;
}

pub(super) fn writers(bench: &Bench, store: &Arc<dyn Store>, count: usize) -> Writers {
    let ports = Ports {
        store: store.clone(),
        queue: bench.queue.clone(),
        bell: bench.bell.clone(),
        limiter: bench.limiter.clone(),
        timing: bench.timing.clone(),
        lanes: Lanes::of(PROVIDER),
    };
    let stop = CancellationToken::new();
    Writers { acceptor: Acceptor::start(&ports, count, &stop), stop }
}

async fn accept(node: &Writers, bench: &Bench, prepared: Prepared) -> Result<Receipt, AcceptError> {
    node.acceptor.accept(given::submission(prepared, bench.entropy()))?.wait().await
}
