//! Every field of every record reads back as it was written.

use std::collections::BTreeMap;
use std::time::Duration;

use delivery::model::{
    Client, ClientState, DeadLetter, IdempotencyKey, KeyKind, Made, Message, MessageState, RememberedCall,
};
use delivery::plan::{Plan, StateChange};
use delivery::port::StoreError;
use ledger::{CaptureOn, Policy, SettleUnreported};
use message::class::{MessageClass, Priority};
use message::encoding::Encoding;
use message::encoding::national::{NationalTable, Shifts};
use message::event::{DeliveryReport, Event, EventType, TransactionType};
use message::failure::{Failure, FailureReason};
use message::id::{ClientId, MessageId};
use message::parts::{Content, ReferenceBits};
use message::status::{LockState, OnUnknown, PartState, PartStates, Status};
use message::{PhoneNumber, Timestamp};

use crate::bench::Bench;
use crate::given::{self, AWKWARD};
use crate::verbs::{load, wanted, write};

pub async fn every_field_of_a_client_reads_back(bench: Bench) {
    let now = bench.clock.now();
    let mut clients = Vec::new();
    for capture_on in CaptureOn::ALL {
        for settle_unreported in SettleUnreported::ALL {
            for on_unknown in OnUnknown::ALL {
                let id = ClientId::new(now, bench.entropy());
                clients.push(Client {
                    name: AWKWARD.into(),
                    policy: Policy { capture_on: *capture_on, settle_unreported: *settle_unreported },
                    on_unknown: *on_unknown,
                    ..given::client(id, now)
                });
            }
        }
    }
    clients.push(Client {
        id: ClientId::new(now, bench.entropy()),
        name: String::new(),
        state: ClientState::Suspended,
        suspend_reason: AWKWARD.into(),
        currency: "EUR".into(),
        is_sandbox: false,
        policy: Policy::default(),
        report_timeout: Duration::from_micros(1),
        on_unknown: OnUnknown::Resend,
        resend_after: Duration::from_secs(365 * 24 * 3_600),
        parts_per_second: i32::MAX,
        burst_parts: i32::MAX,
        default_sender: AWKWARD.into(),
        max_parts: 255,
        low_balance_micros: i64::MAX,
        created_at: Timestamp::from_micros(1),
        revision: i64::MAX,
    });
    for client in &clients {
        bench.store.create_client(client, None, &bench.entry("create")).await.unwrap();
        assert_eq!(&bench.other.client(client.id).await.unwrap().unwrap().0, client);
    }
    clients.sort_by_key(|client| client.id);
    assert_eq!(bench.clients().await, clients);
}

pub async fn every_field_of_a_message_reads_back(bench: Bench) {
    let client = bench.client().await;
    let now = bench.clock.now();
    let plain = |seq| given::message(client, bench.entropy(), now, seq);
    let mut messages = Vec::new();
    let contents = [
        (given::text(AWKWARD), Encoding::Ucs2),
        (given::text("x"), Encoding::Gsm7),
        (given::text(&"é".repeat(20_000)), Encoding::Ucs2),
        (Content::Binary((0..=255).collect()), Encoding::Binary),
        (Content::Binary(vec![0]), Encoding::Binary),
        (Content::Binary(vec![0; 20_000]), Encoding::Binary),
    ];
    for (content, encoding) in contents {
        let mut message = plain(2);
        (message.record.content, message.record.encoding) = (content, encoding);
        messages.push(message);
    }
    for on_unknown in OnUnknown::ALL {
        let mut message = plain(3);
        let record = &mut message.record;
        record.to = PhoneNumber::from_trusted("+123456789012345".into()).unwrap();
        record.sender = AWKWARD.into();
        record.reference_bits = ReferenceBits::Eight;
        record.part_count = 255;
        record.price_micros = i64::MAX;
        record.currency = "JPY".into();
        record.reference = AWKWARD.into();
        record.metadata = (0..20).map(|n| (format!("key.{n}_-"), AWKWARD.to_owned())).collect();
        record.on_unknown = *on_unknown;
        record.is_transliterated = true;
        record.is_flash = true;
        record.replay_of = Some(MessageId::new(now, bench.entropy()));
        record.created_at = Timestamp::from_micros(1);
        record.scheduled_at = Some(now + Duration::from_micros(1));
        record.expire_at = now + Duration::from_secs(100 * 365 * 24 * 3_600);
        messages.push(message);
    }
    for priority in Priority::ALL {
        for class in MessageClass::ALL {
            let mut message = plain(4);
            (message.record.priority, message.record.class) = (*priority, *class);
            messages.push(message);
        }
    }
    for table in NationalTable::ALL {
        for shifts in Shifts::of(Some(*table)) {
            let mut message = plain(4);
            message.record.shifts = shifts;
            messages.push(message);
        }
    }
    let mut empty = plain(4);
    empty.record.price_micros = 0;
    empty.record.metadata = BTreeMap::from([("empty".into(), String::new())]);
    messages.push(empty);
    let plan = Plan { messages: messages.clone(), ..Plan::default() };
    write(bench.store.as_ref(), &[client], &plan).await.unwrap();
    for message in &messages {
        assert!(bench.message(message.record.key).await == *message, "{message:?}");
        assert_eq!(bench.open_message(message.record.key).await.priority, message.record.priority);
    }
    let keys: Vec<_> = messages.iter().map(|message| message.record.key).collect();
    for claimed in bench.claim(&keys).await {
        let message = messages.iter().find(|message| message.record.key == claimed.record.key);
        assert!(message.is_some_and(|message| message.record == claimed.record), "{claimed:?}");
    }
    for message in &mut messages {
        message.state = bench.message(message.record.key).await.state;
    }
    messages.sort_by_key(|message| std::cmp::Reverse(message.record.key.id));
    assert_eq!(bench.messages(client).await, messages);
}

