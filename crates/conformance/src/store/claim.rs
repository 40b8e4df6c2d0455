//! Claims: who gets a message, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use delivery::model::{MessageKey, MessageState};
use delivery::plan::{Plan, StateChange};
use delivery::port::Claim;
use message::id::{ClientId, MessageId};
use message::status::Status;

use crate::bench::Bench;
use crate::given::{self, PROVIDER, VALIDITY};
use crate::verbs::{LEASE, rejected, retried, write};

pub async fn a_claim_takes_a_due_message_and_moves_its_fence(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    let before = bench.message(key).await;
    let head = bench.head(client).await;
    bench.clock.advance(Duration::from_secs(3));
    let claimed = bench.claim_one(key).await;
    assert_eq!((claimed.fence, claimed.attempt), (1, 1));
    assert_eq!(claimed.claimed_at, bench.clock.now());
    assert_eq!(claimed.record, before.record);
    // Durable and visible at once; no event, no timer and no credit has moved.
    let expected = MessageState {
        status: Status::Sending,
        fence: 1,
        attempt: 1,
        due_at: None,
        lease_until: Some(bench.clock.now() + LEASE),
        provider: PROVIDER.into(),
        ..before.state
    };
    assert_eq!(bench.message(key).await.state, expected);
    assert_eq!(bench.other.message(client, key.id).await.unwrap().unwrap().state, expected);
    assert_eq!(bench.head(client).await, head);
    bench.assert_sound(client).await;
}

pub async fn only_queued_and_failed_temp_messages_can_be_claimed(bench: Bench) {
    let client = bench.client().await;
    for status in Status::ALL {
        let key = bench.send(client).await;
        let now = bench.clock.now();
        let before = bench.open_message(key).await.state;
        let state = MessageState {
            status: *status,
            due_at: matches!(
                status,
                Status::Queued | Status::FailedTemp | Status::Scheduled | Status::Unknown | Status::Sending
            )
            .then_some(now),
            lease_until: (*status == Status::Sending).then_some(now + LEASE),
            ..before.clone()
        };
        change(&bench, key, &before, state).await;
        assert_eq!(bench.claim(&[key]).await.len(), usize::from(status.is_claimable()), "{status}");
    }
}

pub async fn a_message_is_claimed_from_its_due_time_until_its_validity_ends(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    let claimed = bench.claim_one(key).await;
    bench.outcome(&claimed, rejected(false)).await;
    let due = bench.message(key).await.state.due_at.unwrap();
    assert!(due > bench.clock.now());
    bench.clock.set(due - Duration::from_micros(1));
    assert!(bench.claim(&[key]).await.is_empty(), "not due yet");
    bench.clock.set(due);
    let claimed = bench.claim_one(key).await;
    assert_eq!((claimed.fence, claimed.attempt), (2, 2));

    let late = bench.send(client).await;
    bench.clock.advance(VALIDITY);
    assert!(bench.claim(&[late]).await.is_empty(), "its validity has ended");
    let last = bench.send(client).await;
    bench.clock.advance(VALIDITY - Duration::from_micros(1));
    assert_eq!(bench.claim(&[last]).await.len(), 1, "its validity ends in a moment");
}

pub async fn a_claim_leaves_out_what_it_cannot_take(bench: Bench) {
    let (client, foreign) = (bench.client().await, bench.client().await);
    let keys = bench.send_many(client, 3).await;
    bench.claim_one(keys[1]).await;
    let nobody = ClientId::new(bench.clock.now(), bench.entropy());
    let asked = [
        keys[0],
        keys[0],
        keys[1],
        keys[2],
        MessageKey { client: foreign, id: keys[2].id },
        MessageKey { client: nobody, id: keys[2].id },
        MessageKey { client, id: MessageId::new(bench.clock.now(), bench.entropy()) },
    ];
    let claimed = bench.claim(&asked).await;
    let taken: BTreeMap<_, _> =
        claimed.iter().map(|claimed| (claimed.record.key, (claimed.fence, claimed.attempt))).collect();
    assert_eq!(claimed.len(), 2, "each once");
    assert_eq!(taken, [(keys[0], (1, 1)), (keys[2], (1, 1))].into());
    assert!(bench.claim(&asked).await.is_empty());
    assert!(bench.claim(&[]).await.is_empty());
}

pub async fn a_claimed_message_comes_with_its_whole_content(bench: Bench) {
    let client = bench.client().await;
    let mut prepared = given::prepared(client);
    prepared.content = given::text(given::AWKWARD);
    prepared.sender = "Herald".into();
    prepared.part_count = 3;
    let message = &bench.accept(&[given::submission(prepared, bench.entropy())]).await[0];
    assert_eq!(bench.claim_one(message.record.key).await.record, message.record);
}

pub async fn many_workers_claim_each_message_once(bench: Bench) {
    let client = bench.client().await;
    let keys = bench.send_many(client, 100).await;
    let workers: Vec<_> = (0..12)
        .map(|worker| {
            let store = if worker % 2 == 0 { bench.store.clone() } else { bench.other.clone() };
            let mut keys = keys.clone();
            keys.rotate_left(worker * 8);
            tokio::spawn(async move {
                let mut taken = Vec::new();
                for chunk in keys.chunks(30) {
                    let claim = Claim { keys: chunk.to_vec(), provider: PROVIDER.into(), lease: LEASE };
                    let claimed = retried(|| store.claim(&claim)).await;
                    assert!(claimed.iter().all(|claimed| claimed.fence == 1 && claimed.attempt == 1));
                    taken.extend(claimed.into_iter().map(|claimed| claimed.record.key));
                }
                taken
            })
        })
        .collect();
    let mut taken = Vec::new();
    for worker in workers {
        taken.extend(worker.await.unwrap());
    }
    assert_eq!(taken.len(), keys.len());
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), keys.into_iter().collect());
}

/// Writes a state by hand.
async fn change(bench: &Bench, key: MessageKey, before: &MessageState, state: MessageState) {
    let change = StateChange {
        key,
        fence_before: before.fence,
        timer_before: before.timer_at,
        resolves_lock: false,
        state,
    };
    let plan = Plan { states: vec![change], ..Plan::default() };
    write(bench.store.as_ref(), &[key.client], &plan).await.unwrap();
}
