//! Plans: written whole, seen after the commit, or not at all.

use std::collections::BTreeSet;
use std::time::Duration;

use delivery::model::{Head, IdempotencyKey, KeyKind, Made, MessageKey, OpenMessage, RememberedCall};
use delivery::plan::{Plan, Wanted};
use delivery::port::StoreError;
use ledger::Balance;
use message::event::TransactionType;
use message::id::{ClientId, MessageId};
use message::status::Status;

use crate::bench::Bench;
use crate::given::{self, PRICE};
use crate::verbs::{self, ALL, load, write};

pub async fn a_plan_is_visible_after_its_commit_only(bench: Bench) {
    let client = bench.client().await;
    let before = bench.head(client).await;
    let batch = [given::submission(given::keyed(client, "key", "hello"), bench.entropy())];
    let (mut tx, plan, _) = verbs::decide(bench.store.as_ref(), &bench.timing, &batch).await.unwrap();
    let key = plan.messages[0].record.key;
    tx.write(&plan).await.unwrap();
    for store in [&bench.store, &bench.other] {
        assert_eq!(store.message(client, key.id).await.unwrap(), None);
        assert_eq!(store.client(client).await.unwrap().unwrap().1, before);
        assert_eq!(store.events(client, 0, ALL).await.unwrap().last_seq, before.last_seq);
        assert_eq!(store.remembered(&plan.keys[0].key).await.unwrap(), None);
        assert_eq!(store.backlog(None, ALL).await.unwrap(), []);
    }
    tx.commit().await.unwrap();
    for store in [&bench.store, &bench.other] {
        assert_eq!(store.message(client, key.id).await.unwrap().as_ref(), Some(&plan.messages[0]));
        assert_eq!(store.client(client).await.unwrap().unwrap().1, plan.heads[0].1);
        assert_eq!(store.events(client, before.last_seq, ALL).await.unwrap().events, plan.events);
        assert_eq!(store.remembered(&plan.keys[0].key).await.unwrap().as_ref(), Some(&plan.keys[0]));
        assert_eq!(store.backlog(None, ALL).await.unwrap().len(), 1);
    }
    bench.assert_sound(client).await;
}

pub async fn a_transaction_dropped_before_its_commit_leaves_nothing(bench: Bench) {
    let client = bench.client().await;
    let before = bench.head(client).await;
    let batch = [given::submission(given::keyed(client, "key", "hello"), bench.entropy())];
    let (mut tx, plan, _) = verbs::decide(bench.store.as_ref(), &bench.timing, &batch).await.unwrap();
    tx.write(&plan).await.unwrap();
    drop(tx);
    let (tx, loaded) = load(bench.other.as_ref(), &wanted_of(client, &plan)).await;
    assert_eq!(loaded.clients[&client].1, before);
    assert!(loaded.messages.is_empty() && loaded.keys.is_empty());
    drop(tx);
    bench.clock.advance(Duration::from_secs(3_600));
    assert_eq!(bench.due().await, []);
    assert_eq!(bench.events(client).await.len(), 1, "the top-up");
    // And nothing of it stands in the way of the same work.
    bench.accept(&batch).await;
    bench.assert_sound(client).await;
}

pub async fn a_transaction_dropped_at_any_step_lets_the_next_one_in(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    drop(bench.store.begin().await.unwrap());
    drop(load(bench.store.as_ref(), &verbs::wanted(&[key])).await);
    // Dropped in the middle of a verb, as a task that is aborted drops it.
    for patience in 0..20 {
        let mut tx = bench.store.begin().await.unwrap();
        let wanted = verbs::wanted(&[key]);
        let _ = tokio::time::timeout(Duration::from_micros(patience * 50), tx.load(&wanted)).await;
    }
    let (_tx, loaded) = load(bench.other.as_ref(), &verbs::wanted(&[key])).await;
    assert_eq!(loaded.messages[&key].state.status, Status::Queued);
}

pub async fn what_does_not_exist_is_absent_from_a_load(bench: Bench) {
    let client = bench.client().await;
    let there = bench.send(client).await;
    let nobody = ClientId::new(bench.clock.now(), bench.entropy());
    let nothing = MessageId::new(bench.clock.now(), bench.entropy());
    let foreign = bench.client().await;
    let wanted = Wanted {
        clients: [client, foreign, nobody].into(),
        messages: [
            there,
            MessageKey { client, id: nothing },
            MessageKey { client: foreign, id: there.id },
            MessageKey { client: nobody, id: there.id },
        ]
        .into(),
        keys: [IdempotencyKey { client, kind: KeyKind::Send, key: "none".into() }].into(),
        reports: [1, 77, i64::MAX].into(),
        dead_letters: [there, MessageKey { client, id: nothing }].into(),
    };
    let (_tx, loaded) = load(bench.store.as_ref(), &wanted).await;
    assert_eq!(loaded.clients.keys().copied().collect::<BTreeSet<_>>(), [client, foreign].into());
    assert_eq!(loaded.messages.keys().copied().collect::<Vec<_>>(), [there]);
    assert!(loaded.keys.is_empty() && loaded.pending_reports.is_empty() && loaded.dead_letters.is_empty());
}

