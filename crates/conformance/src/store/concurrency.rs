//! Transactions that meet: on one client they take turns, on different clients they do not disturb each other.

use std::sync::Arc;
use std::time::Duration;

use delivery::change::Learned;
use delivery::model::{Client, ClientState};
use delivery::plan::{Plan, Wanted};
use delivery::port::{AuditFilter, Checkpoint, Claim, DeadLetterFilter, MessageFilter, Store, StoreError};
use delivery::timing::Timing;
use ledger::Balance;
use message::event::TransactionType;
use message::id::{ClientId, Entropy};
use message::status::Status;

use crate::bench::Bench;
use crate::given::{self, PRICE, PROVIDER, VALIDITY};
use crate::verbs::{self, ALL, LEASE, load, retried};

/// How long something that must wait is watched waiting.
const PATIENCE: Duration = Duration::from_millis(100);

pub async fn a_second_transaction_on_a_client_waits_and_sees_what_the_first_wrote(bench: Bench) {
    let client = bench.client().await;
    let wanted = Wanted { clients: [client].into(), ..Wanted::default() };
    let batch = [given::submission(given::prepared(client), bench.entropy())];
    let (mut first, plan, _) = verbs::decide(bench.store.as_ref(), &bench.timing, &batch).await.unwrap();
    let mut second = {
        let (store, wanted) = (bench.other.clone(), wanted.clone());
        tokio::spawn(async move { load(store.as_ref(), &wanted).await.1 })
    };
    let early = tokio::time::timeout(PATIENCE, &mut second).await;
    assert!(early.is_err(), "the second one did not wait: {early:?}");
    first.write(&plan).await.unwrap();
    first.commit().await.unwrap();
    assert_eq!(second.await.unwrap().clients[&client].1, plan.heads[0].1);
}

pub async fn a_reader_does_not_wait_for_a_writer(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    let (mut tx, plan, _) = {
        let batch = [given::submission(given::prepared(client), bench.entropy())];
        verbs::decide(bench.store.as_ref(), &bench.timing, &batch).await.unwrap()
    };
    tx.write(&plan).await.unwrap();
    for store in [&bench.store, &bench.other] {
        store.client(client).await.unwrap().unwrap();
        store.message(client, key.id).await.unwrap().unwrap();
        assert_eq!(store.events(client, 0, ALL).await.unwrap().events.len(), 2);
        assert_eq!(store.last_seqs(&[client]).await.unwrap(), [(client, 2)]);
        store.due_timers(ALL).await.unwrap();
        store.pending_reports(0, ALL).await.unwrap();
        store.books(client, bench.clock.now()).await.unwrap().unwrap();
        store.messages(client, &MessageFilter::default(), None, ALL, ALL).await.unwrap();
        store.totals(client, 0, i64::MAX).await.unwrap();
        store.dead_letters(&DeadLetterFilter::default(), None, ALL, ALL).await.unwrap();
        store.unmatched_reports("", None, ALL, ALL).await.unwrap();
        store.audit_entries(&AuditFilter::default(), None, ALL, ALL).await.unwrap();
    }
    tx.commit().await.unwrap();
}

