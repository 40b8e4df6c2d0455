//! Reads: the client's own rows, in order, by pages; another's never.

use std::collections::BTreeMap;
use std::time::Duration;

use delivery::model::{IdempotencyKey, KeyKind, MessageKey};
use delivery::port::{Checkpoint, EventPage, PageAsked, TransactionFilter};
use message::event::Event;
use message::id::{ClientId, MessageId};
use message::report::ReportState;

use crate::bench::Bench;
use crate::given;
use crate::verbs::{ALL, accepted, rejected};

pub async fn another_clients_rows_read_as_absent(bench: Bench) {
    let (owner, foreign) = (bench.client().await, bench.client().await);
    let accepted =
        bench.accept(&[given::submission(given::keyed(owner, "key", "hello"), bench.entropy())]).await;
    let id = accepted[0].record.key.id;
    let nobody = ClientId::new(bench.clock.now(), bench.entropy());
    let store = &bench.store;
    for stranger in [foreign, nobody] {
        assert_eq!(store.message(stranger, id).await.unwrap(), None);
        assert_eq!(bench.messages(stranger).await, []);
        let end = bench.clock.now() + Duration::from_secs(1);
        assert_eq!(store.old_messages(stranger, end, None, ALL).await.unwrap(), []);
        assert_eq!(store.history(stranger, id).await.unwrap(), []);
        let filter = TransactionFilter { message: Some(id), ..TransactionFilter::default() };
        assert_eq!(store.transactions(stranger, &filter, i64::MAX, ALL).await.unwrap(), []);
        let key = IdempotencyKey { client: stranger, kind: KeyKind::Send, key: "key".into() };
        assert_eq!(store.remembered(&key).await.unwrap(), None);
        assert!(bench.claim(&[MessageKey { client: stranger, id }]).await.is_empty());
        let log = store.events(stranger, 0, ALL).await.unwrap();
        assert!(log.events.iter().all(|event| event.client == stranger && event.message().is_none()));
    }
    assert_eq!(store.client(nobody).await.unwrap(), None);
    assert_eq!(
        store.events(nobody, 0, ALL).await.unwrap(),
        EventPage { events: Vec::new(), last_seq: 0, oldest_seq: 1 }
    );
    assert_eq!(store.last_seqs(&[nobody]).await.unwrap(), []);
    let filter = TransactionFilter::default();
    assert_eq!(store.transactions(nobody, &filter, i64::MAX, ALL).await.unwrap(), []);
    assert_eq!(store.totals(nobody, 0, i64::MAX).await.unwrap(), []);
    assert_eq!(store.books(nobody, bench.clock.now()).await.unwrap(), None);
}

pub async fn events_are_read_after_a_position_with_the_ends_of_the_log(bench: Bench) {
    let client = bench.client().await;
    bench.send_many(client, 9).await;
    let all = bench.events(client).await;
    assert_eq!(all.iter().map(|event| event.seq).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    for (after, limit) in
        [(0, 3), (3, 100), (9, 1), (10, 5), (11, 5), (i64::MAX, 5), (0, 0), (4, 0), (0, i64::MAX)]
    {
        let page = bench.store.events(client, after, limit).await.unwrap();
        let expected: Vec<Event> = all
            .iter()
            .filter(|event| event.seq > after)
            .take(usize::try_from(limit).unwrap())
            .cloned()
            .collect();
        assert_eq!(
            page,
            EventPage { events: expected, last_seq: 10, oldest_seq: 1 },
            "after {after} of {limit}"
        );
    }
}

pub async fn several_pages_at_once_are_those_of_each_alone(bench: Bench) {
    let (one, two) = (bench.client().await, bench.client().await);
    bench.send_many(one, 5).await;
    bench.send_many(two, 3).await;
    let nobody = ClientId::new(bench.clock.now(), bench.entropy());
    let asked =
        [(two, 1, 2), (one, 0, ALL), (nobody, 0, 5), (one, 6, 5), (two, 0, 0), (one, 2, 1), (two, 9, 1)]
            .map(|(client, after, limit)| PageAsked { client, after, limit });
    let mut alone = Vec::new();
    for PageAsked { client, after, limit } in asked {
        alone.push(bench.store.events(client, after, limit).await.unwrap());
    }
    assert_eq!(bench.store.event_pages(&asked).await.unwrap(), alone);
    assert_eq!(bench.store.event_pages(&[]).await.unwrap(), []);
}

pub async fn a_history_is_one_messages_chain_of_events(bench: Bench) {
    let client = bench.client().await;
    let keys = bench.send_many(client, 3).await;
    let claimed: BTreeMap<_, _> =
        bench.claim(&keys).await.into_iter().map(|claimed| (claimed.record.key, claimed)).collect();
    bench.outcome(&claimed[&keys[1]], rejected(false)).await;
    bench.outcome(&claimed[&keys[0]], accepted("ref-0")).await;
    bench.outcome(&claimed[&keys[2]], accepted("ref-2")).await;
    bench.store_reports(&[given::report("ref-0", ReportState::Delivered)]).await;
    bench.apply_reports().await;
    let log = bench.events(client).await;
    for key in keys {
        let history = bench.store.history(client, key.id).await.unwrap();
        let expected: Vec<Event> =
            log.iter().filter(|event| event.message() == Some(key.id)).cloned().collect();
        assert_eq!(history, expected);
        let mut previous = 0;
        for event in &history {
            assert_eq!(event.previous_seq, previous);
            previous = event.seq;
        }
        assert_eq!(previous, bench.message(key).await.state.last_event_seq);
    }
    let nothing = MessageId::new(bench.clock.now(), bench.entropy());
    assert_eq!(bench.store.history(client, nothing).await.unwrap(), []);
}

pub async fn a_history_reads_as_far_back_as_the_log_is_kept(bench: Bench) {
    let client = bench.client().await;
    let key = bench.sent(client, "ref-1").await;
    bench.send(client).await;
    let whole = bench.store.history(client, key.id).await.unwrap();
    assert_eq!(whole.iter().map(|event| event.seq).collect::<Vec<_>>(), [2, 3, 4]);
    let at = &bench.events(client).await[4];
    let checkpoint = Checkpoint { seq: at.seq, available: at.available_after, held: at.held_after };
    bench.store.write_checkpoint(client, checkpoint).await.unwrap();
    for (through, left) in [(2, 1..), (3, 2..), (4, 3..)] {
        bench.store.trim_events(client, through).await.unwrap();
        assert_eq!(bench.store.history(client, key.id).await.unwrap(), whole[left], "through {through}");
    }
}

pub async fn the_newest_seqs_are_those_of_the_clients_asked_for(bench: Bench) {
    let clients = [bench.client().await, bench.client_with(0, |_| {}).await, bench.client().await];
    bench.send_many(clients[2], 4).await;
    let nobody = ClientId::new(bench.clock.now(), bench.entropy());
    let found = bench.store.last_seqs(&[clients[2], nobody, clients[1]]).await.unwrap();
    let found: BTreeMap<_, _> = found.into_iter().collect();
    assert_eq!(found, [(clients[2], 5), (clients[1], 0)].into());
    assert_eq!(bench.store.last_seqs(&[]).await.unwrap(), []);
}
