//! Subscriptions against scripted connections, on a paused clock.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures_util::stream::{self, StreamExt};
use tonic_types::{ErrorDetails, StatusExt};

use super::*;

/// What one connection does after it has sent its frames.
enum Then {
    Fail(Status),
    Finish,
    Hang,
}

/// The starts that were asked for: token, and whether from the oldest.
type Starts = Arc<Mutex<Vec<(String, bool)>>>;

fn heartbeat(position: i64) -> Arrived<i64> {
    let interval = Some(prost_types::Duration { seconds: 15, nanos: 0 });
    Arrived::heartbeat(format!("t{position}"), v1::Heartbeat { time: None, through_seq: position, interval })
}

fn entry(seq: i64) -> Arrived<i64> {
    Arrived::entry(format!("t{seq}"), seq, seq)
}

fn unavailable() -> Then {
    Then::Fail(Status::unavailable("the server stops"))
}

/// A subscription whose connections do, one after the other, what the script says.
fn scripted(
    token: &str,
    from_oldest: bool,
    script: Vec<(Vec<Arrived<i64>>, Then)>,
) -> (Subscription<i64>, Starts) {
    let starts = Starts::default();
    let asked = starts.clone();
    let script = Mutex::new(VecDeque::from(script));
    let connect = move |token: &str, from_oldest: bool| {
        asked.lock().unwrap().push((token.to_owned(), from_oldest));
        let (frames, then) = script.lock().unwrap().pop_front().expect("the script covers every connection");
        let frames = stream::iter(frames.into_iter().map(Ok));
        match then {
            Then::Fail(status) => frames.chain(stream::iter([Err(status)])).boxed(),
            Then::Finish => frames.boxed(),
            Then::Hang => frames.chain(stream::pending()).boxed(),
        }
    };
    let patience = Duration::from_secs(30);
    (Subscription::new(connect, token.to_owned(), from_oldest, RetryPolicy::default(), patience), starts)
}

async fn entries(subscription: &mut Subscription<i64>, count: usize) -> Vec<i64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        if let Item::Entry(seq) = subscription.next().await.unwrap().unwrap().item {
            seen.push(seq);
        }
    }
    seen
}

fn start(token: &str, from_oldest: bool) -> (String, bool) {
    (token.to_owned(), from_oldest)
}

