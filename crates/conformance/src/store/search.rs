//! A client's messages, listed and searched: newest first, filtered within a window that bounds the work.

use std::time::Duration;

use delivery::model::{Message, MessageState};
use delivery::plan::Plan;
use delivery::port::MessageFilter;
use message::id::{ClientId, MessageId};
use message::status::Status;
use message::{PhoneNumber, Timestamp};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::bench::Bench;
use crate::given::{self, AWKWARD};
use crate::list::{Row, SIZES, assert_read};
use crate::verbs::{ALL, write};

const SENDERS: [&str; 4] = ["", "Herald", "herald", AWKWARD];
const REFERENCES: [&str; 4] = ["", "order-1", "order-10", "ORDER-1"];
const NUMBERS: [&str; 3] = ["+12025550100", "+1202555010", "+4915123456789"];

pub async fn messages_are_listed_newest_first_by_pages(bench: Bench) {
    let client = bench.client().await;
    bench.send(bench.client().await).await;
    let mut messages = Vec::new();
    for _ in 0..7 {
        bench.clock.advance(Duration::from_millis(1));
        let key = bench.send(client).await;
        messages.push(bench.message(key).await);
    }
    messages.reverse();
    assert_eq!(bench.messages(client).await, messages);
    check(&bench, client, &messages, &MessageFilter::default(), &SIZES).await;
    let first = Some(messages[6].record.key.id);
    let older = bench.store.messages(client, &MessageFilter::default(), first, ALL, ALL).await.unwrap();
    assert_eq!((older.items, older.scanned_to), (Vec::new(), None), "nothing is older than the first");
}

pub async fn each_filter_of_messages_counts_alone(bench: Bench) {
    let (client, messages) = many(&bench).await;
    let all = MessageFilter::default;
    let mut filters: Vec<MessageFilter> =
        Status::ALL.iter().map(|status| MessageFilter { statuses: vec![*status], ..all() }).collect();
    filters.push(MessageFilter { statuses: Status::ALL.to_vec(), ..all() });
    filters.push(MessageFilter { statuses: vec![Status::Sent, Status::Queued, Status::Queued], ..all() });
    filters.extend(NUMBERS.map(|number| MessageFilter { to: Some(phone(number)), ..all() }));
    let senders = SENDERS.into_iter().chain(["Herald ", "%"]);
    filters.extend(senders.map(|sender| MessageFilter { sender: sender.into(), ..all() }));
    let references = REFERENCES.into_iter().chain(["order-", "order_1"]);
    filters.extend(references.map(|reference| MessageFilter { reference: reference.into(), ..all() }));
    for filter in filters {
        check(&bench, client, &messages, &filter, &[(ALL, ALL), (2, 13), (ALL, 6)]).await;
    }
}

/// Ids carry milliseconds, times microseconds.
pub async fn messages_of_one_millisecond_are_told_apart_by_their_time(bench: Bench) {
    let (client, messages) = many(&bench).await;
    let mut times: Vec<Timestamp> = messages.iter().map(|message| message.record.created_at).collect();
    times.sort();
    times.dedup();
    let micro = Duration::from_micros(1);
    let read = async |created_from, created_before| {
        let filter = MessageFilter { created_from, created_before, ..MessageFilter::default() };
        check(&bench, client, &messages, &filter, &[(ALL, ALL)]).await;
    };
    for at in &times {
        for at in [*at, *at + micro, *at - micro] {
            read(Some(at), None).await;
            read(None, Some(at)).await;
            read(Some(at), Some(at + micro)).await;
        }
    }
    read(Some(times[2]), Some(times[2])).await;
    read(Some(times[3]), Some(times[1])).await;
    read(Some(Timestamp::from_micros(0)), Some(times[times.len() - 1] + Duration::from_secs(1))).await;
    // The window begins and ends with the times.
    let (created_from, created_before) = (Some(times[5]), Some(times[20]));
    let filter = MessageFilter { created_from, created_before, ..MessageFilter::default() };
    check(&bench, client, &messages, &filter, &SIZES).await;
}

