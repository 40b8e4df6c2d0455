//! Timers: one for each message that still needs a look, and none for any other.

use std::cmp::Reverse;
use std::time::Duration;

use delivery::model::{Message, MessageKey, MessageState};
use delivery::plan::{Plan, StateChange};
use delivery::port::{Due, Offer, Restock, Timer};
use delivery::sweep;
use message::Timestamp;
use message::class::Priority;
use message::event::EventType;
use message::report::ReportState;
use message::status::{LockState, OnUnknown, Status};

use crate::bench::Bench;
use crate::given::{self, PRICE, REPORT_TIMEOUT, RESEND_AFTER, VALIDITY};
use crate::verbs::{ALL, LEASE, rejected, throttled, unknown, write};

pub async fn a_timer_is_due_from_its_time_on(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    let at = bench.message(key).await.state.timer_at.unwrap();
    assert_eq!(bench.due().await, []);
    bench.clock.set(at - Duration::from_micros(1));
    assert_eq!(bench.due().await, []);
    bench.clock.set(at);
    assert_eq!(bench.due().await, [key]);
    assert_eq!(bench.other.due_timers(ALL).await.unwrap(), [Timer { at, key }]);
}

pub async fn due_timers_come_earliest_first_and_no_more_than_asked(bench: Bench) {
    let client = bench.client().await;
    let keys = bench.send_many(client, 5).await;
    for (index, key) in keys.iter().enumerate() {
        let at = bench.clock.now() + Duration::from_secs([50, 20, 40, 10, 30][index]);
        move_timer(&bench, *key, Some(at)).await;
    }
    bench.clock.advance(Duration::from_secs(45));
    let expected = [keys[3], keys[1], keys[4], keys[2]];
    assert_eq!(bench.due().await, expected);
    let keys = |timers: Vec<Timer>| timers.into_iter().map(|timer| timer.key).collect::<Vec<_>>();
    assert_eq!(keys(bench.store.due_timers(2).await.unwrap()), expected[..2]);
    assert_eq!(bench.store.due_timers(0).await.unwrap(), []);
}

pub async fn a_moved_timer_fires_at_its_new_time_only(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    for seconds in [500, 30] {
        move_timer(&bench, key, Some(bench.clock.now() + Duration::from_secs(seconds))).await;
    }
    bench.clock.advance(Duration::from_secs(29));
    assert_eq!(bench.due().await, []);
    bench.clock.advance(Duration::from_secs(1_000));
    assert_eq!(bench.due().await, [key], "once");
    move_timer(&bench, key, None).await;
    assert_eq!(bench.due().await, []);
    move_timer(&bench, key, Some(bench.clock.now())).await;
    assert_eq!(bench.due().await, [key]);
}

pub async fn messages_that_share_a_time_have_a_timer_each(bench: Bench) {
    let clients = [bench.client().await, bench.client().await];
    let mut keys = bench.send_many(clients[0], 3).await;
    keys.extend(bench.send_many(clients[1], 3).await);
    bench.clock.advance(Duration::from_secs(10));
    let mut due = bench.due().await;
    due.sort();
    keys.sort();
    assert_eq!(due, keys);
    move_timer(&bench, keys[0], None).await;
    assert_eq!(bench.due().await.len(), 5);
}

pub async fn every_status_has_the_one_timer_that_its_state_names(bench: Bench) {
    let client = bench.client().await;
    let mut keys = bench.send_many(client, 6).await;
    let claimed = bench.claim(&keys[..4]).await;
    let outcomes = [crate::verbs::accepted("ref-1"), rejected(false), unknown(), rejected(true)];
    for (claimed, outcome) in claimed.iter().zip(outcomes) {
        bench.outcome(claimed, outcome).await;
    }
    bench.claim_one(keys[4]).await;
    bench.clock.advance(Duration::from_secs(1_000 * 24 * 3_600));
    let mut expected = Vec::new();
    keys.sort();
    for key in &keys {
        let state = bench.message(*key).await.state;
        assert_eq!(state.timer_at.is_some(), !state.status.is_final() || state.lock == LockState::Held);
        expected.extend(state.timer_at.map(|at| (at, *key)));
    }
    expected.sort();
    assert_eq!(bench.due().await, expected.iter().map(|(_, key)| *key).collect::<Vec<_>>());
    assert_eq!(expected.len(), 5);
}

