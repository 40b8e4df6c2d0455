//! State changes: fenced, with their events and their money, or not at all.

use std::time::Duration;

use delivery::cancel::{CancelError, cancel};
use delivery::model::{MessageKey, MessageState};
use delivery::plan::{Plan, StateChange};
use delivery::port::StoreError;
use delivery::transition::Outcome;
use ledger::CaptureOn;
use message::event::{EventType, TransactionType};
use message::failure::FailureReason;
use message::status::{LockState, OnUnknown, Status};

use crate::bench::Bench;
use crate::given::{self, PRICE, RESEND_AFTER};
use crate::verbs::{LEASE, accepted, learned, load, rejected, unknown, wanted, write};

pub async fn a_change_with_a_wrong_fence_is_a_conflict_and_writes_nothing(bench: Bench) {
    let client = bench.client().await;
    let keys = bench.send_many(client, 2).await;
    let before = [bench.message(keys[0]).await, bench.message(keys[1]).await];
    let head = bench.head(client).await;
    for wrong in [-1, 1, i64::MAX] {
        let change = |index: usize, fence_before| StateChange {
            key: keys[index],
            fence_before,
            timer_before: before[index].state.timer_at,
            resolves_lock: false,
            state: MessageState {
                status: Status::Sent,
                due_at: None,
                timer_at: None,
                ..before[index].state.clone()
            },
        };
        let moved = delivery::model::Head { last_seq: head.last_seq + 9, ..head };
        let plan = Plan {
            heads: vec![(client, moved)],
            states: vec![change(0, 0), change(1, wrong)],
            ..Plan::default()
        };
        let lost = write(bench.store.as_ref(), &[client], &plan).await;
        assert!(matches!(lost, Err(StoreError::Conflict)), "{lost:?}");
        assert_eq!(bench.message(keys[0]).await, before[0]);
        assert_eq!(bench.message(keys[1]).await, before[1]);
        assert_eq!(bench.head(client).await, head);
    }
    bench.assert_sound(client).await;
}

pub async fn a_lock_leaves_held_once(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    for (lock, is_first) in
        [(LockState::Captured, true), (LockState::Captured, false), (LockState::Released, false)]
    {
        let before = bench.message(key).await;
        let change = StateChange {
            key,
            fence_before: before.state.fence,
            timer_before: before.state.timer_at,
            resolves_lock: true,
            state: MessageState {
                lock,
                fence: before.state.fence + 1,
                last_event_seq: before.state.last_event_seq + 1,
                ..before.state.clone()
            },
        };
        let plan = Plan { states: vec![change], ..Plan::default() };
        let written = write(bench.store.as_ref(), &[client], &plan).await;
        if is_first {
            written.unwrap();
            assert_eq!(bench.message(key).await.state.lock, LockState::Captured);
        } else {
            assert!(matches!(written, Err(StoreError::Conflict)), "{written:?}");
            assert_eq!(bench.message(key).await, before);
        }
    }
}

pub async fn a_claim_in_between_makes_the_write_a_conflict(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    let before = bench.open_message(key).await;
    bench.claim_one(key).await;
    let change = StateChange {
        key,
        fence_before: before.state.fence,
        timer_before: before.state.timer_at,
        resolves_lock: false,
        state: MessageState { status: Status::Canceled, due_at: None, timer_at: None, ..before.state },
    };
    let plan = Plan { states: vec![change], ..Plan::default() };
    let lost = write(bench.store.as_ref(), &[client], &plan).await;
    assert!(matches!(lost, Err(StoreError::Conflict)), "{lost:?}");
    assert_eq!(bench.message(key).await.state.status, Status::Sending);
}

pub async fn an_accepted_attempt_is_announced_and_held_until_it_is_delivered(bench: Bench) {
    let client = bench.client_with(PRICE * 3, |_| {}).await;
    let key = bench.sent(client, "ref-1").await;
    let message = bench.message(key).await;
    assert_eq!(message.state.status, Status::Sent);
    assert_eq!(message.state.provider_refs, ["ref-1"]);
    assert_eq!(bench.balance(client).await, (PRICE * 2, PRICE));
    let history = bench.store.history(client, key.id).await.unwrap();
    let kinds: Vec<_> = history.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventType::MessageQueued, EventType::MessageSending, EventType::MessageSent]);
    assert_eq!(bench.events(client).await[1..], history);
    bench.assert_sound(client).await;
}