pub async fn filters_of_messages_combine(bench: Bench) {
    let (client, messages) = many(&bench).await;
    let times: Vec<Timestamp> = messages.iter().map(|message| message.record.created_at).collect();
    let mut runner = TestRunner::deterministic();
    let cases = (any_filter(times), select(vec![1, 2, 3, 10, ALL]), select(vec![1, 2, 5, 13, ALL]));
    let mut found = 0;
    for _ in 0..80 {
        let (filter, limit, scan) = cases.new_tree(&mut runner).unwrap().current();
        found += messages.iter().filter(|message| row(&filter, message).shown.is_some()).count();
        check(&bench, client, &messages, &filter, &[(limit, scan)]).await;
    }
    assert!(found > 150, "{found} messages in all were to be found");
}

/// Holds the list against what the filter is to show of `messages`, which are newest first. Of the sizes, each is a
/// limit and a scan.
async fn check(
    bench: &Bench,
    client: ClientId,
    messages: &[Message],
    filter: &MessageFilter,
    sizes: &[(i64, i64)],
) {
    let rows: Vec<_> = messages.iter().map(|message| row(filter, message)).collect();
    for (limit, scan) in sizes {
        assert_read(&rows, *limit, *scan, async |before, limit, scan| {
            bench.other.messages(client, filter, before, limit, scan).await.unwrap()
        })
        .await;
    }
}

fn row(filter: &MessageFilter, message: &Message) -> Row<Message, MessageId> {
    let Message { record, state } = message;
    let is_in_range = filter.created_from.is_none_or(|from| record.created_at >= from)
        && filter.created_before.is_none_or(|before| record.created_at < before);
    let is_shown = is_in_range
        && (filter.statuses.is_empty() || filter.statuses.contains(&state.status))
        && filter.to.as_ref().is_none_or(|to| record.to == *to)
        && (filter.sender.is_empty() || record.sender == filter.sender)
        && (filter.reference.is_empty() || record.reference == filter.reference);
    Row { place: record.key.id, shown: is_shown.then(|| message.clone()), is_in_range }
}

/// A client with three dozen messages of every kind, and those, newest first.
async fn many(bench: &Bench) -> (ClientId, Vec<Message>) {
    let (client, neighbour) = (bench.client().await, bench.client().await);
    bench.send_many(neighbour, 3).await;
    let mut messages = Vec::new();
    for n in 0..36usize {
        bench.clock.advance(Duration::from_micros([0, 1, 400, 999, 1_000, 2_500][n % 6]));
        let now = bench.clock.now();
        let mut message = given::message(client, bench.entropy(), now, 2);
        let status = Status::ALL[n * 7 % Status::ALL.len()];
        message.record.to = phone(NUMBERS[n % 3]);
        message.record.sender = SENDERS[n % 5 % 4].into();
        message.record.reference = REFERENCES[n % 7 % 4].into();
        message.state = MessageState {
            status,
            due_at: (!status.is_final() && status != Status::Sent).then_some(now),
            lease_until: (status == Status::Sending).then_some(now),
            ..message.state
        };
        messages.push(message);
    }
    let plan = Plan { messages: messages.clone(), ..Plan::default() };
    write(bench.store.as_ref(), &[client], &plan).await.unwrap();
    bench.send_many(neighbour, 3).await;
    messages.reverse();
    (client, messages)
}

fn phone(number: &str) -> PhoneNumber {
    PhoneNumber::from_trusted(number.into()).unwrap()
}

fn any_filter(times: Vec<Timestamp>) -> impl Strategy<Value = MessageFilter> {
    let statuses = prop_oneof![Just(Vec::new()), subsequence(Status::ALL.to_vec(), 0..8)];
    let to = prop::option::weighted(0.3, select(NUMBERS.map(phone).to_vec()));
    let sender = prop_oneof![2 => Just(""), 1 => select(SENDERS.to_vec())];
    let reference = prop_oneof![2 => Just(""), 1 => select(REFERENCES.to_vec())];
    let time = (select(times), 0..3u64).prop_map(|(at, micros)| at + Duration::from_micros(micros));
    let (from, before) = (prop::option::weighted(0.3, time.clone()), prop::option::weighted(0.3, time));
    (statuses, to, sender, reference, from, before).prop_map(
        |(statuses, to, sender, reference, created_from, created_before)| MessageFilter {
            statuses,
            to,
            sender: sender.into(),
            reference: reference.into(),
            created_from,
            created_before,
        },
    )
}
