//! Who of a batch is accepted, and what is booked for it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use delivery::accept::decide::{Decision, Submission, decide, receipt_of};
use delivery::accept::prepare::Prepared;
use delivery::accept::{AcceptError, SendRequest};
use delivery::book::Book;
use delivery::model::{Client, ClientState, Head, Made, MessageKey, RememberedCall};
use delivery::plan::{Loaded, Plan};
use delivery::timing::Timing;
use ledger::Balance;
use message::Timestamp;
use message::event::{EventType, TransactionType};
use message::id::{Entropy, MessageId};
use message::status::{LockState, Status};
use proptest::prelude::*;

use crate::given::{NOW, PART_PRICE, client, loaded, prepared, request};

/// A send of so many parts under a key, empty = none. Its text is all that tells it from another.
fn send(key: &str, parts: usize) -> Prepared {
    let text = "a".repeat(parts * 152);
    prepared(SendRequest { idempotency_key: key.into(), text, ..request() }).unwrap()
}

fn batch(sends: Vec<Prepared>) -> Vec<Submission> {
    let entropy = |at: usize| Entropy([u8::try_from(at).unwrap(); 10]);
    sends
        .into_iter()
        .enumerate()
        .map(|(at, prepared)| Submission { prepared, entropy: entropy(at), deed: None })
        .collect()
}

fn run(loaded: &mut Loaded, sends: Vec<Prepared>) -> (Vec<Decision>, Plan) {
    let mut book = Book::open(loaded);
    let decisions = decide(&Timing::default(), loaded, &mut book, &batch(sends));
    (decisions, book.close().0)
}

/// A call that was remembered `ago`, made by `prepared`.
fn remembered(prepared: &Prepared, ago: Duration) -> (RememberedCall, MessageId) {
    let id = MessageId::new(NOW - ago, Entropy([77; 10]));
    let key = prepared.key().unwrap();
    let call = RememberedCall {
        key,
        fingerprint: prepared.fingerprint,
        made: Made::Message(id),
        created_at: NOW - ago,
    };
    (call, id)
}

#[test]
fn an_accepted_send_is_a_message_a_hold_a_key_and_one_event() {
    let mut loaded = loaded(&client(), 100_000);
    let (decisions, plan) = run(&mut loaded, vec![send("k", 2)]);
    let [Decision::Accepted(message)] = &decisions[..] else { panic!("{decisions:?}") };
    let state = &message.state;
    assert_eq!(
        (state.status, state.lock, state.attempt, state.fence),
        (Status::Queued, LockState::Held, 0, 0)
    );
    assert_eq!((state.due_at, state.parts.to_string().as_str()), (Some(NOW), "--"));
    assert!(state.timer_at.is_some_and(|at| at > NOW && at <= message.record.expire_at));
    assert_eq!(plan.messages, [(**message).clone()]);
    let [event] = &plan.events[..] else { panic!("{:?}", plan.events) };
    assert_eq!((event.seq, event.previous_seq, state.last_event_seq), (5, 0, 5));
    assert_eq!(event.kind, EventType::MessageQueued);
    let moved = event.transaction.as_ref().unwrap();
    assert_eq!(moved.kind, TransactionType::Hold);
    assert_eq!((moved.available_delta, moved.held_delta), (-2 * PART_PRICE, 2 * PART_PRICE));
    assert_eq!((event.available_after, event.held_after), (100_000 - 2 * PART_PRICE, 2 * PART_PRICE));
    assert_eq!(
        plan.heads,
        [(
            client().id,
            Head {
                balance: Balance::new(event.available_after, event.held_after).unwrap(),
                last_seq: 5,
                oldest_seq: 1
            }
        )]
    );
    assert_eq!(plan.keys[0].made, Made::Message(message.record.key.id));
    // The receipt of a replay is the message as it was accepted, whatever has become of it.
    let mut later = (**message).clone();
    later.state.status = Status::Delivered;
    later.state.attempt = 3;
    let receipt = receipt_of(later);
    assert_eq!(
        (receipt.state.status, receipt.state.attempt, receipt.state.status_at),
        (Status::Queued, 0, NOW)
    );
}