pub async fn money_moves_by_the_clients_policy(bench: Bench) {
    let on_sent = bench.client_with(PRICE, |client| client.policy.capture_on = CaptureOn::Sent).await;
    let key = bench.sent(on_sent, "ref-1").await;
    assert_eq!(bench.message(key).await.state.lock, LockState::Captured);
    assert_eq!(bench.balance(on_sent).await, (0, 0));

    let failed = bench.client_with(PRICE, |_| {}).await;
    let key = bench.send(failed).await;
    let claimed = bench.claim_one(key).await;
    bench.outcome(&claimed, rejected(true)).await;
    let state = bench.message(key).await.state;
    assert_eq!((state.status, state.lock), (Status::FailedPerm, LockState::Released));
    assert_eq!(bench.balance(failed).await, (PRICE, 0));
    let last = bench.events(failed).await.pop().unwrap();
    let transaction = last.transaction.unwrap();
    assert_eq!((transaction.kind, transaction.message), (TransactionType::Release, Some(key.id)));
    assert_eq!(last.report.unwrap().failure, state.failure);
    bench.assert_sound(on_sent).await;
    bench.assert_sound(failed).await;
}

pub async fn outcomes_of_many_messages_are_one_transaction(bench: Bench) {
    let clients = [bench.client().await, bench.client().await];
    let mut keys = bench.send_many(clients[0], 5).await;
    keys.extend(bench.send_many(clients[1], 5).await);
    let outcomes = [
        accepted("ref-0"),
        Outcome::Accepted { refs: vec!["ref-1a".into(), "ref-1b".into()] },
        rejected(true),
        unknown(),
        Outcome::Throttled { retry_after: Duration::from_secs(7) },
    ];
    let claimed = bench.claim(&keys).await;
    let learned: Vec<_> = claimed
        .iter()
        .map(|claimed| {
            let index = keys.iter().position(|key| *key == claimed.record.key).unwrap();
            let mut outcome = outcomes[index % 5].clone();
            if let Outcome::Accepted { refs } = &mut outcome {
                refs.iter_mut().for_each(|reference| reference.push_str(&format!("-{index}")));
            }
            learned(claimed, outcome)
        })
        .collect();
    let moved = bench.mover().apply(&learned).await.unwrap();
    assert_eq!(moved.changed, 10);
    for (index, key) in keys.iter().enumerate() {
        let state = bench.message(*key).await.state;
        let expected =
            [Status::Sent, Status::Sent, Status::FailedPerm, Status::Unknown, Status::Queued][index % 5];
        assert_eq!(state.status, expected);
        assert_eq!(state.attempt, i32::from(index % 5 != 4), "a throttled attempt is none");
    }
    for client in clients {
        assert_eq!(bench.balance(client).await.1, 4 * PRICE);
        bench.assert_sound(client).await;
    }
}

pub async fn an_outcome_after_the_lease_is_void(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    let claimed = bench.claim_one(key).await;
    bench.clock.advance(LEASE);
    bench.sweep().await;
    let unknown = bench.message(key).await.state;
    assert_eq!(unknown.status, Status::Unknown);
    let events = bench.events(client).await.len();
    bench.outcome(&claimed, rejected(true)).await;
    assert_eq!(bench.message(key).await.state, unknown);
    assert_eq!(bench.events(client).await.len(), events);
    // Its reference is bound all the same: the report must find the message.
    bench.outcome(&claimed, accepted("late-ref")).await;
    bench.store_reports(&[given::report("late-ref", message::report::ReportState::Delivered)]).await;
    bench.apply_reports().await;
    assert_eq!(bench.message(key).await.state.status, Status::Delivered);
    bench.assert_sound(client).await;
}

