//! Dead letters: listed, and sent again once.

use std::time::Duration;

use delivery::accept::AcceptError;
use delivery::accept::decide::{Decision, DeedOf, Submission};
use delivery::model::{AuditEntry, DeadLetter, Message, MessageKey};
use delivery::plan::{Plan, Wanted};
use delivery::port::{DeadLetterFilter, StoreError};
use message::Timestamp;
use message::failure::{Failure, FailureReason};
use message::id::{ClientId, MessageId};
use message::status::Status;

use crate::bench::Bench;
use crate::given::{self, PROVIDER};
use crate::list::{Row, assert_pages};
use crate::verbs::{self, ALL, load, rejected, retried, write};

pub async fn a_message_that_is_given_up_is_listed_with_its_failure(bench: Bench) {
    let client = bench.client().await;
    let refused = bench.send(client).await;
    let claimed = bench.claim_one(refused).await;
    bench.outcome(&claimed, rejected(true)).await;
    let key = dead(&bench, client).await;
    let filter = DeadLetterFilter::default();
    let listed = bench.store.dead_letters(&filter, None, ALL, ALL).await.unwrap();
    let message = bench.message(key).await;
    let expected = DeadLetter {
        key,
        provider: PROVIDER.into(),
        failure: message.state.failure.clone().unwrap(),
        has_unknown_attempt: false,
        at: message.state.status_at,
        replayed_as: None,
    };
    assert_eq!(expected.failure.reason, FailureReason::RetriesExhausted);
    assert_eq!(bench.queue.drain_letters(), std::slice::from_ref(&expected), "and told of");
    assert_eq!(listed.items, [(expected, message)], "what a provider refuses for good is none");
    assert_eq!(listed.scanned_to, None);
}

pub async fn dead_letters_are_listed_newest_first_and_filtered(bench: Bench) {
    let clients = [bench.client().await, bench.client().await];
    let mut letters = letters(&bench, clients).await;
    letters.sort_by_key(|(letter, _)| std::cmp::Reverse((letter.at, letter.key)));
    let times = [0, 3, 4].map(|seconds| bench.clock.now() + Duration::from_secs(seconds));
    let nobody = ClientId::new(bench.clock.now(), bench.entropy());
    let all = DeadLetterFilter::default;
    let filters = [
        all(),
        DeadLetterFilter { client: Some(clients[0]), ..all() },
        DeadLetterFilter { client: Some(nobody), ..all() },
        DeadLetterFilter { provider: "two".into(), ..all() },
        DeadLetterFilter { provider: "TWO".into(), ..all() },
        DeadLetterFilter { reason: Some(FailureReason::ProviderRejected), ..all() },
        DeadLetterFilter { reason: Some(FailureReason::OutcomeUnknown), ..all() },
        DeadLetterFilter { open_only: true, ..all() },
        DeadLetterFilter { ended_from: Some(times[1]), ..all() },
        DeadLetterFilter { ended_from: Some(times[1] + Duration::from_micros(1)), ..all() },
        DeadLetterFilter { ended_before: Some(times[1]), ..all() },
        DeadLetterFilter { ended_before: Some(times[0]), ..all() },
        DeadLetterFilter { ended_from: Some(times[1]), ended_before: Some(times[2]), ..all() },
        DeadLetterFilter {
            client: Some(clients[1]),
            provider: "one".into(),
            reason: Some(FailureReason::RetriesExhausted),
            ended_from: Some(times[0]),
            ended_before: Some(times[2]),
            open_only: true,
        },
    ];
    for filter in filters {
        let rows: Vec<_> = letters.iter().map(|letter| row(&filter, letter)).collect();
        assert_pages(&rows, async |before, limit, scan| {
            bench.other.dead_letters(&filter, before, limit, scan).await.unwrap()
        })
        .await;
    }
}