#[test]
fn a_remembered_call_is_answered_before_anything_else_is_checked() {
    let suspended = Client { state: ClientState::Suspended, ..client() };
    let mut loaded = loaded(&suspended, 0);
    let (call, id) = remembered(&send("k", 1), Duration::from_secs(24 * 3_600 - 1));
    loaded.keys.insert(call.key.clone(), call);
    let (decisions, plan) = run(&mut loaded, vec![send("k", 1), send("k", 2), send("other", 1)]);
    assert!(matches!(decisions[0], Decision::Replay(first) if first == id));
    let reused = &decisions[1];
    assert!(
        matches!(reused, Decision::Refused(AcceptError::KeyReused { first_message }) if *first_message == Some(id))
    );
    assert!(matches!(decisions[2], Decision::Refused(AcceptError::ClientSuspended)));
    assert!(plan.is_empty());
}

#[test]
fn a_key_is_free_again_after_its_lifetime() {
    let mut loaded = loaded(&client(), PART_PRICE);
    let (call, id) = remembered(&send("k", 1), Timing::default().key_lifetime);
    loaded.keys.insert(call.key.clone(), call);
    let (decisions, plan) = run(&mut loaded, vec![send("k", 1)]);
    assert!(matches!(&decisions[0], Decision::Accepted(message) if message.record.key.id != id));
    assert_eq!(plan.keys[0].created_at, NOW);
}

#[test]
fn a_refusal_remembers_nothing_so_the_key_works_after_a_top_up() {
    let mut poor = loaded(&client(), PART_PRICE - 1);
    let (decisions, plan) = run(&mut poor, vec![send("k", 1)]);
    let Decision::Refused(AcceptError::InsufficientCredit { need_micros, available_micros, currency }) =
        &decisions[0]
    else {
        panic!("{decisions:?}");
    };
    assert_eq!((*need_micros, *available_micros, currency.as_str()), (PART_PRICE, PART_PRICE - 1, "USD"));
    assert!(plan.is_empty());
    let (decisions, _) = run(&mut loaded(&client(), PART_PRICE), vec![send("k", 1)]);
    assert!(matches!(decisions[0], Decision::Accepted(_)));
}

#[test]
fn a_client_that_is_gone_refuses_its_items_only() {
    let mut stranger = send("", 1);
    stranger.client = message::ClientId::new(Timestamp::from_micros(1), Entropy([3; 10]));
    let (decisions, plan) = run(&mut loaded(&client(), 1_000_000), vec![stranger, send("", 1)]);
    assert!(matches!(decisions[0], Decision::Refused(AcceptError::NoSuchClient)));
    assert!(matches!(decisions[1], Decision::Accepted(_)));
    assert_eq!(plan.messages.len(), 1);
}

#[test]
fn a_send_for_later_is_scheduled_with_its_credit_held_and_its_validity_counted_from_then() {
    let at = NOW + Duration::from_secs(3_600);
    let validity = Some(Duration::from_secs(60));
    let later = prepared(SendRequest { schedule_at: Some(at), validity, ..request() }).unwrap();
    let (decisions, plan) = run(&mut loaded(&client(), PART_PRICE), vec![later]);
    let [Decision::Accepted(message)] = &decisions[..] else { panic!("{decisions:?}") };
    let state = &message.state;
    assert_eq!((state.status, state.lock), (Status::Scheduled, LockState::Held));
    assert_eq!((state.due_at, state.timer_at), (Some(at), Some(at)));
    assert_eq!(message.record.scheduled_at, Some(at));
    assert_eq!(message.record.expire_at, at + Duration::from_secs(60));
    assert_eq!(plan.events[0].kind, EventType::MessageScheduled);
    assert_eq!(receipt_of((**message).clone()).state.status, Status::Scheduled);
}

