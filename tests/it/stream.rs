//! The event log as a stream: every later event once and in order, from any token, whatever ends in between.

use std::time::{Duration, Instant};

use delivery::reconcile;
use delivery::timing::Timing;
use herald_sdk::tonic::{Code, Streaming};
use herald_sdk::v1::subscribe_delivery_reports_response::Frame as ReportFrame;
use herald_sdk::v1::subscribe_events_response::Frame as EventFrame;
use herald_sdk::v1::{self, ErrorReason};
use herald_sdk::{Client, Item};

use crate::support::{
    Account, DRAIN, Herald, Mode, NewAccount, Setup, assert_refused, free_port, in_both_modes, metric,
    nothing_held, refusal, sms, soon,
};

in_both_modes! {
    resumed_anywhere_a_stream_gives_every_later_event_exactly_once,
    a_token_is_good_on_every_call_that_takes_one,
    without_a_token_a_stream_begins_now_and_from_oldest_it_begins_at_one,
    filters_hide_what_was_not_asked_for_and_heartbeats_cover_it,
    a_quiet_stream_leaves_the_log_alone,
    a_token_that_is_foreign_malformed_or_ambiguous_is_refused,
    a_token_that_has_aged_out_is_told_so_with_the_oldest_that_is_good,
    a_server_that_stops_ends_its_streams_at_once_and_the_sdk_resumes_on_the_next,
}

async fn resumed_anywhere_a_stream_gives_every_later_event_exactly_once(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let last = a_log_of(&account, 12).await;
    for step in [1, 2, 3, 7] {
        let mut token = String::new();
        let mut seqs = Vec::new();
        while seqs.last() != Some(&last) {
            let mut stream = events(&account.client, from(&token)).await;
            heartbeat(&mut stream).await;
            for _ in 0..step {
                if seqs.last() == Some(&last) {
                    break;
                }
                let (event, after) = next_event(&mut stream).await;
                seqs.push(event.seq);
                token = after;
            }
        }
        assert!(seqs.iter().copied().eq(1..=last), "in steps of {step}: {seqs:?}");
    }
    herald.finish().await;
}

async fn a_token_is_good_on_every_call_that_takes_one(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let client = &account.client;
    let last = a_log_of(&account, 3).await;
    let page =
        client.list_delivery_reports(v1::ListDeliveryReportsRequest { page_size: 4, ..Default::default() });
    let page = page.await.expect("the reports");
    assert_eq!(page.reports.len(), 4);
    let seq = page.reports.last().expect("four").seq;
    let mut stream = events(client, from(&page.resume_token)).await;
    heartbeat(&mut stream).await;
    assert_eq!(next_event(&mut stream).await.0.seq, seq + 1);
    let request = v1::ListEventsRequest {
        resume_token: page.resume_token.clone(),
        page_size: 500,
        ..Default::default()
    };
    let events = client.list_events(request).await.expect("the events");
    assert!(events.caught_up);
    assert!(events.events.iter().map(|event| event.seq).eq(seq + 1..=last));
    // At the end of the log there is nothing, and the token stays good.
    let request = v1::ListEventsRequest { resume_token: events.resume_token, ..Default::default() };
    let end = client.list_events(request).await.expect("the events");
    assert!(end.events.is_empty() && end.caught_up && !end.resume_token.is_empty());
    let request =
        v1::SubscribeDeliveryReportsRequest { resume_token: end.resume_token, ..Default::default() };
    let mut reports =
        client.raw().messaging().subscribe_delivery_reports(request).await.expect("a stream").into_inner();
    let frame = soon("the first frame", reports.message()).await.expect("no error").expect("a frame");
    let Some(ReportFrame::Heartbeat(heartbeat)) = frame.frame else {
        panic!("the first frame is no heartbeat")
    };
    assert_eq!(heartbeat.through_seq, last);
    herald.finish().await;
}

async fn without_a_token_a_stream_begins_now_and_from_oldest_it_begins_at_one(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let last = a_log_of(&account, 2).await;
    let mut now = events(&account.client, v1::SubscribeEventsRequest::default()).await;
    heartbeat(&mut now).await;
    account.client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    assert_eq!(next_event(&mut now).await.0.seq, last + 1);
    let mut oldest = events(&account.client, from("")).await;
    heartbeat(&mut oldest).await;
    assert_eq!(next_event(&mut oldest).await.0.seq, 1);
    herald.finish().await;
}