pub async fn an_empty_load_tells_the_time(bench: Bench) {
    let (tx, loaded) = load(bench.store.as_ref(), &Wanted::default()).await;
    assert_eq!(loaded.now, bench.clock.now());
    assert!(loaded.clients.is_empty() && loaded.messages.is_empty());
    tx.commit().await.unwrap();
}

pub async fn a_load_reads_what_was_written(bench: Bench) {
    let client = bench.client().await;
    let message =
        &bench.accept(&[given::submission(given::keyed(client, "key", "hello"), bench.entropy())]).await[0];
    let key = IdempotencyKey { client, kind: KeyKind::Send, key: "key".into() };
    let wanted = Wanted { keys: [key.clone()].into(), ..verbs::wanted(&[message.record.key]) };
    let (_tx, loaded) = load(bench.store.as_ref(), &wanted).await;
    let record = message.record.clone();
    let expected = OpenMessage {
        key: record.key,
        to: record.to,
        reference: record.reference,
        part_count: record.part_count,
        price_micros: record.price_micros,
        on_unknown: record.on_unknown,
        priority: record.priority,
        expire_at: record.expire_at,
        state: message.state.clone(),
    };
    assert_eq!(loaded.messages[&record.key], expected);
    assert_eq!(loaded.clients[&client], bench.store.client(client).await.unwrap().unwrap());
    assert_eq!(loaded.keys[&key].made, Made::Message(record.key.id));
    assert_eq!(loaded.keys[&key].created_at, bench.clock.now());
}

pub async fn a_key_that_is_written_again_is_replaced(bench: Bench) {
    let client = bench.client().await;
    let key = IdempotencyKey { client, kind: KeyKind::Send, key: "again".into() };
    let mut last = None;
    for round in ["first", "second"] {
        bench.clock.advance(Duration::from_secs(25 * 3_600));
        let made = Made::Message(MessageId::new(bench.clock.now(), bench.entropy()));
        let call = RememberedCall {
            key: key.clone(),
            fingerprint: given::fingerprint(round),
            made,
            created_at: bench.clock.now(),
        };
        write(bench.store.as_ref(), &[client], &Plan { keys: vec![call.clone()], ..Plan::default() })
            .await
            .unwrap();
        assert_eq!(bench.store.remembered(&key).await.unwrap().as_ref(), Some(&call));
        last = Some(call);
    }
    let wanted = Wanted { clients: [client].into(), keys: [key.clone()].into(), ..Wanted::default() };
    let (_tx, loaded) = load(bench.store.as_ref(), &wanted).await;
    assert_eq!(loaded.keys.get(&key), last.as_ref());
}

pub async fn keys_differ_by_client_kind_and_each_character(bench: Bench) {
    let (one, two) = (bench.client().await, bench.client().await);
    let key = |client, kind, key: &str| IdempotencyKey { client, kind, key: key.to_owned() };
    let keys = [
        key(one, KeyKind::Send, "key"),
        key(one, KeyKind::TopUp, "key"),
        key(one, KeyKind::Adjust, "key"),
        key(two, KeyKind::Send, "key"),
        key(one, KeyKind::Send, "KEY"),
        key(one, KeyKind::Send, "key "),
        key(one, KeyKind::Send, "k%y"),
    ];
    let calls: Vec<RememberedCall> = keys
        .iter()
        .zip(1..)
        .map(|(key, seq)| RememberedCall {
            key: key.clone(),
            fingerprint: given::fingerprint(&seq.to_string()),
            made: Made::Event(seq),
            created_at: bench.clock.now(),
        })
        .collect();
    let plan = Plan { keys: calls.clone(), ..Plan::default() };
    write(bench.store.as_ref(), &[one, two], &plan).await.unwrap();
    let wanted = Wanted { clients: [one, two].into(), keys: keys.clone().into(), ..Wanted::default() };
    let (_tx, loaded) = load(bench.store.as_ref(), &wanted).await;
    for call in &calls {
        assert_eq!(loaded.keys.get(&call.key), Some(call));
        assert_eq!(bench.store.remembered(&call.key).await.unwrap().as_ref(), Some(call));
    }
}

