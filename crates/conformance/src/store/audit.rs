//! The books: clean after real use, and every kind of damage shows. Checkpoints, retention, purging.

use std::time::Duration;

use delivery::model::{Head, IdempotencyKey, KeyKind, MessageKey, MessageState};
use delivery::plan::{Plan, StateChange, Wanted};
use delivery::port::{Books, Checkpoint, PurgeLimits, Purged};
use delivery::reconcile::examine;
use delivery::timing::KEY_LIFETIME;
use ledger::Balance;
use message::Timestamp;
use message::event::{Transaction, TransactionType};
use message::id::ClientId;
use message::report::ReportState;
use message::status::{LockState, Status};

use crate::bench::Bench;
use crate::given::{self, PRICE, VALIDITY};
use crate::verbs::{ALL, LEASE, load, rejected, unknown, write};

pub async fn the_books_are_clean_after_real_use(bench: Bench) {
    let client = bench.client_with(20 * PRICE, |_| {}).await;
    let other = bench.client().await;
    bench.send_many(other, 3).await;
    let keys = bench.send_many(client, 6).await;
    let claimed = bench.claim(&keys[..5]).await;
    let outcomes =
        [crate::verbs::accepted("ref-1"), rejected(true), unknown(), crate::verbs::accepted("ref-2")];
    for (claimed, outcome) in claimed.iter().zip(outcomes) {
        bench.outcome(claimed, outcome).await;
    }
    bench.store_reports(&[given::report("ref-1", ReportState::Delivered)]).await;
    bench.apply_reports().await;
    let books = bench.books(client).await;
    let expected = Books {
        checkpoint: Checkpoint::default(),
        available: 15 * PRICE,
        held: 4 * PRICE,
        last_seq: books.last_seq,
        event_count: books.last_seq,
        first_event_seq: 1,
        last_event_seq: books.last_seq,
        available_delta: 15 * PRICE,
        held_delta: 4 * PRICE,
        held_locks: 4,
        held_lock_sum: 4 * PRICE,
        ..Books::default()
    };
    assert_eq!(books, expected);
    assert_eq!(examine(client, &books).violations, Vec::<String>::new());
}

pub async fn the_books_go_on_from_a_checkpoint(bench: Bench) {
    let client = bench.client_with(20 * PRICE, |_| {}).await;
    bench.send_many(client, 2).await;
    let checkpoint = Checkpoint { seq: 3, available: 18 * PRICE, held: 2 * PRICE };
    bench.store.write_checkpoint(client, checkpoint).await.unwrap();
    let books = bench.books(client).await;
    assert_eq!((books.checkpoint, books.event_count), (checkpoint, 0));
    assert_eq!((books.first_event_seq, books.last_event_seq), (0, 0));
    bench.assert_sound(client).await;
    bench.send(client).await;
    let books = bench.books(client).await;
    assert_eq!((books.event_count, books.first_event_seq, books.available_delta), (1, 4, -PRICE));
    assert_eq!((books.held_locks, books.held_lock_sum), (3, 3 * PRICE), "all locks, of whatever age");
    bench.assert_sound(client).await;
}

pub async fn a_head_that_left_the_log_shows(bench: Bench) {
    let client = bench.client_with(1_000, |_| {}).await;
    let head = bench.head(client).await;
    for (available, held) in [(999, 0), (1_001, 0), (1_000, 1)] {
        set_head(&bench, client, Head { balance: Balance::new(available, held).unwrap(), ..head }).await;
        let audit = bench.audit(client).await;
        assert!(audit.is_broken);
        assert_eq!((audit.balance_drift, audit.held_drift), (available - 1_000, held));
    }
    set_head(&bench, client, head).await;
    bench.assert_sound(client).await;
}

pub async fn a_gap_in_the_log_shows(bench: Bench) {
    let client = bench.client_with(1_000, |_| {}).await;
    let head = bench.head(client).await;
    set_head(&bench, client, Head { last_seq: 2, ..head }).await;
    assert!(bench.audit(client).await.is_broken, "the newest event is missing");
    let none = given::transaction(TransactionType::TopUp, None, 0, 0);
    let event = given::movement(client, 3, bench.clock.now(), none, (1_000, 0));
    write(bench.store.as_ref(), &[client], &Plan { events: vec![event], ..Plan::default() }).await.unwrap();
    set_head(&bench, client, Head { last_seq: 3, ..head }).await;
    let books = bench.books(client).await;
    assert_eq!((books.event_count, books.first_event_seq, books.last_event_seq), (2, 1, 3));
    assert!(bench.audit(client).await.is_broken);
}