async fn filters_hide_what_was_not_asked_for_and_heartbeats_cover_it(mode: Mode) {
    let setup = Setup::default().set("HERALD_HEARTBEAT_MS", 150);
    let mut herald = Herald::start(mode, setup).await;
    let account = herald.account(NewAccount::default()).await;
    let client = &account.client;
    let send = async |reference: &str, to: &str| {
        let request = v1::SendMessageRequest { reference: reference.into(), ..sms(to, "Hello") };
        client.send(request).await.expect("the send is accepted").message.id
    };
    let first = send("a", "+12025550100").await;
    let second = send("b", "+12025550111").await;
    let last = nothing_held(client).await.seq;

    let types = async |types: &[&str]| {
        let types: Vec<String> = types.iter().map(|each| (*each).to_owned()).collect();
        collect_events(client, v1::SubscribeEventsRequest { types, ..from("") }, last).await
    };
    assert_eq!(types(&["credit.*"]).await, ["credit.topped_up"]);
    assert_eq!(types(&["message.delivered", "message.failed_perm"]).await.len(), 2);
    assert_eq!(types(&["message.*"]).await.len() as i64, last - 1);
    assert_eq!(types(&[]).await.len() as i64, last);

    let reports = async |request: v1::SubscribeDeliveryReportsRequest| {
        let request = v1::SubscribeDeliveryReportsRequest { from_oldest: true, ..request };
        collect_reports(client, request, last).await
    };
    let finals =
        reports(v1::SubscribeDeliveryReportsRequest { final_only: true, ..Default::default() }).await;
    assert_eq!(finals.iter().filter(|report| report.is_final).count(), 2);
    assert_eq!(finals.len(), 2);
    let failed = vec![i32::from(v1::message::Status::FailedPerm)];
    let failed =
        reports(v1::SubscribeDeliveryReportsRequest { statuses: failed, ..Default::default() }).await;
    assert_eq!(ids(&failed), [second.as_str()]);
    let of_a =
        reports(v1::SubscribeDeliveryReportsRequest { reference: "a".into(), ..Default::default() }).await;
    assert_eq!(ids(&of_a), vec![first.clone(); 4]);
    let ids_wanted = vec![second.clone()];
    let of_second =
        reports(v1::SubscribeDeliveryReportsRequest { message_ids: ids_wanted, ..Default::default() }).await;
    assert_eq!(ids(&of_second), vec![second.clone(); 4]);
    herald.finish().await;
}