pub async fn no_timer_is_left_when_all_is_final(bench: Bench) {
    let client = bench.client().await;
    let delivered = bench.sent(client, "ref-1").await;
    bench.store_reports(&[given::report("ref-1", ReportState::Delivered)]).await;
    bench.apply_reports().await;
    let unreported = bench.sent(client, "ref-2").await;
    let expired = bench.send(client).await;
    let lost = bench.send(client).await;
    bench.claim_one(lost).await;
    let mut prepared = given::prepared(client);
    prepared.on_unknown = OnUnknown::Resend;
    let resent = bench.accept(&[given::submission(prepared, bench.entropy())]).await[0].record.key;
    let claimed = bench.claim_one(resent).await;
    bench.outcome(&claimed, unknown()).await;
    for step in [LEASE, RESEND_AFTER, VALIDITY, REPORT_TIMEOUT, REPORT_TIMEOUT] {
        bench.clock.advance(step);
        bench.sweep().await;
        bench.sweep().await;
    }
    bench.clock.advance(Duration::from_secs(1_000 * 24 * 3_600));
    assert_eq!(bench.due().await, []);
    for (key, status, lock) in [
        (delivered, Status::Delivered, LockState::Captured),
        (unreported, Status::Sent, LockState::Captured),
        (expired, Status::Expired, LockState::Released),
        (lost, Status::Unknown, LockState::Captured),
        (resent, Status::Unknown, LockState::Captured),
    ] {
        let state = bench.message(key).await.state;
        assert_eq!((state.status, state.lock), (status, lock));
    }
    assert_eq!(bench.balance(client).await, (100_000_000 - 4 * PRICE, 0), "the expired one is free");
    bench.assert_sound(client).await;
}

pub async fn a_sweep_offers_what_is_due_and_waits_longer_each_time(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    let mut gaps = Vec::new();
    for _ in 0..4 {
        let at = bench.message(key).await.state.timer_at.unwrap();
        gaps.push(at.since(bench.clock.now()));
        bench.clock.set(at);
        assert_eq!(bench.sweep().await, 1);
        assert_eq!(bench.sweep().await, 0);
        assert_eq!(bench.queue.drain(), [key]);
    }
    assert!(gaps.is_sorted() && gaps[3] > gaps[0], "{gaps:?}");
    assert_eq!(bench.events(client).await.len(), 2, "an offer is no event");
}

pub async fn a_scheduled_message_is_queued_at_its_time(bench: Bench) {
    let client = bench.client().await;
    let at = bench.clock.now() + Duration::from_secs(3_600);
    let mut prepared = given::prepared(client);
    prepared.schedule_at = Some(at);
    let message = bench.accept(&[given::submission(prepared, bench.entropy())]).await.remove(0);
    let key = message.record.key;
    assert_eq!(bench.message(key).await, message);
    assert_eq!((message.record.scheduled_at, message.state.status), (Some(at), Status::Scheduled));
    assert_eq!(message.record.expire_at, at + VALIDITY, "its validity begins with its time");
    assert_eq!(bench.balance(client).await.1, PRICE, "its credit is held at once");
    bench.clock.set(at - Duration::from_micros(1));
    assert_eq!(bench.sweep().await, 0);
    assert!(bench.claim(&[key]).await.is_empty() && backlog(&bench).await.is_empty());
    bench.clock.set(at);
    assert!(bench.claim(&[key]).await.is_empty() && backlog(&bench).await.is_empty(), "the sweeper's first");
    assert_eq!(bench.sweep().await, 1);
    assert_eq!(bench.queue.drain(), [key]);
    assert_eq!(backlog(&bench).await, [key]);
    assert_eq!(bench.message(key).await.state.status, Status::Queued);
    bench.claim_one(key).await;
    let kinds: Vec<_> = bench.events(client).await.iter().map(|event| event.kind).collect();
    assert_eq!(kinds[1..], [EventType::MessageScheduled, EventType::MessageQueued]);
    bench.assert_sound(client).await;
}