pub async fn a_balance_that_does_not_follow_from_the_one_before_shows(bench: Bench) {
    let client = bench.client_with(1_000, |_| {}).await;
    // Two wrongs that cancel out in the sum.
    append(&bench, client, given::transaction(TransactionType::TopUp, None, 10, 0), (1_020, 0)).await;
    append(&bench, client, given::transaction(TransactionType::TopUp, None, 10, 0), (1_020, 0)).await;
    assert_eq!(bench.books(client).await.broken_running_balances, 1);
    assert!(bench.audit(client).await.is_broken);
}

pub async fn a_final_message_that_still_holds_credit_shows(bench: Bench) {
    let client = bench.client().await;
    for status in Status::ALL.iter().filter(|status| status.is_final()) {
        let key = bench.send(client).await;
        change(&bench, key, false, |state| {
            state.status = *status;
            state.due_at = None;
        })
        .await;
    }
    assert_eq!(bench.books(client).await.final_but_held, 4);
    assert!(bench.audit(client).await.is_broken);
}

pub async fn a_lock_that_was_resolved_without_an_event_shows(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    change(&bench, key, true, |state| state.lock = LockState::Released).await;
    let books = bench.books(client).await;
    assert_eq!((books.held, books.held_locks, books.held_lock_sum), (PRICE, 0, 0));
    let audit = bench.audit(client).await;
    assert!(audit.is_broken);
    assert_eq!(audit.held_drift, PRICE);
}

pub async fn a_hold_without_a_lock_of_its_amount_shows(bench: Bench) {
    let client = bench.client_with(1_000_000, |_| {}).await;
    let key = bench.send(client).await;
    let nothing = message::id::MessageId::new(bench.clock.now(), bench.entropy());
    for (message, amount) in [(key.id, PRICE + 1), (nothing, PRICE)] {
        let (available, held) = bench.balance(client).await;
        let hold = given::transaction(TransactionType::Hold, Some(message), -amount, amount);
        append(&bench, client, hold, (available - amount, held + amount)).await;
    }
    assert_eq!(bench.books(client).await.holds_without_lock, 2);
    assert!(bench.audit(client).await.is_broken);
}

pub async fn credit_that_is_resolved_twice_shows(bench: Bench) {
    let client = bench.client_with(1_000_000, |_| {}).await;
    let keys = bench.send_many(client, 3).await;
    for kind in [TransactionType::Capture, TransactionType::Release] {
        let (available, held) = bench.balance(client).await;
        let back = if kind == TransactionType::Release { PRICE } else { 0 };
        let resolution = given::transaction(kind, Some(keys[0].id), back, -PRICE);
        append(&bench, client, resolution, (available + back, held - PRICE)).await;
    }
    assert_eq!(bench.books(client).await.double_resolutions, 1);
    assert!(bench.audit(client).await.is_broken);
}

pub async fn open_messages_past_their_limits_are_counted(bench: Bench) {
    let client = bench.client().await;
    let keys = bench.send_many(client, 3).await;
    let timer = bench.message(keys[0]).await.state.timer_at.unwrap();
    let overdue = |stale_before: Timestamp| {
        let store = bench.store.clone();
        async move { store.books(client, stale_before).await.unwrap().unwrap().overdue }
    };
    assert_eq!(overdue(timer).await, 0);
    assert_eq!(overdue(timer + Duration::from_micros(1)).await, 3);
    change(&bench, keys[0], false, |state| state.timer_at = None).await;
    assert_eq!(overdue(timer).await, 1, "it has no timer at all");
    // Money settled, status open: whoever needs no look any more is not late.
    bench.sent(client, "ref-1").await;
    bench.clock.advance(VALIDITY + given::REPORT_TIMEOUT);
    bench.sweep().await;
    assert_eq!(overdue(bench.clock.now()).await, 1);
    let audit = bench.audit(client).await;
    assert!(!audit.is_broken, "lateness is not damage");
}

pub async fn one_clients_damage_is_not_anothers(bench: Bench) {
    let (damaged, sound) = (bench.client_with(1_000, |_| {}).await, bench.client_with(1_000, |_| {}).await);
    set_head(&bench, damaged, Head { balance: Balance::new(5, 5).unwrap(), ..bench.head(damaged).await })
        .await;
    bench.assert_sound(sound).await;
}