async fn a_quiet_stream_leaves_the_log_alone(mode: Mode) {
    let metrics = format!("127.0.0.1:{}", free_port());
    let setup = Setup::default().set("HERALD_METRICS_LISTEN", &metrics).set("HERALD_HEARTBEAT_MS", 20);
    let mut herald = Herald::start(mode, setup).await;
    let account = herald.account(NewAccount::default()).await;
    let mut stream = events(&account.client, v1::SubscribeEventsRequest::default()).await;
    for _ in 0..2 {
        heartbeat(&mut stream).await;
    }
    let reads = async || metric(&metrics, "herald_log_reads_total").await;
    let before = reads().await;
    for _ in 0..20 {
        heartbeat(&mut stream).await;
    }
    assert_eq!(reads().await, before, "a heartbeat reads the log");
    account.client.send(sms("+12025550100", "Hello")).await.expect("it is accepted");
    let first = soon("an event", async {
        loop {
            let frame = stream.message().await.expect("no error").expect("a frame");
            if let Some(EventFrame::Event(event)) = frame.frame {
                return event;
            }
        }
    });
    assert_eq!(first.await.r#type, "message.queued");
    nothing_held(&account.client).await;
    herald.finish().await;
}

async fn a_token_that_is_foreign_malformed_or_ambiguous_is_refused(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let other = herald.account(NewAccount::default()).await;
    let foreign =
        other.client.list_events(v1::ListEventsRequest::default()).await.expect("the events").resume_token;
    let own =
        account.client.list_events(v1::ListEventsRequest::default()).await.expect("the events").resume_token;
    let cut = own[..own.len() - 1].to_owned();
    for token in [foreign, cut, "x".into(), "!".into(), "é".into(), "A".repeat(100), "A".repeat(10_000)] {
        let client = &account.client;
        let event_stream = v1::SubscribeEventsRequest { resume_token: token.clone(), ..Default::default() };
        let answer = client.raw().events().subscribe_events(event_stream).await;
        assert_refused(&answer.expect_err("refused"), Code::InvalidArgument, ErrorReason::ResumeTokenInvalid);
        let report_stream =
            v1::SubscribeDeliveryReportsRequest { resume_token: token.clone(), ..Default::default() };
        let answer = client.raw().messaging().subscribe_delivery_reports(report_stream).await;
        assert_refused(&answer.expect_err("refused"), Code::InvalidArgument, ErrorReason::ResumeTokenInvalid);
        let events = v1::ListEventsRequest { resume_token: token.clone(), ..Default::default() };
        refusal(client.list_events(events).await, Code::InvalidArgument, ErrorReason::ResumeTokenInvalid);
        let reports = v1::ListDeliveryReportsRequest { resume_token: token, ..Default::default() };
        refusal(
            client.list_delivery_reports(reports).await,
            Code::InvalidArgument,
            ErrorReason::ResumeTokenInvalid,
        );
    }
    let both = v1::SubscribeEventsRequest { resume_token: own, from_oldest: true, ..Default::default() };
    let answer = account.client.raw().events().subscribe_events(both).await;
    assert_refused(&answer.expect_err("refused"), Code::InvalidArgument, ErrorReason::InvalidField);
    herald.finish().await;
}

async fn a_token_that_has_aged_out_is_told_so_with_the_oldest_that_is_good(mode: Mode) {
    const TRIMMED: i64 = 5;
    let setup = Setup::default().set("HERALD_LISTEN", format!("127.0.0.1:{}", free_port()));
    let mut herald = Herald::start(mode, setup).await;
    let account = herald.account(NewAccount::default()).await;
    let client = &account.client;
    let last = a_log_of(&account, 3).await;
    let request = v1::ListEventsRequest { page_size: 2, ..Default::default() };
    let aged = client.list_events(request).await.expect("the events").resume_token;
    herald.stop().await;
    trim(&herald, &account, TRIMMED).await;
    herald.start_server().await;

    let answer = client
        .raw()
        .events()
        .subscribe_events(v1::SubscribeEventsRequest { from_oldest: false, ..from(&aged) })
        .await;
    let refused = answer.expect_err("refused");
    assert_refused(&refused, Code::OutOfRange, ErrorReason::ResumeTokenExpired);
    let request = v1::ListEventsRequest { resume_token: aged, ..Default::default() };
    let error = refusal(client.list_events(request).await, Code::OutOfRange, ErrorReason::ResumeTokenExpired);
    let oldest = error.info("oldest_resume_token").expect("the oldest token is told").to_owned();
    for request in [from(&oldest), from("")] {
        let mut stream = events(client, request).await;
        heartbeat(&mut stream).await;
        for seq in TRIMMED + 1..=last {
            assert_eq!(next_event(&mut stream).await.0.seq, seq);
        }
    }
    herald.finish().await;
}

async fn a_server_that_stops_ends_its_streams_at_once_and_the_sdk_resumes_on_the_next(mode: Mode) {
    const STREAMS: usize = 20;
    let setup = Setup::default().set("HERALD_LISTEN", format!("127.0.0.1:{}", free_port()));
    let mut herald = Herald::start(mode, setup).await;
    let account = herald.account(NewAccount::default()).await;
    let client = &account.client;
    let last = a_log_of(&account, 2).await;
    let mut sdk =
        client.subscribe_events(v1::SubscribeEventsRequest { from_oldest: true, ..Default::default() });
    for expected in 1..=last {
        assert_eq!(next_of(&mut sdk).await, expected);
    }
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = events(client, v1::SubscribeEventsRequest::default()).await;
        heartbeat(&mut stream).await;
        streams.push(stream);
    }
    let started = Instant::now();
    herald.stop().await;
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "open streams held the server for {:?}",
        started.elapsed()
    );
    assert!(started.elapsed() < DRAIN);
    for stream in &mut streams {
        let refused = loop {
            match soon("the end of a stream", stream.message()).await {
                Ok(Some(frame)) => assert!(matches!(frame.frame, Some(EventFrame::Heartbeat(_)))),
                Ok(None) => panic!("a stream ended without a status"),
                Err(refused) => break refused,
            }
        };
        assert_refused(&refused, Code::Unavailable, ErrorReason::ShuttingDown);
    }
    herald.start_server().await;
    client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    assert_eq!(next_of(&mut sdk).await, last + 1);
    assert!(sdk.connections() > 1);
    herald.finish().await;
}

