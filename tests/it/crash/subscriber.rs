//! The subscribers: one by hand, which shows what the server sends, and one by the SDK, which resumes by itself.

use std::sync::Arc;
use std::time::Duration;

use herald_sdk::tonic::{Code, Status as CallStatus};
use herald_sdk::v1::subscribe_events_response::Frame;
use herald_sdk::{Client, Item, v1};
use message::Timestamp;
use message::event::TransactionType;

use super::evidence::{Money, Seen};
use super::progress::Progress;
use crate::support::read;

/// Before the next try to connect to a server that is down.
const PAUSE: Duration = Duration::from_millis(30);

/// Follows the log from its beginning and resumes with the last token after each break. Ends by being aborted.
pub(crate) async fn follow_by_hand(client: Client, progress: Arc<Progress>) {
    let mut token = String::new();
    loop {
        let error = follow_once(&client, &mut token, &progress).await;
        // A broken connection has many codes and no details; a server that has just started may be overloaded.
        let may_pass = matches!(error.code(), Code::Unavailable | Code::ResourceExhausted);
        assert!(may_pass || error.details().is_empty(), "the subscription was refused: {error}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// One connection, until it breaks.
async fn follow_once(client: &Client, token: &mut String, progress: &Progress) -> CallStatus {
    let request = v1::SubscribeEventsRequest {
        resume_token: token.clone(),
        from_oldest: token.is_empty(),
        types: Vec::new(),
    };
    let mut frames = match client.raw().events().subscribe_events(request).await {
        Ok(answer) => answer.into_inner(),
        Err(error) => return error,
    };
    let mut is_first = true;
    loop {
        let frame = match frames.message().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return CallStatus::unavailable("the stream ended"),
            Err(error) => return error,
        };
        match frame.frame {
            Some(Frame::Event(event)) => {
                assert!(!is_first, "the first frame is no heartbeat");
                progress.note_event(seen(&event));
            }
            Some(Frame::Heartbeat(_)) => {}
            None => panic!("a frame carries nothing"),
        }
        is_first = false;
        // Only now: what was not noted must come again.
        *token = frame.resume_token;
    }
}

/// Follows the log as the SDK does, until `seq` has been seen; answers every `seq` in the order of arrival.
pub(crate) async fn follow_by_sdk(
    client: Client,
    until: tokio::sync::watch::Receiver<Option<i64>>,
) -> (Vec<i64>, u64) {
    let request = v1::SubscribeEventsRequest { from_oldest: true, ..Default::default() };
    let mut subscription = client.subscribe_events(request);
    let mut seqs = Vec::new();
    loop {
        if until.borrow().is_some_and(|last| seqs.last().is_some_and(|seen| *seen >= last)) {
            return (seqs, subscription.connections());
        }
        let frame = subscription.next().await.expect("a subscription goes on");
        if let Item::Entry(event) = frame.expect("an outage is no error").item {
            seqs.push(event.seq);
        }
    }
}

fn seen(event: &v1::Event) -> Seen {
    let report = event.report.as_ref();
    Seen {
        seq: event.seq,
        kind: event.r#type.clone(),
        at: micros(event.time.as_ref()),
        message: (!event.message_id.is_empty())
            .then(|| event.message_id.parse().expect("the server gives ids")),
        status: report.map(|report| read::status(report.status())),
        attempt: report.map_or(0, |report| report.attempt),
        money: event.transaction.as_ref().map(money),
    }
}

fn money(transaction: &v1::Transaction) -> Money {
    use v1::transaction::Type;
    Money {
        kind: match transaction.r#type() {
            Type::TopUp => TransactionType::TopUp,
            Type::Hold => TransactionType::Hold,
            Type::Capture => TransactionType::Capture,
            Type::Release => TransactionType::Release,
            Type::Adjustment => TransactionType::Adjustment,
            Type::Unspecified => panic!("a transaction of no type"),
        },
        available_delta: transaction.available_delta_micros,
        held_delta: transaction.held_delta_micros,
        available_after: transaction.available_after_micros,
        held_after: transaction.held_after_micros,
    }
}

fn micros(time: Option<&prost_types::Timestamp>) -> i64 {
    let time = time.expect("every event has a time");
    Timestamp::from_micros(time.seconds * 1_000_000 + i64::from(time.nanos / 1_000)).as_micros()
}
