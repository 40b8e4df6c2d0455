//! The gate between the limiter and the store: what is remembered costs neither rate nor a transaction.

use std::time::Duration;

use delivery::accept::{AcceptError, Gate, OverRate, Receipt, SendRequest};
use delivery::model::{Made, RememberedCall};
use delivery::plan::Wanted;
use delivery::port::Limiter;
use message::id::{ClientId, Entropy, MessageId};
use message::parts::ReferenceBits;
use message::status::Status;
use routing::rates::RateTable;
use routing::route::{ProviderEntry, ProviderKind};

use super::use_case::{Writers, writers};
use crate::bench::{Bench, START};
use crate::given::{PRICE, PROVIDER};
use crate::verbs;

/// How long an answer may take that waits for nobody.
const PATIENCE: Duration = Duration::from_secs(30);

/// One node's gate.
struct Door {
    gate: Gate,
    /// Stops its writers with the claim.
    _writers: Writers,
}

pub async fn what_is_committed_under_a_key_is_told_to_the_limiter(bench: Bench) {
    let client = limited(&bench, 2 * PRICE).await;
    let door = open(&bench);
    let first = send(&bench, &door, client, "key", "hello").await.unwrap();
    send(&bench, &door, client, "", "hello").await.unwrap();
    let refused = send(&bench, &door, client, "poor", "hello").await;
    assert!(matches!(refused, Err(AcceptError::InsufficientCredit { .. })), "{refused:?}");
    let copies = bench.limiter.copies();
    let told: Vec<_> = copies.iter().map(|copy| (copy.key.key.as_str(), copy.made)).collect();
    assert_eq!(told, [("key", Made::Message(first.message.record.key.id))]);
    assert_eq!(bench.store.remembered(&copies[0].key).await.unwrap(), Some(copies[0].clone()));
}

pub async fn a_call_that_the_limiter_remembers_is_answered_without_a_transaction_and_without_rate(
    bench: Bench,
) {
    let client = limited(&bench, 10 * PRICE).await;
    let door = open(&bench);
    let first = send(&bench, &door, client, "key", "hello").await.unwrap();
    let claimed = bench.claim_one(first.message.record.key).await;
    bench.outcome(&claimed, verbs::rejected(true)).await;
    bench.limiter.refuse(true);
    // A transaction of the gate's own would wait for this one.
    let wanted = Wanted { clients: [client].into(), ..Wanted::default() };
    let (tx, _) = verbs::load(bench.store.as_ref(), &wanted).await;
    let replay = send(&bench, &door, client, "key", "hello");
    let replay = tokio::time::timeout(PATIENCE, replay).await.expect("nobody is waited for").unwrap();
    drop(tx);
    assert!(replay.is_replay);
    assert_eq!(replay.message.record, first.message.record);
    assert_eq!(replay.message.state.status, Status::Queued, "as it was accepted");
    assert_eq!(bench.limiter.taken(), 1);
    assert_eq!(bench.messages(client).await.len(), 1);
}

pub async fn a_copy_of_a_message_that_is_not_there_leaves_the_decision_to_the_store(bench: Bench) {
    let client = limited(&bench, 10 * PRICE).await;
    let other = limited(&bench, 10 * PRICE).await;
    let door = open(&bench);
    let foreign = send(&bench, &door, other, "key", "hello").await.unwrap().message.record.key.id;
    let first = send(&bench, &door, client, "key", "hello").await.unwrap().message.record;
    let told = bench.limiter.copies().pop().unwrap();
    for stranger in [MessageId::new(START, Entropy([255; 10])), foreign] {
        bench.limiter.remember(
            &[RememberedCall { made: Made::Message(stranger), ..told.clone() }],
            bench.timing.key_lifetime,
        );
        let replay = send(&bench, &door, client, "key", "hello").await.unwrap();
        assert!(replay.is_replay);
        assert_eq!(replay.message.record, first);
    }
    assert_eq!(bench.limiter.taken(), 2, "the two messages; what their replays took is given back");
    bench.assert_sound(client).await;
}

pub async fn a_replay_without_a_copy_passes_a_limiter_that_refuses(bench: Bench) {
    let client = limited(&bench, 10 * PRICE).await;
    let door = open(&bench);
    let first = send(&bench, &door, client, "key", "hello").await.unwrap();
    bench.limiter.forget_copies();
    bench.limiter.refuse(true);
    let replay = send(&bench, &door, client, "key", "hello").await.unwrap();
    assert!(replay.is_replay);
    assert_eq!(replay.message.record, first.message.record);
    let other = send(&bench, &door, client, "key", "other").await;
    assert!(matches!(other, Err(AcceptError::KeyReused { .. })), "{other:?}");
    assert_eq!(bench.limiter.taken(), 1);
}

pub async fn a_send_over_the_rate_is_refused_and_leaves_its_key_free(bench: Bench) {
    let client = limited(&bench, 10 * PRICE).await;
    let door = open(&bench);
    bench.limiter.refuse(true);
    let refused = send(&bench, &door, client, "key", "hello").await;
    assert!(matches!(refused, Err(AcceptError::RateLimited { parts_per_second: 7, .. })), "{refused:?}");
    bench.limiter.refuse(false);
    assert!(!send(&bench, &door, client, "key", "other").await.unwrap().is_replay);
    assert_eq!(bench.limiter.taken(), 1);
}

pub async fn what_costs_nothing_gives_its_rate_back(bench: Bench) {
    let client = limited(&bench, PRICE).await;
    let door = open(&bench);
    send(&bench, &door, client, "key", "hello").await.unwrap();
    bench.limiter.forget_copies();
    assert!(send(&bench, &door, client, "key", "hello").await.unwrap().is_replay);
    let poor = send(&bench, &door, client, "poor", "hello").await;
    assert!(matches!(poor, Err(AcceptError::InsufficientCredit { .. })), "{poor:?}");
    assert_eq!(bench.limiter.taken(), 1);
    bench.update_client(client, |client| client.parts_per_second = 0).await;
    bench.top_up(client, PRICE, "more").await;
    door.gate.forget(client);
    send(&bench, &door, client, "unlimited", "hello").await.unwrap();
    assert_eq!(bench.limiter.taken(), 1);
}

fn open(bench: &Bench) -> Door {
    let writers = writers(bench, &bench.store, 1);
    let rates = RateTable::new([("USD".into(), "1".into(), PRICE)]).unwrap();
    let providers = vec![ProviderEntry::new(PROVIDER, ProviderKind::Simulator)];
    let gate = Gate::new(
        bench.store.clone(),
        bench.limiter.clone(),
        writers.acceptor.clone(),
        rates,
        providers,
        ReferenceBits::Sixteen,
    );
    Door { gate, _writers: writers }
}

/// A client with a rate, and this credit.
async fn limited(bench: &Bench, credit: i64) -> ClientId {
    bench.client_with(credit, |client| (client.parts_per_second, client.burst_parts) = (7, 7)).await
}

/// A message of one part; an empty key is none.
async fn send(
    bench: &Bench,
    door: &Door,
    client: ClientId,
    key: &str,
    text: &str,
) -> Result<Receipt, AcceptError> {
    let request = SendRequest {
        to: "+12025550100".into(),
        text: text.into(),
        idempotency_key: key.into(),
        ..SendRequest::default()
    };
    door.gate.begin(client, &request, bench.entropy(), OverRate::Refuse).await?.finish(&door.gate).await
}