pub async fn the_dead_letters_of_messages_are_those_asked_for(bench: Bench) {
    let clients = [bench.client().await, bench.client().await];
    let letters = letters(&bench, clients).await;
    let alive = bench.send(clients[0]).await;
    let nothing = MessageId::new(bench.clock.now(), bench.entropy());
    let wanted = [&letters[3], &letters[0], &letters[10]];
    let mut ids: Vec<MessageId> = wanted.iter().map(|(letter, _)| letter.key.id).collect();
    ids.extend([nothing, alive.id, ids[0]]);
    let mut found = bench.other.dead_letters_of(&ids).await.unwrap();
    found.sort_by_key(|(letter, _)| letter.key);
    let mut expected: Vec<_> = wanted.into_iter().cloned().collect();
    expected.sort_by_key(|(letter, _)| letter.key);
    assert_eq!(found, expected, "each once");
    assert_eq!(bench.store.dead_letters_of(&[]).await.unwrap(), []);
    assert_eq!(bench.store.dead_letters_of(&[nothing]).await.unwrap(), []);
}

pub async fn a_dead_letter_is_sent_again_once(bench: Bench) {
    let client = bench.client().await;
    let key = dead(&bench, client).await;
    let alive = bench.send(client).await;
    let wanted = Wanted { dead_letters: [key, alive].into(), ..verbs::wanted(&[key]) };
    let loaded = async || load(bench.other.as_ref(), &wanted).await.1.dead_letters;
    assert_eq!(loaded().await, [(key, None)].into());
    let again = bench.accept(&[replay(&bench, key)]).await.remove(0);
    assert_eq!(again.record.replay_of, Some(key.id));
    assert_eq!(bench.message(again.record.key).await, again);
    assert_eq!(loaded().await, [(key, Some(again.record.key.id))].into());
    let found = bench.store.dead_letters_of(&[key.id]).await.unwrap();
    assert_eq!(found[0].0.replayed_as, Some(again.record.key.id));
    assert_eq!(found[0].1, bench.message(key).await);
    let before = bench.messages(client).await;
    // Whoever is second gets the message that the first made.
    let batch = [replay(&bench, key), replay(&bench, alive)];
    let decisions = verbs::accept(bench.store.as_ref(), &bench.timing, &batch).await.unwrap();
    assert!(matches!(decisions[0], Decision::Replay(id) if id == again.record.key.id), "{decisions:?}");
    assert!(matches!(decisions[1], Decision::Refused(AcceptError::NoSuchDeadLetter)), "{decisions:?}");
    assert_eq!(bench.messages(client).await, before);
    bench.assert_sound(client).await;
}

pub async fn a_second_replay_is_a_conflict_and_writes_nothing(bench: Bench) {
    let client = bench.client().await;
    let keys = [dead(&bench, client).await, dead(&bench, client).await];
    let alive = bench.send(client).await;
    let foreign = MessageKey { client: bench.client().await, id: keys[1].id };
    let head = bench.head(client).await;
    let moved = delivery::model::Head { last_seq: head.last_seq + 9, ..head };
    let new = MessageId::new(bench.clock.now(), bench.entropy());
    let plan = |keys: &[MessageKey]| Plan {
        heads: vec![(client, moved)],
        replays: keys.iter().map(|key| (*key, new)).collect(),
        audit_entries: vec![bench.entry("replay")],
        ..Plan::default()
    };
    let first = Plan { heads: Vec::new(), ..plan(&keys[..1]) };
    write(bench.store.as_ref(), &[client], &first).await.unwrap();
    let entries = bench.audit_log().await;
    for wrong in [&keys[..1], &[keys[1], keys[0]], &[alive], &[keys[1], alive], &[keys[1], foreign]] {
        let lost = write(bench.store.as_ref(), &[client, foreign.client], &plan(wrong)).await;
        assert!(matches!(lost, Err(StoreError::Conflict)), "{wrong:?}: {lost:?}");
    }
    assert_eq!(bench.head(client).await, head);
    assert_eq!(bench.audit_log().await, entries);
    let replayed =
        async |key: MessageKey| bench.store.dead_letters_of(&[key.id]).await.unwrap()[0].0.replayed_as;
    assert_eq!((replayed(keys[0]).await, replayed(keys[1]).await), (Some(new), None));
}

