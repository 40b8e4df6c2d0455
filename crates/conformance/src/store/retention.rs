//! Retention: what is old and over may go, and nothing else.

use std::time::Duration;

use delivery::change::Learned;
use delivery::model::{Message, MessageState, Retention};
use delivery::plan::{Plan, StateChange};
use delivery::port::Checkpoint;
use message::Timestamp;
use message::id::{ClientId, MessageId};
use message::report::ReportState;
use message::status::{LockState, Status};

use crate::bench::Bench;
use crate::given::{self, PRICE};
use crate::verbs::{self, ALL, rejected, write};

pub async fn everything_is_kept_for_ever_until_an_operator_says_otherwise(bench: Bench) {
    assert_eq!(bench.store.retention().await.unwrap(), Retention::default());
    let years = Duration::from_secs(10 * 365 * 24 * 3_600);
    let settings = [
        Retention { events: Some(Duration::from_micros(1)), messages: None, audit_entries: Some(years) },
        Retention { events: None, messages: Some(years + Duration::from_micros(1)), audit_entries: None },
        Retention { events: Some(years), messages: Some(years), audit_entries: Some(years) },
        Retention::default(),
    ];
    for (n, retention) in settings.iter().enumerate() {
        let entry = bench.entry("set_retention");
        bench.store.set_retention(retention, &entry).await.unwrap();
        assert_eq!(bench.other.retention().await.unwrap(), *retention);
        let log = bench.audit_log().await;
        assert_eq!((log.len(), &log[0]), (n + 1, &entry));
    }
}

pub async fn old_messages_come_in_the_order_of_their_accept(bench: Bench) {
    let client = bench.client().await;
    let neighbour = bench.client().await;
    let mut messages = Vec::new();
    // Several of one microsecond, several of one millisecond.
    for micros in [0, 0, 1, 998, 1, 1_000, 0, 5_000] {
        bench.clock.advance(Duration::from_micros(micros));
        let key = bench.send(client).await;
        messages.push(bench.message(key).await);
        bench.send(neighbour).await;
    }
    let times: Vec<Timestamp> = messages.iter().map(|message| message.record.created_at).collect();
    let end = bench.clock.now() + Duration::from_secs(1);
    for before in times.iter().copied().chain([end, Timestamp::from_micros(0)]) {
        for after in [None, Some(1), Some(4), Some(7)] {
            let after = after.map(|index: usize| messages[index].record.key.id);
            for limit in [0, 1, 3, ALL] {
                let expected: Vec<Message> = messages
                    .iter()
                    .filter(|message| message.record.created_at < before)
                    .filter(|message| after.is_none_or(|after| message.record.key.id > after))
                    .take(usize::try_from(limit).unwrap())
                    .cloned()
                    .collect();
                let found = bench.other.old_messages(client, before, after, limit).await.unwrap();
                assert_eq!(found, expected, "before {before:?}, after {after:?}, at most {limit}");
            }
        }
    }
    let nobody = ClientId::new(bench.clock.now(), bench.entropy());
    assert_eq!(bench.store.old_messages(nobody, end, None, ALL).await.unwrap(), []);
}

pub async fn only_a_message_that_is_over_is_removed(bench: Bench) {
    let client = bench.client().await;
    for status in Status::ALL {
        for lock in LockState::ALL {
            let key = bench.send(client).await;
            set_state(&bench, key.id, client, *status, *lock).await;
            let before = bench.message(key).await;
            let is_over = status.is_final() && *lock != LockState::Held;
            let removed = bench.store.remove_messages(client, &[key.id]).await.unwrap();
            assert_eq!(removed, u64::from(is_over), "{status} {lock}");
            let left = bench.other.message(client, key.id).await.unwrap();
            assert_eq!(left, Some(before).filter(|_| !is_over), "{status} {lock}");
        }
    }
}

pub async fn a_removed_message_leaves_nothing_but_its_events(bench: Bench) {
    let client = bench.client().await;
    let foreign = bench.client().await;
    let key = bench.sent(client, "ref-1").await;
    bench.store_reports(&[given::report("ref-1", ReportState::Delivered)]).await;
    bench.apply_reports().await;
    let open = bench.send(client).await;
    let letter = given::dead_letter(key, bench.clock.now());
    let plan = Plan { dead_letters: vec![letter.clone()], ..Plan::default() };
    write(bench.store.as_ref(), &[client], &plan).await.unwrap();
    let (events, message) = (bench.events(client).await, bench.message(key).await);
    let nothing = MessageId::new(bench.clock.now(), bench.entropy());
    assert_eq!(bench.store.remove_messages(foreign, &[key.id]).await.unwrap(), 0, "another's");
    assert_eq!(bench.store.remove_messages(client, &[]).await.unwrap(), 0);
    assert_eq!(bench.store.remove_messages(client, &[nothing, key.id, open.id]).await.unwrap(), 1);
    assert_eq!(bench.store.remove_messages(client, &[key.id]).await.unwrap(), 0, "it is gone");
    assert_eq!(
        bench.messages(client).await.iter().map(|message| message.record.key).collect::<Vec<_>>(),
        [open]
    );
    assert_eq!(bench.store.dead_letters_of(&[key.id]).await.unwrap(), []);
    assert_eq!(bench.store.history(client, key.id).await.unwrap(), []);
    assert_eq!(bench.events(client).await, events);
    assert!(bench.claim(&[key]).await.is_empty());
    // What is still said of it finds nobody, and is dealt with.
    bench.store_reports(&[given::report("ref-1", ReportState::Failed)]).await;
    bench.apply_reports().await;
    assert_eq!(bench.pending().await, []);
    let moved = bench
        .mover()
        .apply(&[Learned::Timer { key, is_lost: false }, Learned::Cancel { key: open }])
        .await
        .unwrap();
    assert_eq!(moved.changed, 1);
    assert_eq!(bench.balance(client).await, (100_000_000 - PRICE, 0));
    // Nothing of it is left to stand in the way of the same rows.
    let plan = Plan { messages: vec![message], dead_letters: vec![letter], ..Plan::default() };
    write(bench.store.as_ref(), &[client], &plan).await.unwrap();
}