pub async fn every_field_of_a_state_reads_back(bench: Bench) {
    let client = bench.client().await;
    let now = bench.clock.now();
    let mut states = Vec::new();
    for status in Status::ALL {
        let mut state = given::queued(now, 2);
        state.status = *status;
        state.due_at = (!status.is_final() && *status != Status::Sent).then_some(now);
        state.lease_until = (*status == Status::Sending).then_some(now);
        states.push(state);
    }
    for reason in FailureReason::ALL {
        let failure = Failure { reason: *reason, detail: AWKWARD.into(), provider_code: AWKWARD.into() };
        states.push(MessageState { failure: Some(failure), ..given::queued(now, 2) });
    }
    let mut parts = PartStates::open(255);
    parts.note(1, PartState::Delivered);
    parts.note(255, PartState::Failed);
    states.push(MessageState {
        status: Status::Unknown,
        status_at: Timestamp::from_micros(1),
        lock: LockState::Held,
        fence: i64::MAX,
        attempt: i32::MAX,
        due_at: None,
        lease_until: None,
        timer_at: None,
        provider: AWKWARD.into(),
        provider_refs: (0..255).map(|n| format!("{AWKWARD}{n}")).collect(),
        failure: Some(Failure::new(FailureReason::OutcomeUnknown)),
        parts,
        has_open_earlier_attempt: true,
        last_event_seq: i64::MAX,
    });
    for state in states {
        let key = bench.send(client).await;
        let before = bench.message(key).await;
        let change = StateChange {
            key,
            fence_before: before.state.fence,
            timer_before: before.state.timer_at,
            resolves_lock: false,
            state: state.clone(),
        };
        let plan = Plan { states: vec![change], ..Plan::default() };
        write(bench.store.as_ref(), &[client], &plan).await.unwrap();
        assert_eq!(bench.message(key).await, Message { state: state.clone(), ..before });
        assert_eq!(bench.open_message(key).await.state, state);
    }
}

pub async fn every_state_of_a_lock_reads_back(bench: Bench) {
    let client = bench.client().await;
    for lock in [LockState::Captured, LockState::Released] {
        let key = bench.send(client).await;
        let before = bench.message(key).await.state;
        assert_eq!(before.lock, LockState::Held);
        let change = StateChange {
            key,
            fence_before: 0,
            timer_before: before.timer_at,
            resolves_lock: true,
            state: MessageState { lock, ..before },
        };
        let plan = Plan { states: vec![change], ..Plan::default() };
        write(bench.store.as_ref(), &[client], &plan).await.unwrap();
        assert_eq!(bench.message(key).await.state.lock, lock);
        let (_tx, loaded) = load(bench.store.as_ref(), &wanted(&[key])).await;
        assert_eq!(loaded.messages[&key].state.lock, lock);
    }
}