pub async fn many_writers_of_one_client_lose_no_update_and_leave_no_gap(bench: Bench) {
    let client = bench.client_with(0, |_| {}).await;
    let writers: Vec<_> = (0..16)
        .map(|n| {
            let store = if n % 2 == 0 { bench.store.clone() } else { bench.other.clone() };
            tokio::spawn(async move {
                for _ in 0..5 {
                    retried(|| increment(store.as_ref(), [client])).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(bench.balance(client).await, (80, 0));
    assert_eq!(bench.head(client).await.last_seq, 80);
    assert_eq!(bench.books(client).await.broken_running_balances, 0);
    bench.assert_sound(client).await;
}

pub async fn writers_of_overlapping_clients_neither_block_each_other_for_ever_nor_mix(bench: Bench) {
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(bench.client_with(0, |_| {}).await);
    }
    let clients = Arc::new(clients);
    let writers: Vec<_> = (0..8usize)
        .map(|n| {
            let store = if n % 2 == 0 { bench.store.clone() } else { bench.other.clone() };
            let clients = clients.clone();
            tokio::spawn(async move {
                for round in 0..6 {
                    // Each pair of clients, in either order.
                    let pair = [clients[(n + round) % 4], clients[(n + round + 1 + n % 3) % 4]];
                    retried(|| increment(store.as_ref(), pair)).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let mut total = 0;
    for client in clients.iter() {
        let (available, _) = bench.balance(*client).await;
        assert_eq!(bench.head(*client).await.last_seq, available);
        total += available;
        bench.assert_sound(*client).await;
    }
    assert_eq!(total, 8 * 6 * 2);
}

pub async fn a_log_is_read_without_a_gap_while_it_grows(bench: Bench) {
    let client = bench.client_with(0, |_| {}).await;
    let writers: Vec<_> = (0..6)
        .map(|n| {
            let store = if n % 2 == 0 { bench.store.clone() } else { bench.other.clone() };
            tokio::spawn(async move {
                for _ in 0..10 {
                    retried(|| increment(store.as_ref(), [client])).await;
                }
            })
        })
        .collect();
    let mut cursor = 0;
    let started = std::time::Instant::now();
    while cursor < 60 {
        assert!(started.elapsed() < Duration::from_secs(30), "the log ends at {cursor}");
        let page = bench.other.events(client, cursor, 7).await.unwrap();
        for event in page.events {
            assert_eq!(event.seq, cursor + 1, "in order, without a gap");
            assert_eq!(event.available_after, event.seq);
            cursor = event.seq;
        }
        assert!(page.last_seq >= cursor);
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

pub async fn a_message_is_claimed_or_expired_never_both(bench: Bench) {
    let client = bench.client().await;
    for _ in 0..15 {
        let key = bench.send(client).await;
        bench.clock.advance(VALIDITY - Duration::from_micros(1));
        let expirer = {
            let (mover, clock) = (bench.mover(), bench.clock.clone());
            tokio::spawn(async move {
                clock.advance(Duration::from_micros(1));
                mover.apply(&[Learned::Timer { key, is_lost: false }]).await.unwrap();
            })
        };
        let claimer = {
            let store = bench.other.clone();
            tokio::spawn(async move {
                let claim = Claim { keys: vec![key], provider: PROVIDER.into(), lease: LEASE };
                retried(|| store.claim(&claim)).await.len()
            })
        };
        expirer.await.unwrap();
        let claimed = claimer.await.unwrap();
        let status = bench.message(key).await.state.status;
        assert_eq!(status, if claimed == 1 { Status::Sending } else { Status::Expired });
    }
}

pub async fn a_message_is_claimed_or_canceled_never_both(bench: Bench) {
    let client = bench.client().await;
    for _ in 0..15 {
        let key = bench.send(client).await;
        let canceler = {
            let mover = bench.mover();
            tokio::spawn(async move { mover.apply(&[Learned::Cancel { key }]).await.unwrap().changed })
        };
        let claimer = {
            let store = bench.other.clone();
            tokio::spawn(async move {
                let claim = Claim { keys: vec![key], provider: PROVIDER.into(), lease: LEASE };
                retried(|| store.claim(&claim)).await.len()
            })
        };
        let (canceled, claimed) = (canceler.await.unwrap(), claimer.await.unwrap());
        assert_eq!(canceled + claimed, 1);
        let status = bench.message(key).await.state.status;
        assert_eq!(status, if claimed == 1 { Status::Sending } else { Status::Canceled });
    }
    bench.assert_sound(client).await;
}

pub async fn an_outcome_and_a_timer_that_meet_move_the_money_once(bench: Bench) {
    let client = bench.client().await;
    for n in 0..15 {
        let key = bench.send(client).await;
        let claimed = bench.claim_one(key).await;
        bench.clock.advance(LEASE);
        let movers = [bench.mover(), bench.mover_on(&bench.other)];
        let learned =
            [verbs::learned(&claimed, verbs::rejected(true)), Learned::Timer { key, is_lost: false }];
        let tasks = movers
            .into_iter()
            .zip(learned)
            .map(|(mover, learned)| tokio::spawn(async move { mover.apply(&[learned]).await.unwrap() }));
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let status = bench.message(key).await.state.status;
        assert!(matches!(status, Status::FailedPerm | Status::Unknown), "round {n}: {status}");
        bench.assert_sound(client).await;
    }
}

pub async fn a_trim_and_a_growing_log_do_not_undo_each_other(bench: Bench) {
    let client = bench.client_with(0, |_| {}).await;
    for _ in 0..30 {
        retried(|| increment(bench.store.as_ref(), [client])).await;
    }
    bench.store.write_checkpoint(client, Checkpoint { seq: 30, available: 30, held: 0 }).await.unwrap();
    let writer = {
        let store = bench.store.clone();
        tokio::spawn(async move {
            for _ in 0..30 {
                retried(|| increment(store.as_ref(), [client])).await;
            }
        })
    };
    for through in 1..=30 {
        let oldest = retried(|| bench.other.trim_events(client, through)).await;
        assert_eq!(oldest, through + 1);
    }
    writer.await.unwrap();
    let page = bench.store.events(client, 0, ALL).await.unwrap();
    assert_eq!((page.oldest_seq, page.last_seq, page.events.len()), (31, 60, 30));
    bench.assert_sound(client).await;
}

pub async fn a_suspension_is_not_undone_by_a_transaction_that_was_open(bench: Bench) {
    let client = bench.client().await;
    let batch = [given::submission(given::prepared(client), bench.entropy())];
    let (mut tx, plan, _) = verbs::decide(bench.store.as_ref(), &bench.timing, &batch).await.unwrap();
    let (settings, _) = bench.store.client(client).await.unwrap().unwrap();
    let suspend = {
        let (store, entry) = (bench.other.clone(), bench.entry("suspend"));
        let suspended = Client { state: ClientState::Suspended, ..settings };
        tokio::spawn(async move { store.update_client(&suspended, &entry).await.unwrap() })
    };
    tx.write(&plan).await.unwrap();
    tx.commit().await.unwrap();
    assert!(suspend.await.unwrap());
    let batch = [given::submission(given::prepared(client), bench.entropy())];
    let decisions = verbs::accept(bench.store.as_ref(), &bench.timing, &batch).await.unwrap();
    assert!(matches!(
        decisions[0],
        delivery::accept::decide::Decision::Refused(delivery::accept::AcceptError::ClientSuspended)
    ));
    bench.assert_sound(client).await;
}

pub async fn batches_of_two_nodes_for_one_key_make_one_message(bench: Bench) {
    let client = bench.client().await;
    let nodes: Vec<_> = (0..16u8)
        .map(|n| {
            let store = if n % 2 == 0 { bench.store.clone() } else { bench.other.clone() };
            tokio::spawn(async move {
                let batch = [given::submission(given::keyed(client, "key", "hello"), Entropy([n; 10]))];
                retried(|| verbs::accept(store.as_ref(), &TIMING, &batch)).await;
            })
        })
        .collect();
    for node in nodes {
        node.await.unwrap();
    }
    assert_eq!(bench.messages(client).await.len(), 1);
    assert_eq!(bench.balance(client).await.1, PRICE);
    bench.assert_sound(client).await;
}

pub async fn messages_of_one_client_are_locked_without_deadlock(bench: Bench) {
    let client = bench.client().await;
    let keys = bench.send_many(client, 6).await;
    let claimed = bench.claim(&keys).await;
    let tasks: Vec<_> = (0..6)
        .map(|n| {
            let mover = bench.mover_on(if n % 2 == 0 { &bench.store } else { &bench.other });
            let mut learned: Vec<Learned> = claimed
                .iter()
                .map(|claimed| verbs::learned(claimed, verbs::accepted(&claimed.record.key.id.to_string())))
                .collect();
            learned.rotate_left(n);
            tokio::spawn(async move { mover.apply(&learned).await.unwrap().changed })
        })
        .collect();
    let mut changed = 0;
    for task in tasks {
        changed += task.await.unwrap();
    }
    assert_eq!(changed, 6, "each outcome once");
    for key in keys {
        assert_eq!(bench.message(key).await.state.status, Status::Sent);
    }
    bench.assert_sound(client).await;
}

static TIMING: std::sync::LazyLock<Timing> = std::sync::LazyLock::new(Timing::default);

/// Adds 1 to each of these clients, each with an event, in one transaction.
async fn increment<const N: usize>(store: &dyn Store, clients: [ClientId; N]) -> Result<(), StoreError> {
    let wanted = Wanted { clients: clients.into(), ..Wanted::default() };
    let mut tx = store.begin().await?;
    let loaded = tx.load(&wanted).await?;
    let mut plan = Plan::default();
    for (client, (_, mut head)) in loaded.clients {
        let available = head.balance.available() + 1;
        head.last_seq += 1;
        head.balance = Balance::new(available, 0).expect("it grew from zero");
        let added = given::transaction(TransactionType::TopUp, None, 1, 0);
        plan.events.push(given::movement(client, head.last_seq, loaded.now, added, (available, 0)));
        plan.heads.push((client, head));
    }
    tx.write(&plan).await?;
    tx.commit().await
}