pub async fn one_refused_row_refuses_the_whole_plan(bench: Bench) {
    let client = bench.client().await;
    let there = bench.send(client).await;
    let before = bench.head(client).await;
    let mut twin = given::message(client, bench.entropy(), bench.clock.now(), before.last_seq + 1);
    twin.record.key = there;
    let new = given::message(client, bench.entropy(), bench.clock.now(), before.last_seq + 2);
    let head = Head { last_seq: before.last_seq + 2, ..before };
    let plan = Plan { heads: vec![(client, head)], messages: vec![new.clone(), twin], ..Plan::default() };
    let refused = write(bench.store.as_ref(), &[client], &plan).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(bench.head(client).await, before);
    assert_eq!(bench.store.message(client, new.record.key.id).await.unwrap(), None);
    bench.assert_sound(client).await;
}

pub async fn a_seq_is_given_once(bench: Bench) {
    let client = bench.client().await;
    let event = bench.events(client).await.remove(0);
    let refused =
        write(bench.store.as_ref(), &[client], &Plan { events: vec![event], ..Plan::default() }).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    bench.assert_sound(client).await;
}

pub async fn a_negative_balance_is_refused(bench: Bench) {
    let client = bench.client_with(100, |_| {}).await;
    for after in [(-1, 101), (101, -1), (i64::MIN, 0)] {
        let transaction = given::transaction(TransactionType::Hold, None, 0, 0);
        let event = given::movement(client, 2, bench.clock.now(), transaction, after);
        let plan = Plan { events: vec![event], ..Plan::default() };
        let refused = write(bench.store.as_ref(), &[client], &plan).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{after:?}: {refused:?}");
    }
    bench.assert_sound(client).await;
}

pub async fn a_message_without_a_part_is_refused(bench: Bench) {
    let client = bench.client().await;
    for part_count in [0, 256] {
        let mut message = given::message(client, bench.entropy(), bench.clock.now(), 2);
        message.record.part_count = part_count;
        let plan = Plan { messages: vec![message], ..Plan::default() };
        let refused = write(bench.store.as_ref(), &[client], &plan).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    }
}

pub async fn an_empty_plan_changes_nothing(bench: Bench) {
    let client = bench.client().await;
    let before = bench.store.client(client).await.unwrap();
    let written = write(bench.store.as_ref(), &[client], &Plan::default()).await.unwrap();
    assert!(!written.has_early_reports);
    assert_eq!(bench.store.client(client).await.unwrap(), before);
}

pub async fn a_transaction_writes_as_many_messages_as_a_batch_holds(bench: Bench) {
    let clients = [bench.client().await, bench.client().await, bench.client().await];
    let batch: Vec<_> = (0..600)
        .map(|n| {
            let prepared = given::keyed(clients[n % 3], &format!("key-{n}"), "hello");
            given::submission(prepared, bench.entropy())
        })
        .collect();
    let accepted = bench.accept(&batch).await;
    for client in clients {
        assert_eq!(bench.balance(client).await, (100_000_000 - 200 * PRICE, 200 * PRICE));
        assert_eq!(bench.events(client).await.len(), 201);
        bench.assert_sound(client).await;
    }
    let keys: Vec<_> = accepted.iter().map(|message| message.record.key).collect();
    assert_eq!(bench.claim(&keys).await.len(), 600);
    let (_tx, loaded) = load(bench.store.as_ref(), &verbs::wanted(&keys)).await;
    assert_eq!(loaded.messages.len(), 600);
}

pub async fn heads_hold_the_largest_amounts(bench: Bench) {
    let client = bench.client_with(i64::MAX - 7, |_| {}).await;
    assert_eq!(bench.balance(client).await, (i64::MAX - 7, 0));
    let balance = Balance::new(3, i64::MAX - 3).unwrap();
    let head = Head { balance, last_seq: i64::MAX, oldest_seq: i64::MAX };
    write(bench.store.as_ref(), &[client], &Plan { heads: vec![(client, head)], ..Plan::default() })
        .await
        .unwrap();
    assert_eq!(bench.head(client).await, head);
    let wanted = Wanted { clients: [client].into(), ..Wanted::default() };
    let (_tx, loaded) = load(bench.store.as_ref(), &wanted).await;
    assert_eq!(loaded.clients[&client].1, head);
}

fn wanted_of(client: ClientId, plan: &Plan) -> Wanted {
    Wanted {
        clients: [client].into(),
        messages: plan.messages.iter().map(|message| message.record.key).collect(),
        keys: plan.keys.iter().map(|call| call.key.clone()).collect(),
        ..Wanted::default()
    }
}