pub async fn an_unknown_outcome_is_resent_only_if_the_client_asked_for_it(bench: Bench) {
    let client = bench.client().await;
    let waits = bench.send(client).await;
    let mut prepared = given::prepared(client);
    prepared.on_unknown = OnUnknown::Resend;
    let resends = bench.accept(&[given::submission(prepared, bench.entropy())]).await[0].record.key;
    for key in [waits, resends] {
        let claimed = bench.claim_one(key).await;
        bench.outcome(&claimed, unknown()).await;
    }
    bench.clock.advance(RESEND_AFTER);
    bench.sweep().await;
    assert_eq!(bench.message(waits).await.state.status, Status::Unknown);
    let state = bench.message(resends).await.state;
    assert_eq!((state.status, state.has_open_earlier_attempt), (Status::FailedTemp, true));
    assert!(bench.queue.drain().contains(&resends));
    assert_eq!(bench.claim(&[waits, resends]).await.len(), 1);
    bench.assert_sound(client).await;
}

pub async fn a_message_that_fails_to_the_end_is_a_dead_letter_and_costs_nothing(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    for _ in 0..bench.timing.max_attempts() {
        if let Some(due) = bench.message(key).await.state.due_at {
            bench.clock.set(due.max(bench.clock.now()));
        }
        let claimed = bench.claim_one(key).await;
        bench.outcome(&claimed, rejected(false)).await;
    }
    let state = bench.message(key).await.state;
    assert_eq!((state.status, state.lock), (Status::FailedPerm, LockState::Released));
    assert_eq!(state.failure.unwrap().reason, FailureReason::RetriesExhausted);
    assert_eq!(bench.balance(client).await.1, 0);
    let history = bench.store.history(client, key.id).await.unwrap();
    assert_eq!(history.len(), 1 + 2 * usize::try_from(bench.timing.max_attempts()).unwrap());
    bench.assert_sound(client).await;
}

pub async fn a_message_is_canceled_while_no_attempt_has_it(bench: Bench) {
    let client = bench.client().await;
    let mut prepared = given::prepared(client);
    prepared.schedule_at = Some(bench.clock.now() + Duration::from_secs(60));
    let scheduled = bench.accept(&[given::submission(prepared, bench.entropy())]).await[0].record.key;
    let keys = bench.send_many(client, 3).await;
    let claimed = bench.claim(&keys[1..]).await;
    bench.outcome(&claimed[0], rejected(false)).await;
    let held = bench.balance(client).await.1;
    for key in [scheduled, keys[0], claimed[0].record.key] {
        let message = cancel(&bench.mover(), key).await.unwrap();
        assert_eq!((message.state.status, message.state.lock), (Status::Canceled, LockState::Released));
        assert_eq!(cancel(&bench.mover(), key).await.unwrap(), message, "again, it is as it is");
        let last = bench.store.history(client, key.id).await.unwrap().pop().unwrap();
        let transaction = last.transaction.unwrap();
        assert_eq!((last.kind, transaction.kind), (EventType::MessageCanceled, TransactionType::Release));
    }
    assert_eq!(bench.balance(client).await.1, held - 3 * PRICE);
    let under_way = claimed[1].record.key;
    let refused = cancel(&bench.mover(), under_way).await;
    assert!(matches!(refused, Err(CancelError::NotCancelable(Status::Sending))), "{refused:?}");
    let nothing = MessageKey { client: bench.client().await, id: under_way.id };
    assert!(matches!(cancel(&bench.mover(), nothing).await, Err(CancelError::NoSuchMessage)));
    bench.clock.advance(Duration::from_secs(1_000));
    bench.sweep().await;
    assert!(bench.claim(&[scheduled, keys[0], claimed[0].record.key]).await.is_empty());
    bench.assert_sound(client).await;
}

pub async fn a_load_sees_what_the_claim_wrote(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    bench.claim_one(key).await;
    let (_tx, loaded) = load(bench.store.as_ref(), &wanted(&[key])).await;
    assert_eq!(loaded.messages[&key].state, bench.message(key).await.state);
}