#[test]
fn a_time_that_has_passed_means_at_once_and_a_time_that_is_a_mistake_is_refused() {
    let decide_at = |at: Timestamp| {
        let send = prepared(SendRequest { schedule_at: Some(at), ..request() }).unwrap();
        run(&mut loaded(&client(), PART_PRICE), vec![send]).0.remove(0)
    };
    let hour = Duration::from_secs(3_600);
    let month = Duration::from_secs(30 * 24 * 3_600);
    let micro = Duration::from_micros(1);
    for passed in [NOW, NOW - hour] {
        let Decision::Accepted(message) = decide_at(passed) else { panic!("refused") };
        assert_eq!((message.state.status, message.record.scheduled_at), (Status::Queued, None));
        assert_eq!(message.state.due_at, Some(NOW));
    }
    assert!(matches!(decide_at(NOW + month), Decision::Accepted(_)));
    for mistaken in [NOW - hour - micro, NOW + month + micro] {
        let Decision::Refused(AcceptError::Invalid(violations)) = decide_at(mistaken) else {
            panic!("accepted")
        };
        assert_eq!(violations[0].field, "schedule_time");
    }
}

#[test]
fn a_dead_letter_is_sent_again_once() {
    let dead = MessageId::new(NOW - Duration::from_secs(60), Entropy([8; 10]));
    let key = MessageKey { client: client().id, id: dead };
    let replay = || Prepared { replay_of: Some(dead), ..send("", 1) };
    let mut loaded = loaded(&client(), 10 * PART_PRICE);
    let (decisions, plan) = run(&mut loaded, vec![replay()]);
    assert!(matches!(decisions[0], Decision::Refused(AcceptError::NoSuchDeadLetter)));
    assert!(plan.is_empty());

    let mut loaded = self::loaded(&client(), 10 * PART_PRICE);
    loaded.dead_letters.insert(key, None);
    let (decisions, plan) = run(&mut loaded, vec![replay(), replay()]);
    let Decision::Accepted(message) = &decisions[0] else { panic!("{decisions:?}") };
    let id = message.record.key.id;
    assert_eq!(message.record.replay_of, Some(dead));
    assert!(matches!(decisions[1], Decision::Replay(first) if first == id));
    assert_eq!(plan.replays, [(key, id)]);
    assert_eq!(plan.messages.len(), 1);
}

proptest! {
    #[test]
    fn a_batch_spends_what_there_is_and_makes_one_message_a_key(
        available in 0..20 * PART_PRICE,
        sends in proptest::collection::vec(("[ab]?", 1..4usize), 0..20),
    ) {
        let sends: Vec<Prepared> = sends.iter().map(|(key, parts)| send(key, *parts)).collect();
        let (decisions, plan) = run(&mut loaded(&client(), available), sends.clone());
        let (mut left, mut firsts) = (available, HashMap::new());
        for (decision, prepared) in decisions.iter().zip(&sends) {
            let first = prepared.key().and_then(|key| firsts.get(&key).copied());
            match decision {
                Decision::Accepted(message) => {
                    prop_assert!(first.is_none(), "a second message for one key");
                    prop_assert!(prepared.price_micros <= left);
                    left -= prepared.price_micros;
                    if let Some(key) = prepared.key() {
                        firsts.insert(key, (message.record.key.id, prepared.fingerprint));
                    }
                }
                Decision::Replay(id) => prop_assert_eq!(first, Some((*id, prepared.fingerprint))),
                Decision::Refused(AcceptError::KeyReused { first_message }) => {
                    let (id, fingerprint) = first.unwrap();
                    prop_assert_eq!(*first_message, Some(id));
                    prop_assert_ne!(fingerprint, prepared.fingerprint);
                }
                Decision::Refused(error) => {
                    let is_short = matches!(error, AcceptError::InsufficientCredit { available_micros, .. } if *available_micros == left);
                    prop_assert!(is_short, "{error:?}");
                    prop_assert!(first.is_none() && prepared.price_micros > left);
                }
            }
        }
        let seqs: Vec<i64> = plan.events.iter().map(|event| event.seq).collect();
        prop_assert_eq!(seqs, (5..5 + i64::try_from(plan.messages.len()).unwrap()).collect::<Vec<_>>());
        let after = plan.heads.first().map_or((available, 0), |(_, head)| (head.balance.available(), head.balance.held()));
        prop_assert_eq!(after, (left, available - left));
        prop_assert_eq!(plan.keys.len(), firsts.len());
        let ids: BTreeSet<_> = plan.messages.iter().map(|message| message.record.key.id).collect();
        prop_assert_eq!(ids.len(), plan.messages.len());
    }
}