pub async fn racing_replays_make_one_message(bench: Bench) {
    let client = bench.client().await;
    let key = dead(&bench, client).await;
    let before = bench.messages(client).await.len();
    let callers: Vec<_> = (0..12)
        .map(|n| {
            let store = if n % 2 == 0 { bench.store.clone() } else { bench.other.clone() };
            let (batch, timing) = ([replay(&bench, key)], bench.timing.clone());
            tokio::spawn(async move {
                match retried(|| verbs::accept(store.as_ref(), &timing, &batch)).await.remove(0) {
                    Decision::Accepted(message) => message.record.key.id,
                    Decision::Replay(id) => id,
                    other => panic!("{other:?}"),
                }
            })
        })
        .collect();
    let mut made = Vec::new();
    for caller in callers {
        made.push(caller.await.unwrap());
    }
    made.dedup();
    assert_eq!(made.len(), 1, "{made:?}");
    // The trail has the deed of the one that was accepted, from the same transaction.
    let entries = bench.audit_log().await;
    let deeds: Vec<_> = entries.iter().filter(|entry| entry.action == "replay").collect();
    assert_eq!(deeds.len(), 1, "{deeds:?}");
    assert_eq!(deeds[0].after, made[0].to_string());
    assert_eq!(bench.messages(client).await.len(), before + 1);
    bench.assert_sound(client).await;
}

/// Fails a message to its end.
async fn dead(bench: &Bench, client: ClientId) -> MessageKey {
    let key = bench.send(client).await;
    for _ in 0..bench.timing.max_attempts() {
        let due = bench.message(key).await.state.due_at.unwrap();
        bench.clock.set(due.max(bench.clock.now()));
        let claimed = bench.claim_one(key).await;
        bench.outcome(&claimed, rejected(false)).await;
    }
    assert_eq!(bench.message(key).await.state.status, Status::FailedPerm);
    key
}

/// What an operator's replay hands to the batch writer.
fn replay(bench: &Bench, key: MessageKey) -> Submission {
    let mut prepared = given::prepared(key.client);
    prepared.replay_of = Some(key.id);
    let entropy = bench.entropy();
    let deed = DeedOf::new(move |at, replay| AuditEntry {
        after: replay.to_string(),
        ..given::entry("replay", at, entropy)
    });
    Submission { deed: Some(deed), ..given::submission(prepared, entropy) }
}

/// A dozen letters of two clients, several of a time, in no order.
async fn letters(bench: &Bench, clients: [ClientId; 2]) -> Vec<(DeadLetter, Message)> {
    let mut letters = Vec::new();
    for n in 0..12usize {
        let client = clients[n % 2];
        let key = bench.send(client).await;
        let reasons = [FailureReason::RetriesExhausted, FailureReason::ProviderRejected];
        let letter = DeadLetter {
            provider: ["one", "two"][n % 5 % 2].into(),
            failure: Failure::new(reasons[n % 3 % 2]),
            replayed_as: (n % 4 == 3).then_some(key.id),
            ..given::dead_letter(key, bench.clock.now() + Duration::from_secs([2, 4, 0, 3, 1][n % 5]))
        };
        let plan = Plan { dead_letters: vec![letter.clone()], ..Plan::default() };
        write(bench.store.as_ref(), &[client], &plan).await.unwrap();
        letters.push((letter, bench.message(key).await));
    }
    letters
}

fn row(
    filter: &DeadLetterFilter,
    listed: &(DeadLetter, Message),
) -> Row<(DeadLetter, Message), (Timestamp, MessageKey)> {
    let letter = &listed.0;
    let is_in_range = filter.ended_from.is_none_or(|from| letter.at >= from)
        && filter.ended_before.is_none_or(|before| letter.at < before);
    let is_shown = is_in_range
        && filter.client.is_none_or(|client| letter.key.client == client)
        && (filter.provider.is_empty() || letter.provider == filter.provider)
        && filter.reason.is_none_or(|reason| letter.failure.reason == reason)
        && (!filter.open_only || letter.replayed_as.is_none());
    Row { place: (letter.at, letter.key), shown: is_shown.then(|| listed.clone()), is_in_range }
}