pub async fn every_field_of_an_event_reads_back(bench: Bench) {
    let client = bench.client_with(0, |_| {}).await;
    let id = MessageId::new(bench.clock.now(), bench.entropy());
    let report = DeliveryReport {
        message: id,
        reference: AWKWARD.into(),
        to: given::phone(),
        status: Status::Sent,
        previous: None,
        part: 255,
        attempt: i32::MAX,
        provider: AWKWARD.into(),
        provider_ref: AWKWARD.into(),
        failure: None,
        next_attempt_at: None,
        ignored: true,
    };
    let empty = DeliveryReport {
        reference: String::new(),
        part: 0,
        attempt: 0,
        provider: String::new(),
        provider_ref: String::new(),
        ignored: false,
        ..report.clone()
    };
    let mut events: Vec<Event> = Vec::new();
    let mut push = |kind, report: Option<DeliveryReport>, transaction, after: (i64, i64)| {
        let seq = i64::try_from(events.len()).unwrap() + 1;
        events.push(Event {
            client,
            seq,
            kind,
            at: Timestamp::from_micros(bench.clock.now().as_micros() + seq),
            previous_seq: seq - 1,
            report,
            transaction,
            available_after: after.0,
            held_after: after.1,
        });
    };
    for kind in EventType::ALL {
        push(*kind, Some(report.clone()), None, (i64::MAX, 0));
    }
    for status in Status::ALL {
        let told = DeliveryReport { status: *status, previous: Some(*status), ..empty.clone() };
        push(EventType::of(*status), Some(told), None, (0, i64::MAX));
    }
    for reason in FailureReason::ALL {
        let failure = Failure { reason: *reason, detail: AWKWARD.into(), provider_code: AWKWARD.into() };
        let told = DeliveryReport {
            failure: Some(failure),
            next_attempt_at: Some(bench.clock.now() + Duration::from_micros(1)),
            ..empty.clone()
        };
        push(EventType::MessageFailedTemp, Some(told), None, (0, 0));
    }
    for (kind, available, held) in [
        (TransactionType::Hold, i64::MIN, i64::MAX),
        (TransactionType::Capture, 0, i64::MIN),
        (TransactionType::Release, i64::MAX, i64::MIN),
        (TransactionType::Adjustment, i64::MIN, 0),
    ] {
        let moved = given::transaction(kind, Some(id), available, held);
        push(EventType::MessageQueued, Some(empty.clone()), Some(moved), (1, 1));
    }
    let mut moved = given::transaction(TransactionType::TopUp, None, i64::MAX, 0);
    moved.note = AWKWARD.into();
    push(EventType::CreditToppedUp, None, Some(moved), (i64::MAX, 0));
    let mut moved = given::transaction(TransactionType::Adjustment, None, i64::MIN, 0);
    moved.note = AWKWARD.into();
    push(EventType::CreditAdjusted, None, Some(moved), (0, 0));
    let moved = given::transaction(TransactionType::Capture, Some(id), 0, 0);
    push(EventType::MessageSettled, None, Some(moved), (0, 0));
    let plan = Plan { events: events.clone(), ..Plan::default() };
    write(bench.store.as_ref(), &[client], &plan).await.unwrap();
    let last_seq = i64::try_from(events.len()).unwrap();
    let head = delivery::model::Head { last_seq, ..bench.head(client).await };
    write(bench.store.as_ref(), &[client], &Plan { heads: vec![(client, head)], ..Plan::default() })
        .await
        .unwrap();
    for (read, written) in bench.events(client).await.iter().zip(&events) {
        assert_eq!(read, written);
    }
    assert_eq!(bench.events(client).await.len(), events.len());
}

pub async fn every_field_of_a_remembered_call_reads_back(bench: Bench) {
    let client = bench.client().await;
    let id = MessageId::new(bench.clock.now(), bench.entropy());
    let printable: String = (0x21..0x7f).map(char::from).collect();
    let mut calls = Vec::new();
    for (kind, made) in [
        (KeyKind::Send, Made::Message(id)),
        (KeyKind::TopUp, Made::Event(i64::MAX)),
        (KeyKind::TopUp, Made::Event(1)),
        (KeyKind::Adjust, Made::Event(2)),
    ] {
        for key in [printable.as_str(), "x", AWKWARD] {
            let key = IdempotencyKey { client, kind, key: format!("{key}{made:?}") };
            let fingerprint = given::fingerprint(&key.key);
            calls.push(RememberedCall { key, fingerprint, made, created_at: bench.clock.now() });
        }
    }
    let plan = Plan { keys: calls.clone(), ..Plan::default() };
    write(bench.store.as_ref(), &[client], &plan).await.unwrap();
    for call in calls {
        assert_eq!(bench.store.remembered(&call.key).await.unwrap(), Some(call));
    }
}

pub async fn every_field_of_a_dead_letter_reads_back(bench: Bench) {
    let client = bench.client().await;
    for reason in FailureReason::ALL {
        let key = bench.send(client).await;
        let full = DeadLetter {
            key,
            provider: AWKWARD.into(),
            failure: Failure { reason: *reason, detail: AWKWARD.into(), provider_code: AWKWARD.into() },
            has_unknown_attempt: true,
            at: bench.clock.now() + Duration::from_micros(1),
            replayed_as: Some(MessageId::new(bench.clock.now(), bench.entropy())),
        };
        let plain =
            DeadLetter { provider: String::new(), ..given::dead_letter(key, Timestamp::from_micros(1)) };
        let letter = if reason == &FailureReason::RetriesExhausted { plain } else { full };
        let plan = Plan { dead_letters: vec![letter.clone()], ..Plan::default() };
        write(bench.store.as_ref(), &[client], &plan).await.unwrap();
        let expected = [(letter, bench.message(key).await)];
        assert_eq!(bench.other.dead_letters_of(&[key.id]).await.unwrap(), expected);
    }
}

pub async fn a_message_dies_once(bench: Bench) {
    let client = bench.client().await;
    let letter = given::dead_letter(bench.send(client).await, bench.clock.now());
    let plan = Plan { dead_letters: vec![letter], ..Plan::default() };
    write(bench.store.as_ref(), &[client], &plan).await.unwrap();
    let again = write(bench.store.as_ref(), &[client], &plan).await;
    assert!(matches!(again, Err(StoreError::Refused(_))), "{again:?}");
}
