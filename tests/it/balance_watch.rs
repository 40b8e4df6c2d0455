//! A balance as it changes.

use herald_sdk::Client;
use herald_sdk::tonic::{Code, Status, Streaming};
use herald_sdk::v1::watch_balance_response::Frame;
use herald_sdk::v1::{self, ErrorReason};

use crate::support::{
    Herald, Mode, NewAccount, PART_PRICE, Setup, assert_refused, in_both_modes, new_key, nothing_held,
    refusal, sms, soon, until,
};

in_both_modes! {
    the_balance_is_told_at_once_and_after_every_change,
    a_reader_that_is_slow_gets_the_newest_balance_and_not_each,
    a_balance_is_low_below_the_watchers_mark_or_the_clients,
    a_quiet_balance_is_kept_alive_by_heartbeats,
    a_watch_ends_with_the_server_and_with_its_key,
}

async fn the_balance_is_told_at_once_and_after_every_change(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let client = &account.client;
    let mut watch = watch(client, 0).await.expect("a stream");
    let first = next(&mut watch).await.expect("no error");
    assert_eq!(first, client.balance().await.expect("the balance"));
    client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    let mut last = first;
    // Held, then paid.
    while (last.available_micros, last.held_micros) != (1_000_000_000 - PART_PRICE, 0) {
        let now = next(&mut watch).await.expect("no error");
        assert!(now.seq > last.seq);
        let (one, two) = ((last.available_micros, last.held_micros), (now.available_micros, now.held_micros));
        assert_ne!(one, two, "nothing has changed");
        last = now;
    }
    herald.finish().await;
}

async fn a_reader_that_is_slow_gets_the_newest_balance_and_not_each(mode: Mode) {
    const COUNT: usize = 2_000;
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let client = &account.client;
    let mut watch = watch(client, 0).await.expect("a stream");
    next(&mut watch).await.expect("no error");
    for batch in 0..COUNT / 500 {
        let messages = vec![sms("+12025550100", "Hello"); 500];
        let request = v1::SendMessagesRequest { messages, idempotency_key: batch.to_string() };
        client.raw().messaging().send_messages(request).await.expect("a batch");
    }
    let end = nothing_held(client).await;
    let (mut frames, mut last) = (0, v1::Balance::default());
    while (last.available_micros, last.held_micros) != (end.available_micros, end.held_micros) {
        last = next(&mut watch).await.expect("no error");
        frames += 1;
    }
    // Each message has moved the balance twice.
    assert!(frames < COUNT, "{frames} frames for {} changes", 2 * COUNT);
    herald.finish().await;
}

async fn a_balance_is_low_below_the_watchers_mark_or_the_clients(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let client = v1::Client { low_balance_micros: 2 * PART_PRICE, ..NewAccount::default().client };
    let account = herald.account(NewAccount { client, credit_micros: 3 * PART_PRICE }).await;
    let client = &account.client;
    assert!(!client.balance().await.expect("the balance").is_low);
    let mut by_client = watch(client, 0).await.expect("a stream");
    let mut by_mark = watch(client, 3 * PART_PRICE).await.expect("a stream");
    assert!(!next(&mut by_client).await.expect("no error").is_low);
    assert!(!next(&mut by_mark).await.expect("no error").is_low);
    let send = async || client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    send().await;
    let now = next(&mut by_mark).await.expect("no error");
    assert!(now.is_low && now.available_micros == 2 * PART_PRICE);
    assert!(!next(&mut by_client).await.expect("no error").is_low);
    nothing_held(client).await;
    send().await;
    until("a low balance", async || next(&mut by_client).await.expect("no error").is_low.then_some(())).await;
    assert!(client.balance().await.expect("the balance").is_low);
    refusal(watch(client, -1).await.map(drop), Code::InvalidArgument, ErrorReason::InvalidField);
    herald.finish().await;
}

async fn a_quiet_balance_is_kept_alive_by_heartbeats(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default().set("HERALD_HEARTBEAT_MS", 100)).await;
    let account = herald.account(NewAccount::default()).await;
    let mut watch = watch(&account.client, 0).await.expect("a stream");
    let seq = next(&mut watch).await.expect("no error").seq;
    for _ in 0..3 {
        let frame = soon("a frame", watch.message()).await.expect("no error").expect("a frame").frame;
        let Some(Frame::Heartbeat(heartbeat)) = frame else { panic!("no heartbeat but {frame:?}") };
        assert_eq!(heartbeat.through_seq, seq);
        assert!(
            heartbeat.time.is_some()
                && heartbeat.interval.is_some_and(|interval| interval.nanos == 100_000_000)
        );
    }
    herald.finish().await;
}

async fn a_watch_ends_with_the_server_and_with_its_key(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let key = new_key(&herald, &account.id, &[v1::Scope::Billing]).await;
    let mut by_key = watch(&herald.client(&key), 0).await.expect("a stream");
    next(&mut by_key).await.expect("no error");
    let key_id = key.split('_').nth(1).expect("a key has its id").to_owned();
    let revoke = v1::RevokeApiKeyRequest { key_id };
    herald.operator().raw().admin().revoke_api_key(revoke).await.expect("the key is revoked");
    let end = next(&mut by_key).await.expect_err("the key has ended");
    assert_refused(&end, Code::Unauthenticated, ErrorReason::ApiKeyInvalid);
    let mut to_the_end = watch(&account.client, 0).await.expect("a stream");
    next(&mut to_the_end).await.expect("no error");
    herald.finish().await;
    let end = next(&mut to_the_end).await.expect_err("the server has stopped");
    assert_refused(&end, Code::Unavailable, ErrorReason::ShuttingDown);
}

async fn watch(
    client: &Client,
    low_balance_micros: i64,
) -> Result<Streaming<v1::WatchBalanceResponse>, Status> {
    let request = v1::WatchBalanceRequest { low_balance_micros };
    Ok(client.raw().billing().watch_balance(request).await?.into_inner())
}

/// The next balance, whatever signs of life come before it.
async fn next(watch: &mut Streaming<v1::WatchBalanceResponse>) -> Result<v1::Balance, Status> {
    loop {
        let frame = soon("a frame", watch.message()).await?.expect("a watch does not end by itself");
        match frame.frame.expect("a frame has something") {
            Frame::Balance(balance) => return Ok(balance),
            Frame::Heartbeat(_) => {}
        }
    }
}
