//! Sends as a stream: each is acknowledged once, and nothing that was acknowledged is lost or done twice.

mod cut;
mod large;
mod upload;

use std::collections::BTreeSet;
use std::time::Duration;

use herald_sdk::tonic::Code;
use herald_sdk::v1::send_outcome::Outcome;
use herald_sdk::v1::{self, ErrorReason};

use upload::{Upload, accepted, frame, outcome, refused, rest};

use crate::support::{
    Herald, Mode, NewAccount, PART_PRICE, Setup, assert_refused, every_message, in_both_modes, nothing_held,
    sms, soon, until,
};

in_both_modes! {
    half_closing_ends_well_once_all_is_acknowledged,
    an_item_without_a_key_or_with_a_mistake_is_refused_alone,
    a_frame_without_a_message_ends_the_stream_after_what_was_read,
    the_rate_slows_the_stream_and_refuses_nothing,
    a_server_that_stops_acknowledges_what_it_has_read,
    a_key_that_ends_ends_the_stream_and_what_was_read_is_decided,
    a_caller_that_leaves_cancels_nothing,
}

async fn half_closing_ends_well_once_all_is_acknowledged(mode: Mode) {
    const COUNT: usize = 300;
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let upload = Upload::open(&account.client).await.expect("a stream");
    assert_eq!(upload.max_in_flight, 1_000);
    for number in 0..COUNT {
        upload.send(frame(&format!("half-{number}"))).await;
    }
    let (acks, end) = upload.half_close().await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(acks.len(), COUNT);
    let mut indexes: Vec<i64> = acks.iter().map(|ack| ack.index).collect();
    indexes.sort_unstable();
    assert!(indexes.into_iter().eq(0..300));
    for ack in &acks {
        assert_eq!(ack.tag, format!("half-{}", ack.index));
        assert!(!accepted(ack).replayed);
    }
    let ids: BTreeSet<&str> = acks.iter().map(|ack| accepted(ack).message_id.as_str()).collect();
    assert_eq!(ids.len(), COUNT);
    // An empty stream is one, too.
    let (acks, end) = Upload::open(&account.client).await.expect("a stream").half_close().await;
    assert!(acks.is_empty() && end.is_ok());
    herald.finish().await;
}