fn from(token: &str) -> v1::SubscribeEventsRequest {
    v1::SubscribeEventsRequest {
        resume_token: token.into(),
        from_oldest: token.is_empty(),
        types: Vec::new(),
    }
}

/// Sends `count` messages and waits for their ends; answers the last `seq`.
async fn a_log_of(account: &Account, count: usize) -> i64 {
    for number in 0..count {
        account
            .client
            .send(sms("+12025550100", &format!("Hello {number}")))
            .await
            .expect("the send is accepted");
    }
    nothing_held(&account.client).await.seq
}

async fn events(
    client: &Client,
    request: v1::SubscribeEventsRequest,
) -> Streaming<v1::SubscribeEventsResponse> {
    client.raw().events().subscribe_events(request).await.expect("the stream opens").into_inner()
}

/// The first frame of every stream.
async fn heartbeat(stream: &mut Streaming<v1::SubscribeEventsResponse>) -> v1::Heartbeat {
    let frame = soon("the first frame", stream.message()).await.expect("no error").expect("a frame");
    assert!(!frame.resume_token.is_empty());
    match frame.frame {
        Some(EventFrame::Heartbeat(heartbeat)) => heartbeat,
        other => panic!("the first frame is no heartbeat: {other:?}"),
    }
}

/// The next event with the token after it.
async fn next_event(stream: &mut Streaming<v1::SubscribeEventsResponse>) -> (v1::Event, String) {
    loop {
        let frame = soon("the next event", stream.message()).await.expect("no error").expect("a frame");
        assert!(!frame.resume_token.is_empty());
        if let Some(EventFrame::Event(event)) = frame.frame {
            return (event, frame.resume_token);
        }
    }
}

async fn next_of(subscription: &mut herald_sdk::EventSubscription) -> i64 {
    loop {
        let frame = soon("the next event", subscription.next()).await.expect("it goes on").expect("no error");
        if let Item::Entry(event) = frame.item {
            return event.seq;
        }
    }
}

/// The types of what a filter shows up to `last`, which a heartbeat must reach.
async fn collect_events(client: &Client, request: v1::SubscribeEventsRequest, last: i64) -> Vec<String> {
    let mut stream = events(client, request).await;
    heartbeat(&mut stream).await;
    let mut types = Vec::new();
    loop {
        let frame = soon("the next frame", stream.message()).await.expect("no error").expect("a frame");
        match frame.frame.expect("a frame carries something") {
            EventFrame::Event(event) => types.push(event.r#type),
            EventFrame::Heartbeat(heartbeat) if heartbeat.through_seq >= last => return types,
            EventFrame::Heartbeat(_) => {}
        }
    }
}

async fn collect_reports(
    client: &Client,
    request: v1::SubscribeDeliveryReportsRequest,
    last: i64,
) -> Vec<v1::DeliveryReport> {
    let opened = client.raw().messaging().subscribe_delivery_reports(request).await;
    let mut stream = opened.expect("the stream opens").into_inner();
    let mut reports = Vec::new();
    loop {
        let frame = soon("the next frame", stream.message()).await.expect("no error").expect("a frame");
        match frame.frame.expect("a frame carries something") {
            ReportFrame::Report(report) => reports.push(report),
            ReportFrame::Heartbeat(heartbeat) if heartbeat.through_seq >= last => return reports,
            ReportFrame::Heartbeat(_) => {}
        }
    }
}

fn ids(reports: &[v1::DeliveryReport]) -> Vec<String> {
    reports.iter().map(|report| report.message_id.clone()).collect()
}

/// Retention removes the oldest events, after a checkpoint, while no server runs.
async fn trim(herald: &Herald, account: &Account, through: i64) {
    let id = account.id.parse().expect("the server gives ids");
    let store = herald.database().open().await;
    let audited =
        reconcile::audit(store.as_ref(), &Timing::default(), id).await.expect("the store can be read");
    let (audit, checkpoint) = audited.expect("the client exists");
    assert_eq!(audit.violations, Vec::<String>::new());
    store.write_checkpoint(id, checkpoint).await.expect("the checkpoint is written");
    let oldest = store.trim_events(id, through).await.expect("events are removed");
    assert_eq!(oldest, through + 1);
}