pub async fn a_checkpoint_never_goes_back(bench: Bench) {
    let client = bench.client_with(1_000, |_| {}).await;
    let first = Checkpoint { seq: 5, available: 7, held: 9 };
    for (written, expected) in [
        (first, first),
        (Checkpoint { seq: 4, ..Checkpoint::default() }, first),
        (Checkpoint { seq: 5, ..Checkpoint::default() }, first),
        (Checkpoint { seq: 6, available: 8, held: 0 }, Checkpoint { seq: 6, available: 8, held: 0 }),
    ] {
        bench.store.write_checkpoint(client, written).await.unwrap();
        assert_eq!(bench.books(client).await.checkpoint, expected);
    }
    let nobody = ClientId::new(bench.clock.now(), bench.entropy());
    bench.store.write_checkpoint(nobody, first).await.unwrap();
    assert_eq!(bench.store.books(nobody, bench.clock.now()).await.unwrap(), None);
}

pub async fn events_are_trimmed_up_to_the_checkpoint_and_no_further(bench: Bench) {
    let client = bench.client().await;
    let neighbour = bench.client().await;
    bench.send_many(client, 9).await;
    assert_eq!(bench.store.trim_events(client, i64::MAX).await.unwrap(), 1, "no checkpoint, no retention");
    assert_eq!(bench.events(client).await.len(), 10);
    let at = |seq: usize, events: &[message::event::Event]| Checkpoint {
        seq: seq as i64,
        available: events[seq - 1].available_after,
        held: events[seq - 1].held_after,
    };
    let events = bench.events(client).await;
    bench.store.write_checkpoint(client, at(6, &events)).await.unwrap();
    for (through, oldest) in [(3, 4), (2, 4), (-1, 4), (i64::MIN, 4), (100, 7), (i64::MAX - 1, 7)] {
        assert_eq!(bench.store.trim_events(client, through).await.unwrap(), oldest, "through {through}");
        let page = bench.store.events(client, 0, ALL).await.unwrap();
        assert_eq!((page.oldest_seq, page.last_seq), (oldest, 10));
        assert_eq!(page.events[..], events[usize::try_from(oldest).unwrap() - 1..]);
        bench.assert_sound(client).await;
    }
    assert_eq!(bench.events(neighbour).await.len(), 1);
    let nobody = ClientId::new(bench.clock.now(), bench.entropy());
    assert_eq!(bench.store.trim_events(nobody, 5).await.unwrap(), 1);
    // What is kept of a history reads on, and the log goes on.
    let key = bench.send(client).await;
    assert_eq!(bench.store.history(client, key.id).await.unwrap().len(), 1);
    let oldest = bench.messages(client).await.pop().unwrap();
    assert_eq!(bench.store.history(client, oldest.record.key.id).await.unwrap(), []);
    bench.assert_sound(client).await;
}

pub async fn old_rows_are_purged_and_young_ones_stay(bench: Bench) {
    let client = bench.client().await;
    let make = async |suffix: &str| {
        let prepared = given::keyed(client, &format!("key-{suffix}"), "hello");
        bench.accept(&[given::submission(prepared, bench.entropy())]).await;
        bench.sent(client, &format!("bound-{suffix}")).await;
        bench
            .store_reports(&[
                given::report(&format!("bound-{suffix}"), ReportState::Delivered),
                given::report(&format!("unmatched-{suffix}"), ReportState::Delivered),
            ])
            .await;
        bench.apply_reports().await;
    };
    make("old").await;
    bench.clock.advance(Duration::from_secs(3_600));
    let limit = bench.clock.now();
    make("young").await;
    let none = PurgeLimits {
        reports_before: limit - Duration::from_secs(3_600),
        refs_before: limit - Duration::from_secs(3_600),
    };
    assert_eq!(bench.store.purge(&none, ALL).await.unwrap(), Purged::default(), "older means older");
    let all = PurgeLimits { reports_before: limit, refs_before: limit };
    assert_eq!(bench.store.purge(&all, 0).await.unwrap(), Purged::default());
    let one = bench.store.purge(&all, 1).await.unwrap();
    assert_eq!((one.reports, one.refs), (1, 1));
    let rest = bench.store.purge(&all, ALL).await.unwrap();
    assert_eq!((rest.reports, rest.refs), (1, 1));
    assert_eq!(one.unmatched_reports + rest.unmatched_reports, 1);
    assert_eq!(bench.store.purge(&all, ALL).await.unwrap(), Purged::default());
    // Young references and reports still find each other.
    bench.store_reports(&[given::report("bound-young", ReportState::EnRoute)]).await;
    assert_eq!(bench.pending().await.len(), 1);
    bench.store_reports(&[given::report("bound-old", ReportState::EnRoute)]).await;
    assert_eq!(bench.pending().await.len(), 1);
    bench.sent(client, "unmatched-young").await;
    assert_eq!(bench.pending().await.len(), 2);
    bench.sweep().await;
    bench.assert_sound(client).await;
}