async fn an_item_without_a_key_or_with_a_mistake_is_refused_alone(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let upload = Upload::open(&account.client).await.expect("a stream");
    let with = |tag: &str, message| v1::StreamMessagesRequest { tag: tag.into(), message: Some(message) };
    let keyed = |key: &str, to: &str, text: &str| v1::SendMessageRequest {
        idempotency_key: key.into(),
        ..sms(to, text)
    };
    for item in [
        frame("fine"),
        with("keyless", sms("+12025550100", "Hello")),
        with(&"t".repeat(129), keyed("long-tag", "+12025550100", "Hello")),
        with(&"t".repeat(128), keyed("tag", "+12025550100", "Hello")),
        with("", keyed("nobody", "nobody", "")),
        with("", keyed("nowhere", "+12025550150", "Hello")),
        // Again, and with another text.
        frame("fine"),
        with("other", keyed("fine", "+12025550100", "Bye")),
    ] {
        upload.send(item).await;
    }
    let (mut acks, end) = upload.half_close().await;
    assert!(end.is_ok(), "{end:?}");
    acks.sort_by_key(|ack| ack.index);
    assert_eq!(acks.len(), 8);
    let reasons: Vec<Option<ErrorReason>> = acks
        .iter()
        .map(|ack| match outcome(ack) {
            Outcome::Accepted(_) => None,
            Outcome::Error(_) => refused(ack).reason(),
        })
        .collect();
    use ErrorReason::{IdempotencyKeyRequired, IdempotencyKeyReused, InvalidField, NoRoute};
    let expected = [
        None,
        Some(IdempotencyKeyRequired),
        Some(InvalidField),
        None,
        Some(InvalidField),
        Some(NoRoute),
        None,
        Some(IdempotencyKeyReused),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(acks[3].tag, "t".repeat(128));
    assert_eq!(refused(&acks[2]).field_violations()[0].field, "tag");
    assert!(refused(&acks[4]).request_id().is_some());
    assert!(accepted(&acks[6]).replayed);
    assert_eq!(accepted(&acks[6]).message_id, accepted(&acks[0]).message_id);
    assert_eq!(every_message(&account.client).await.len(), 2);
    herald.finish().await;
}

async fn a_frame_without_a_message_ends_the_stream_after_what_was_read(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let mut upload = Upload::open(&account.client).await.expect("a stream");
    for number in 0..20 {
        upload.send(frame(&format!("before-{number}"))).await;
    }
    upload.send(v1::StreamMessagesRequest { tag: "empty".into(), message: None }).await;
    let _ = upload.up.send(frame("after")).await;
    let (acks, end) = rest(&mut upload.down).await;
    let status = end.expect_err("a frame without a message is none");
    assert_refused(&status, Code::InvalidArgument, ErrorReason::InvalidField);
    assert_eq!(acks.len(), 20);
    assert!(acks.iter().all(|ack| ack.tag.starts_with("before-") && !accepted(ack).replayed));
    assert_eq!(every_message(&account.client).await.len(), 20);
    herald.finish().await;
}

async fn the_rate_slows_the_stream_and_refuses_nothing(mode: Mode) {
    const COUNT: usize = 150;
    const PER_SECOND: usize = 50;
    const BURST: usize = 25;
    let mut herald = Herald::start(mode, Setup::default()).await;
    let slow = v1::Client {
        parts_per_second: i32::try_from(PER_SECOND).expect("small"),
        burst_parts: i32::try_from(BURST).expect("small"),
        ..NewAccount::default().client
    };
    let account = herald.account(NewAccount { client: slow, ..NewAccount::default() }).await;
    let upload = Upload::open(&account.client).await.expect("a stream");
    for number in 0..COUNT {
        upload.send(frame(&format!("rate-{number}"))).await;
    }
    let (acks, end) = upload.half_close().await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(acks.iter().filter(|ack| !accepted(ack).replayed).count(), COUNT);
    // By the database's clock: from the first to the last, all but the burst waited for their turn.
    let messages = every_message(&account.client).await;
    let times: Vec<Duration> = messages.iter().map(|message| since_epoch(message.create_time)).collect();
    let took = *times.iter().max().expect("some") - *times.iter().min().expect("some");
    let least = Duration::from_secs_f64((COUNT - BURST) as f64 / PER_SECOND as f64);
    assert!(took + Duration::from_millis(200) >= least, "{took:?} for {least:?} worth of messages");
    herald.finish().await;
}

async fn a_server_that_stops_acknowledges_what_it_has_read(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    // A burst of ten: the eleventh waits for its turn when the server stops.
    let slow = v1::Client { parts_per_second: 1, burst_parts: 10, ..NewAccount::default().client };
    let account = herald.account(NewAccount { client: slow, ..NewAccount::default() }).await;
    let free = herald.account(NewAccount::default()).await;
    let mut waits = Upload::open(&account.client).await.expect("a stream");
    let mut idle = Upload::open(&free.client).await.expect("a stream");
    for number in 0..60 {
        idle.send(frame(&format!("idle-{number}"))).await;
    }
    let mut acks = Vec::new();
    for _ in 0..60 {
        acks.push(idle.next_ack().await.expect("an acknowledgement").expect("no error"));
    }
    for number in 0..12 {
        waits.send(frame(&format!("waits-{number:02}"))).await;
    }
    let mut first = Vec::new();
    for _ in 0..10 {
        first.push(waits.next_ack().await.expect("an acknowledgement").expect("no error"));
    }
    assert!(first.iter().chain(&acks).all(|ack| !accepted(ack).replayed));
    herald.stop().await;
    let (more, end) = rest(&mut idle.down).await;
    assert_eq!(more, []);
    assert_refused(&end.expect_err("the server stops"), Code::Unavailable, ErrorReason::ShuttingDown);
    let (more, end) = rest(&mut waits.down).await;
    assert_refused(&end.expect_err("the server stops"), Code::Unavailable, ErrorReason::ShuttingDown);
    // A turn may have come in time; whatever waited for its own is told that it was not taken.
    let (in_time, late): (Vec<_>, Vec<_>) =
        more.iter().partition(|ack| matches!(outcome(ack), Outcome::Accepted(_)));
    assert!(!late.is_empty(), "what waited is acknowledged");
    for ack in late {
        let error = refused(ack);
        assert_eq!((error.code(), error.reason()), (Code::Unavailable, Some(ErrorReason::ShuttingDown)));
    }
    let taken = first.len() + in_time.len();

    herald.start_server().await;
    let client = herald.client(&account.key);
    let again = Upload::open(&client).await.expect("a stream");
    for number in 0..12 {
        again.send(frame(&format!("waits-{number:02}"))).await;
    }
    let (acks, end) = again.half_close().await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(acks.iter().filter(|ack| accepted(ack).replayed).count(), taken);
    assert_eq!(every_message(&client).await.len(), 12);
    herald.finish().await;
}

async fn a_key_that_ends_ends_the_stream_and_what_was_read_is_decided(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let key = crate::support::new_key(&herald, &account.id, &[v1::Scope::Send]).await;
    let mut upload = Upload::open(&herald.client(&key)).await.expect("a stream");
    for number in 0..30 {
        upload.send(frame(&format!("key-{number}"))).await;
    }
    for _ in 0..30 {
        accepted(&upload.next_ack().await.expect("an acknowledgement").expect("no error"));
    }
    let key_id = key.split('_').nth(1).expect("a key has its id").to_owned();
    let revoke = v1::RevokeApiKeyRequest { key_id };
    herald.operator().raw().admin().revoke_api_key(revoke).await.expect("the key is revoked");
    let (acks, end) = rest(&mut upload.down).await;
    assert_eq!(acks, []);
    assert_refused(&end.expect_err("the key ended"), Code::Unauthenticated, ErrorReason::ApiKeyInvalid);
    assert_eq!(every_message(&account.client).await.len(), 30);
    herald.finish().await;
}

async fn a_caller_that_leaves_cancels_nothing(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let upload = Upload::open(&account.client).await.expect("a stream");
    for number in 0..50 {
        upload.send(frame(&format!("left-{number}"))).await;
    }
    drop(upload);
    // What had arrived is decided, whole or not at all; the rest is sent again.
    let again = Upload::open(&account.client).await.expect("a stream");
    for number in 0..50 {
        again.send(frame(&format!("left-{number}"))).await;
    }
    let (acks, end) = again.half_close().await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(acks.iter().map(|ack| &accepted(ack).message_id).collect::<BTreeSet<_>>().len(), 50);
    until("the ends of all", async || {
        let balance = account.client.balance().await.expect("the balance");
        (balance.held_micros == 0).then_some(())
    })
    .await;
    let balance = nothing_held(&account.client).await;
    let spent = NewAccount::default().credit_micros - balance.available_micros;
    assert_eq!((spent, every_message(&account.client).await.len()), (50 * PART_PRICE, 50));
    soon("the end of the story", herald.finish()).await;
}

fn since_epoch(time: Option<prost_types::Timestamp>) -> Duration {
    let time = time.expect("a message has a time");
    Duration::new(u64::try_from(time.seconds).expect("after 1970"), u32::try_from(time.nanos).expect("nanos"))
}