pub async fn the_backlog_is_what_could_be_claimed_now(bench: Bench) {
    let client = bench.client().await;
    let keys = bench.send_many(client, 6).await;
    bench.claim_one(keys[0]).await;
    let claimed = bench.claim_one(keys[1]).await;
    bench.outcome(&claimed, rejected(false)).await;
    let claimed = bench.claim_one(keys[2]).await;
    bench.outcome(&claimed, rejected(true)).await;
    let latest_first: Vec<_> = keys[3..].iter().rev().copied().collect();
    assert_eq!(backlog(&bench).await, latest_first, "their timers lie ahead, but they are due");
    // UNKNOWN with a time to send again: the sweeper's, not the queue's.
    let mut prepared = given::prepared(client);
    prepared.on_unknown = OnUnknown::Resend;
    let resends = bench.accept(&[given::submission(prepared, bench.entropy())]).await[0].record.key;
    let claimed = bench.claim_one(resends).await;
    bench.outcome(&claimed, unknown()).await;
    bench.clock.advance(RESEND_AFTER);
    let mut all = backlog(&bench).await;
    all.sort();
    assert_eq!(all, [&keys[1..2], &keys[3..]].concat());
}

pub async fn the_backlog_is_read_in_pages_without_a_repeat_or_a_gap(bench: Bench) {
    let clients = [bench.client().await, bench.client().await];
    let mut keys = Vec::new();
    for (seconds, client) in [(0, clients[1]), (0, clients[0]), (7, clients[1])] {
        bench.clock.advance(Duration::from_secs(seconds));
        // Their order is that of their timers, whatever their priority.
        for n in 0..5 {
            let mut prepared = given::prepared(client);
            prepared.priority = Priority::ALL[n % Priority::ALL.len()];
            let accepted = bench.accept(&[given::submission(prepared, bench.entropy())]).await;
            keys.push(accepted[0].record.key);
        }
    }
    let mut expected = Vec::new();
    for key in keys {
        let Message { record, state } = bench.message(key).await;
        expected.extend(Due::of(key, &state, record.priority));
    }
    expected.sort_by_key(|due| Reverse(due.timer()));
    for page_size in [1, 4, 100] {
        let (mut found, mut before) = (Vec::new(), None);
        while found.len() <= expected.len() {
            let page = bench.store.backlog(before, page_size).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.timer());
            found.extend(page);
        }
        assert_eq!(found, expected);
    }
}

pub async fn the_backlog_names_the_offer_that_a_sweep_makes(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    let claimed = bench.claim_one(key).await;
    bench.outcome(&claimed, throttled()).await;
    bench.queue.drain();
    bench.clock.set(bench.message(key).await.state.due_at.unwrap());
    bench.sweep().await;
    let state = bench.message(key).await.state;
    let offer = Offer { key, fence: claimed.fence, timer_at: state.timer_at.unwrap() };
    assert_eq!(bench.queue.drain_offers(), [offer]);
    assert_eq!(bench.store.backlog(None, ALL).await.unwrap()[0].offer, offer, "made by two nodes, it is one");
}

pub async fn a_long_lane_is_not_offered_what_it_has_until_that_is_long_ago(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    bench.queue.drain();
    bench.queue.set_waiting(1_000_000);
    let gap_max = bench.timing.offer_gap_max;
    let due = bench.clock.now();
    let mut looks = Vec::new();
    for _ in 0..4 {
        bench.clock.set(bench.message(key).await.state.timer_at.unwrap());
        assert_eq!(bench.sweep().await, 1, "its timer moves on");
        looks.push((bench.clock.now().since(due), bench.queue.drain().len()));
    }
    let (gap, age) = (bench.timing.offer_gap, bench.timing.offer_gap + gap_max);
    // At first it is surely in there; later its id may be lost. The longer it takes, the rarer the looks.
    assert_eq!(looks, [(gap, 0), (age, 1), (2 * age, 1), (4 * age, 1)]);
    // What becomes due is offered whatever waits.
    let claimed = bench.claim_one(key).await;
    bench.outcome(&claimed, rejected(false)).await;
    bench.clock.set(bench.message(key).await.state.due_at.unwrap());
    bench.sweep().await;
    assert_eq!(bench.queue.drain(), [key]);
}