pub async fn a_key_is_remembered_for_its_lifetime_and_no_longer(bench: Bench) {
    let client = bench.client().await;
    let key = IdempotencyKey { client, kind: KeyKind::Send, key: "key".into() };
    let begin = bench.clock.now();
    bench.accept(&[given::submission(given::keyed(client, "key", "hello"), bench.entropy())]).await;
    let limits = PurgeLimits { reports_before: begin, refs_before: begin };
    let moment = Duration::from_micros(1);
    for (after, is_remembered) in [
        (Duration::ZERO, true),
        (KEY_LIFETIME - moment, true),
        (KEY_LIFETIME, false),
        (KEY_LIFETIME * 3, false),
    ] {
        bench.clock.set(begin + after);
        // Whether it is purged before it is looked for or after.
        for _ in 0..2 {
            assert_eq!(bench.store.remembered(&key).await.unwrap().is_some(), is_remembered, "{after:?}");
            let wanted = Wanted { clients: [client].into(), keys: [key.clone()].into(), ..Wanted::default() };
            let (tx, loaded) = load(bench.store.as_ref(), &wanted).await;
            assert_eq!(loaded.keys.contains_key(&key), is_remembered, "{after:?}");
            drop(tx);
            bench.store.purge(&limits, ALL).await.unwrap();
        }
    }
    // It is as good as new.
    let again =
        bench.accept(&[given::submission(given::keyed(client, "key", "other"), bench.entropy())]).await;
    assert_eq!(again.len(), 1);
    bench.sweep().await;
    bench.assert_sound(client).await;
}

pub async fn a_reference_that_is_bound_again_is_young_again(bench: Bench) {
    let client = bench.client().await;
    bench.sent(client, "reused").await;
    bench.clock.advance(Duration::from_secs(3_600));
    let limit = bench.clock.now();
    let key = bench.sent(client, "reused").await;
    let limits = PurgeLimits { reports_before: limit, refs_before: limit };
    assert_eq!(bench.store.purge(&limits, ALL).await.unwrap().refs, 0);
    bench.store_reports(&[given::report("reused", ReportState::Delivered)]).await;
    assert_eq!(bench.pending().await[0].target.key, key);
}

pub async fn a_lease_in_flight_is_not_late(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    bench.claim_one(key).await;
    bench.clock.advance(LEASE - Duration::from_secs(1));
    assert_eq!(bench.audit(client).await.violations, Vec::<String>::new());
}

async fn set_head(bench: &Bench, client: ClientId, head: Head) {
    let plan = Plan { heads: vec![(client, head)], ..Plan::default() };
    write(bench.store.as_ref(), &[client], &plan).await.unwrap();
}

/// Appends an event by hand, and makes its balances the client's.
async fn append(bench: &Bench, client: ClientId, transaction: Transaction, after: (i64, i64)) {
    let head = bench.head(client).await;
    let seq = head.last_seq + 1;
    let balance = Balance::new(after.0, after.1).unwrap();
    let plan = Plan {
        heads: vec![(client, Head { balance, last_seq: seq, ..head })],
        events: vec![given::movement(client, seq, bench.clock.now(), transaction, after)],
        ..Plan::default()
    };
    write(bench.store.as_ref(), &[client], &plan).await.unwrap();
}

/// Changes a state by hand.
async fn change(bench: &Bench, key: MessageKey, resolves_lock: bool, how: impl FnOnce(&mut MessageState)) {
    let before = bench.message(key).await.state;
    let mut state = before.clone();
    how(&mut state);
    let change =
        StateChange { key, fence_before: before.fence, timer_before: before.timer_at, resolves_lock, state };
    let plan = Plan { states: vec![change], ..Plan::default() };
    write(bench.store.as_ref(), &[key.client], &plan).await.unwrap();
}