pub async fn the_books_are_clean_after_a_removal(bench: Bench) {
    let client = bench.client().await;
    let keys = bench.send_many(client, 4).await;
    let claimed = bench.claim(&keys[..3]).await;
    bench.outcome(&claimed[0], rejected(true)).await;
    bench.outcome(&claimed[1], verbs::accepted("ref-1")).await;
    bench.store_reports(&[given::report("ref-1", ReportState::Delivered)]).await;
    bench.apply_reports().await;
    let head = bench.head(client).await;
    let checkpoint =
        Checkpoint { seq: head.last_seq, available: head.balance.available(), held: head.balance.held() };
    bench.store.write_checkpoint(client, checkpoint).await.unwrap();
    assert_eq!(bench.store.trim_events(client, head.last_seq - 2).await.unwrap(), head.last_seq - 1);
    let ids: Vec<MessageId> = keys.iter().map(|key| key.id).collect();
    assert_eq!(bench.store.remove_messages(client, &ids).await.unwrap(), 2);
    bench.assert_sound(client).await;
    assert_eq!(bench.messages(client).await.len(), 2);
    // And they stay so: the open ones go on.
    bench.outcome(&claimed[2], verbs::accepted("ref-2")).await;
    bench.mover().apply(&[Learned::Cancel { key: keys[3] }]).await.unwrap();
    bench.send(client).await;
    bench.assert_sound(client).await;
    let books = bench.books(client).await;
    assert_eq!((books.held_locks, books.held_lock_sum), (2, 2 * PRICE));
}

pub async fn old_audit_entries_go_oldest_first(bench: Bench) {
    let mut entries = Vec::new();
    for micros in [0, 0, 1, 999, 5_000, 0] {
        bench.clock.advance(Duration::from_micros(micros));
        let entry = bench.entry("act");
        bench.store.record(&entry).await.unwrap();
        entries.push(entry);
    }
    let end = bench.clock.now() + Duration::from_micros(1);
    for before in entries.iter().map(|entry| entry.at).chain([end]) {
        for limit in [0, 1, 3, ALL] {
            let old = entries.iter().filter(|entry| entry.at < before);
            let expected: Vec<_> = old.take(usize::try_from(limit).unwrap()).cloned().collect();
            let found = bench.other.old_audit_entries(before, limit).await.unwrap();
            assert_eq!(found, expected, "before {before:?}, at most {limit}");
        }
    }
    let ids = [entries[1].id, bench.entry("never written").id, entries[4].id];
    assert_eq!(bench.store.remove_audit_entries(&[]).await.unwrap(), 0);
    assert_eq!(bench.store.remove_audit_entries(&ids).await.unwrap(), 2);
    assert_eq!(bench.store.remove_audit_entries(&ids).await.unwrap(), 0);
    let mut left = [0, 2, 3, 5].map(|index: usize| entries[index].clone());
    assert_eq!(bench.store.old_audit_entries(end, ALL).await.unwrap(), left);
    left.reverse();
    assert_eq!(bench.audit_log().await, left);
}

/// Writes a status and a lock by hand.
async fn set_state(bench: &Bench, id: MessageId, client: ClientId, status: Status, lock: LockState) {
    let key = delivery::model::MessageKey { client, id };
    let before = bench.message(key).await.state;
    let now = bench.clock.now();
    let is_over = status.is_final() && lock != LockState::Held;
    let change = StateChange {
        key,
        fence_before: before.fence,
        timer_before: before.timer_at,
        resolves_lock: lock != LockState::Held,
        state: MessageState {
            status,
            lock,
            due_at: (!status.is_final() && status != Status::Sent).then_some(now),
            lease_until: (status == Status::Sending).then_some(now),
            timer_at: before.timer_at.filter(|_| !is_over),
            ..before
        },
    };
    let plan = Plan { states: vec![change], ..Plan::default() };
    write(bench.store.as_ref(), &[client], &plan).await.unwrap();
}