pub async fn the_backlog_is_offered_once_to_each_queue_that_begins(bench: Bench) {
    assert_eq!(bench.store.restock().await.unwrap(), None);
    let client = bench.client().await;
    let mut keys = bench.send_many(client, 700).await;
    keys.sort();
    bench.queue.drain();
    for epoch in ["one", "two \"quoted\""] {
        let mover = bench.mover();
        assert_eq!(sweep::offer_backlog(&mover, epoch).await.unwrap(), 700, "{epoch}");
        let mut offered = bench.queue.drain();
        offered.sort();
        assert_eq!(offered, keys);
        let finished = Restock { epoch: epoch.into(), before: None };
        assert_eq!(bench.other.restock().await.unwrap(), Some(finished));
        assert_eq!(sweep::offer_backlog(&mover, epoch).await.unwrap(), 0, "another node, or its restart");
        assert_eq!(bench.queue.drain(), []);
    }
}

pub async fn nodes_offer_the_backlog_together_and_each_message_once(bench: Bench) {
    let client = bench.client().await;
    let mut keys = bench.send_many(client, 2_400).await;
    keys.sort();
    bench.queue.drain();
    let (one, other) = (bench.mover(), bench.mover_on(&bench.other));
    let (first, second) =
        tokio::join!(sweep::offer_backlog(&one, "anew"), sweep::offer_backlog(&other, "anew"));
    assert_eq!(first.unwrap() + second.unwrap(), keys.len());
    let mut offered = bench.queue.drain();
    offered.sort();
    assert_eq!(offered, keys);
}

pub async fn where_another_queue_begins_meanwhile_each_is_offered_the_whole_backlog(bench: Bench) {
    let client = bench.client().await;
    let keys = bench.send_many(client, 1_200).await;
    bench.queue.drain();
    let (one, other) = (bench.mover(), bench.mover_on(&bench.other));
    let (first, second) =
        tokio::join!(sweep::offer_backlog(&one, "mine"), sweep::offer_backlog(&other, "yours"));
    assert_eq!((first.unwrap(), second.unwrap()), (keys.len(), keys.len()));
}

pub async fn how_far_a_queue_was_restocked_is_replaced_by_one_node_only(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    let at = bench.message(key).await.state.timer_at.unwrap();
    let begun = Restock { epoch: "a \"quoted\" name".into(), before: Some(Timer { at, key }) };
    let done = Restock { before: None, ..begun.clone() };
    assert!(!bench.store.note_restock(Some(&done), &begun).await.unwrap(), "there was none");
    assert!(bench.store.note_restock(None, &begun).await.unwrap());
    assert!(!bench.other.note_restock(None, &done).await.unwrap(), "there is one");
    assert_eq!(bench.other.restock().await.unwrap(), Some(begun.clone()));
    assert!(bench.other.note_restock(Some(&begun), &done).await.unwrap());
    assert!(!bench.store.note_restock(Some(&begun), &begun).await.unwrap());
    assert_eq!(bench.store.restock().await.unwrap(), Some(done));
}

pub async fn a_sweep_offers_to_a_long_lane_what_the_backlog_has_not_come_to(bench: Bench) {
    let client = bench.client().await;
    let keys = bench.send_many(client, 3).await;
    for (key, seconds) in keys.iter().zip([10, 20, 30]) {
        move_timer(&bench, *key, Some(bench.clock.now() + Duration::from_secs(seconds))).await;
    }
    bench.queue.drain();
    bench.queue.set_waiting(1_000_000);
    let at = bench.message(keys[1]).await.state.timer_at.unwrap();
    let restock = Restock { epoch: "anew".into(), before: Some(Timer { at, key: keys[1] }) };
    assert!(bench.store.note_restock(None, &restock).await.unwrap());
    bench.clock.advance(Duration::from_secs(40));
    assert_eq!(bench.sweep().await, 3);
    assert_eq!(bench.queue.drain(), keys[..1]);
    // Their timers have moved up, where all has been offered.
    assert_eq!(sweep::offer_backlog(&bench.mover(), "anew").await.unwrap(), 0);
}

async fn backlog(bench: &Bench) -> Vec<MessageKey> {
    let page = bench.store.backlog(None, ALL).await.unwrap();
    page.into_iter().map(|due| due.offer.key).collect()
}

async fn move_timer(bench: &Bench, key: MessageKey, to: Option<Timestamp>) {
    let before = bench.message(key).await.state;
    let change = StateChange {
        key,
        fence_before: before.fence,
        timer_before: before.timer_at,
        resolves_lock: false,
        state: MessageState { timer_at: to, ..before },
    };
    write(bench.store.as_ref(), &[key.client], &Plan { states: vec![change], ..Plan::default() })
        .await
        .unwrap();
}