#[tokio::test(start_paused = true)]
async fn it_resumes_with_the_last_token_whatever_cut_it_off() {
    for then in [unavailable(), Then::Finish, Then::Hang, Then::Fail(Status::unknown("missing grpc-status"))]
    {
        let script =
            vec![(vec![heartbeat(0), entry(1), entry(2)], then), (vec![heartbeat(2), entry(3)], Then::Hang)];
        let (mut subscription, starts) = scripted("", false, script);
        assert_eq!(entries(&mut subscription, 3).await, [1, 2, 3]);
        assert_eq!(*starts.lock().unwrap(), [start("", false), start("t2", false)]);
        assert_eq!((subscription.resume_token(), subscription.connections()), ("t3", 2));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_yielded_before_is_not_yielded_again() {
    let script = vec![
        (vec![heartbeat(0), entry(1), entry(2)], unavailable()),
        (vec![heartbeat(1), entry(1), entry(2), entry(3)], Then::Hang),
    ];
    let (mut subscription, _) = scripted("", true, script);
    assert_eq!(entries(&mut subscription, 3).await, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_start_at_the_oldest_is_remembered_until_the_first_token() {
    let script = vec![
        (vec![], unavailable()),
        (vec![], Then::Finish),
        (vec![heartbeat(0)], unavailable()),
        (vec![heartbeat(0), entry(1)], Then::Hang),
    ];
    let (mut subscription, starts) = scripted("", true, script);
    assert_eq!(entries(&mut subscription, 1).await, [1]);
    let expected = [start("", true), start("", true), start("", true), start("t0", false)];
    assert_eq!(*starts.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_given_token_is_used_until_a_newer_one_comes() {
    let script = vec![(vec![], unavailable()), (vec![heartbeat(7), entry(8)], Then::Hang)];
    let (mut subscription, starts) = scripted("t7", false, script);
    assert_eq!(subscription.resume_token(), "t7");
    assert_eq!(entries(&mut subscription, 1).await, [8]);
    assert_eq!(*starts.lock().unwrap(), [start("t7", false), start("t7", false)]);
}

#[tokio::test(start_paused = true)]
async fn silence_of_three_heartbeats_is_a_lost_connection() {
    let script = vec![(vec![heartbeat(0)], Then::Hang), (vec![heartbeat(0), entry(1)], Then::Hang)];
    let (mut subscription, _) = scripted("", false, script);
    let begin = Instant::now();
    assert_eq!(entries(&mut subscription, 1).await, [1]);
    let waited = begin.elapsed();
    assert!(waited >= Duration::from_secs(45) && waited < Duration::from_secs(46), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_does_not_take_its_own_delay_for_silence() {
    let (mut subscription, starts) = scripted("", false, vec![(vec![heartbeat(0), entry(1)], Then::Hang)]);
    assert!(matches!(subscription.next().await.unwrap().unwrap().item, Item::Heartbeat(_)));
    tokio::time::advance(Duration::from_secs(600)).await;
    assert_eq!(entries(&mut subscription, 1).await, [1]);
    assert_eq!(starts.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_does_not_pass_is_yielded_once_and_ends_it() {
    let expired = Status::out_of_range("events after this position are no longer kept");
    let (mut subscription, _) = scripted("t1", false, vec![(vec![], Then::Fail(expired))]);
    let error = subscription.next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange);
    assert!(subscription.next().await.is_none());
    assert!(subscription.next().await.is_none());
    assert_eq!(subscription.resume_token(), "t1");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_when_to_come_back_is_obeyed() {
    let mut details = ErrorDetails::with_retry_info(Some(Duration::from_secs(9)));
    details.set_error_info("OVERLOADED", "herald", std::collections::HashMap::<String, String>::new());
    let overloaded = Status::with_error_details(Code::ResourceExhausted, "too much", details);
    let script = vec![(vec![], Then::Fail(overloaded)), (vec![heartbeat(0), entry(1)], Then::Hang)];
    let (mut subscription, _) = scripted("", false, script);
    let begin = Instant::now();
    assert_eq!(entries(&mut subscription, 1).await, [1]);
    assert!(begin.elapsed() >= Duration::from_secs(9), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_when_no_frame_comes_for_as_long_as_it_was_told() {
    let script = (0..100).map(|_| (vec![], unavailable())).collect();
    let (subscription, _) = scripted("", false, script);
    let mut subscription = subscription.give_up_after(Some(Duration::from_secs(20)));
    let begin = Instant::now();
    let error = subscription.next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    let waited = begin.elapsed();
    assert!(waited > Duration::from_secs(10) && waited <= Duration::from_secs(20), "{waited:?}");
    assert!(subscription.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_frame_starts_the_time_to_give_up_afresh() {
    let mut script: Vec<_> = (0..6).map(|_| (vec![heartbeat(0)], unavailable())).collect();
    script.push((vec![heartbeat(0), entry(1)], Then::Hang));
    let (subscription, _) = scripted("", false, script);
    let mut subscription = subscription.give_up_after(Some(Duration::from_secs(5)));
    let begin = Instant::now();
    assert_eq!(entries(&mut subscription, 1).await, [1]);
    // Longer in all than it would wait for one frame, with growing pauses.
    assert!(begin.elapsed() > Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn dropping_a_wait_loses_nothing() {
    let script =
        vec![(vec![heartbeat(0), entry(1)], unavailable()), (vec![heartbeat(1), entry(2)], Then::Hang)];
    let (mut subscription, _) = scripted("", false, script);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        tokio::select! {
            biased;
            frame = subscription.next() => if let Item::Entry(seq) = frame.unwrap().unwrap().item {
                seen.push(seq);
            },
            () = sleep(Duration::from_millis(1)) => {}
        }
    }
    assert_eq!(seen, [1, 2]);
}

#[test]
fn a_frame_of_an_unknown_kind_moves_the_token_only() {
    let mut progress = Progress::new(String::new(), true, RetryPolicy::default());
    let unknown = v1::SubscribeEventsResponse { resume_token: "t9".into(), frame: None };
    assert_eq!(progress.take(Arrived::<v1::Event>::from(unknown)), None);
    assert_eq!(progress.start(Instant::now()), ("t9", false));
}
