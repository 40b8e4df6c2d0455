//! Keys that are wrong, and keys that have ended: they open nothing, and hold back nobody else.

mod flood;
mod keys;

use std::time::{Duration, Instant};

use delivery::model::AuditEntry;
use herald_sdk::tonic::{Code, Status, Streaming};
use herald_sdk::v1::{self, ErrorReason};

use message::Timestamp;
use message::id::{AuditEntryId, Entropy};

use crate::support::raw::Caller;
use crate::support::{
    Account, Herald, Mode, NewAccount, Setup, assert_refused, free_port, in_both_modes, metric, new_key,
    refusal, soon, take_machine, until,
};
use flood::Flood;
use keys::id_of;

in_both_modes! {
    a_key_has_so_many_streams_and_no_more,
    who_comes_through_a_trusted_proxy_is_limited_alone,
}

/// bcrypts that the server has run.
const HASHES: &str = "herald_key_hashes_total";
/// The flood's calls a second, and how long it goes on.
const FLOOD: (u32, Duration) = (500, Duration::from_secs(60));
/// What 99 of 100 calls of a client beside the flood may take.
const P99: Duration = Duration::from_millis(100);
/// Other programs on the machine slow a caller now and then, a flood that works slows it every time.
const ROUNDS: usize = 3;
/// In which a revocation takes effect everywhere.
const REVOKED: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_bad_keys_costs_no_bcrypt_and_does_not_slow_down_a_good_key_from_the_same_address() {
    let _machine = take_machine().await;
    let metrics = format!("127.0.0.1:{}", free_port());
    // Measured on a server as it is: not with timers that run thousands of times faster.
    let setup = Setup::default().set("HERALD_METRICS_LISTEN", &metrics).set("HERALD_TIME_SCALE", 1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut herald = Herald::start_in(Mode::Embedded, setup, folder).await;
    let account = herald.account(NewAccount::default()).await;
    let client = herald.impatient_client(&account.key);
    client.balance().await.expect("the key is good");
    let hashes = metric(&metrics, HASHES).await;
    assert!(hashes > 0.0, "the control: good keys are hashed");

    let mut p99s = Vec::new();
    while p99s.last().is_none_or(|p99| *p99 >= P99) {
        assert!(p99s.len() < ROUNDS, "p99 of good calls beside a flood: {p99s:?}");
        p99s.push(p99_beside_a_flood(&herald, &account.key, &client).await);
        assert_eq!(metric(&metrics, HASHES).await, hashes, "bad keys bought bcrypt");
    }

    // And a key that the server has never seen comes in while the flood goes on.
    let (calls_a_second, _) = FLOOD;
    let flood = tokio::spawn(Flood::new(&herald, &account.key).run(calls_a_second, Duration::from_secs(5)));
    let new = new_key(&herald, &account.id, &[v1::Scope::Billing]).await;
    let started = Instant::now();
    herald.client(&new).balance().await.expect("a new key is let in");
    assert!(started.elapsed() < Duration::from_secs(5) && !flood.is_finished(), "{:?}", started.elapsed());
    flood.await.expect("the flood flows");
    assert_eq!(metric(&metrics, HASHES).await, hashes + 1.0, "the new key is hashed once");
    herald.finish().await;
}

async fn p99_beside_a_flood(herald: &Herald, good_key: &str, client: &herald_sdk::Client) -> Duration {
    let (calls_a_second, length) = FLOOD;
    let flood = tokio::spawn(Flood::new(herald, good_key).run(calls_a_second, length));
    let (mut pace, mut times) = (tokio::time::interval(Duration::from_millis(20)), Vec::new());
    while !flood.is_finished() {
        pace.tick().await;
        let started = Instant::now();
        client.balance().await.expect("a good key is let in");
        times.push(started.elapsed());
    }
    let answers = flood.await.expect("the flood flows");
    let flooded = f64::from(calls_a_second) * length.as_secs_f64();
    assert!(f64::from(answers.calls()) > 0.95 * flooded, "{answers:?}");
    assert!(answers.api_key_invalid > 0 && answers.rate_limited > 0, "{answers:?}");
    times.sort_unstable();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("{answers:?}; of {} good calls: p50 {p50:?}, p99 {p99:?}", times.len());
    p99
}

/// Another node has revoked the key: this one learns of it from the row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_revoked_elsewhere_stops_working_and_its_streams_end_within_ten_seconds() {
    // A store that two processes can open.
    let mut herald = Herald::start(Mode::Engines, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let key = new_key(&herald, &account.id, &[v1::Scope::Read, v1::Scope::Billing]).await;
    let client = herald.impatient_client(&key);
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = subscribe(&client).await.expect("a stream");
        soon("the first frame", stream.message()).await.expect("no error");
        streams.push(stream);
    }
    let other_node = herald.database().open().await;
    let entry = entry(other_node.now().await.expect("the store works"));
    assert!(other_node.revoke_api_key(id_of(&key), &entry).await.expect("the store works").is_some());
    let revoked = Instant::now();
    let ends = async {
        for mut stream in streams {
            let end = async {
                loop {
                    if let Err(end) = stream.message().await {
                        return end;
                    }
                }
            };
            let end = soon("the end of the stream", end).await;
            assert_refused(&end, Code::Unauthenticated, ErrorReason::ApiKeyInvalid);
        }
        revoked.elapsed()
    };
    let refused = async {
        until("the refusal", async || client.balance().await.err()).await;
        revoked.elapsed()
    };
    let (ends, refused) = tokio::join!(ends, refused);
    assert!(ends < REVOKED && refused < REVOKED, "streams ended after {ends:?}, calls after {refused:?}");
    refusal(client.balance().await, Code::Unauthenticated, ErrorReason::ApiKeyInvalid);
    account.client.balance().await.expect("the client's other key is as good as before");
    herald.finish().await;
}

/// What another node writes.
fn entry(at: Timestamp) -> AuditEntry {
    let empty = String::new;
    AuditEntry {
        id: AuditEntryId::new(at, Entropy([7; 10])),
        at,
        key_id: empty(),
        client: None,
        action: "AdminService.RevokeApiKey".into(),
        target: empty(),
        before: empty(),
        after: empty(),
        note: empty(),
        request_id: empty(),
    }
}

async fn a_key_has_so_many_streams_and_no_more(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default().set("HERALD_LIMITS__STREAMS_PER_KEY", 2)).await;
    let account = herald.account(NewAccount::default()).await;
    let first = subscribe(&account.client).await.expect("the first");
    let request = v1::SubscribeDeliveryReportsRequest::default();
    let second =
        account.client.raw().messaging().subscribe_delivery_reports(request).await.expect("the second");
    let third = subscribe(&account.client).await.expect_err("it is one too many");
    assert_refused(&third, Code::ResourceExhausted, ErrorReason::TooManyStreams);
    // Others have their own places, and what ends makes room.
    let other = Account {
        client: herald.client(&new_key(&herald, &account.id, &[v1::Scope::Read]).await),
        ..account.clone()
    };
    let theirs = subscribe(&other.client).await.expect("another key");
    drop(first);
    let third = until("room", async || subscribe(&account.client).await.ok()).await;
    drop((second, third, theirs));
    herald.finish().await;
}

async fn who_comes_through_a_trusted_proxy_is_limited_alone(mode: Mode) {
    let setup = Setup::default()
        .set("HERALD_LIMITS__TRUSTED_PROXIES", r#"["127.0.0.0/8"]"#)
        .set("HERALD_LIMITS__ANONYMOUS_PER_SECOND", 1)
        .set("HERALD_LIMITS__ANONYMOUS_BURST", 50);
    let mut herald = Herald::start(mode, setup).await;
    let caller = |address: &str| Caller::new(&herald).with("x-forwarded-for", address);
    let refused = async |caller: &Caller| {
        caller.call(flood::PATH, Default::default()).await.expect_err("it shows no key")
    };
    // What stands before the address that the proxy added is of the caller's own making, and changes nothing.
    let (stranger, disguised) = (caller("198.51.100.7"), caller("203.0.113.9, 198.51.100.7"));
    let limited = until("the limit", async || {
        refused(&stranger).await;
        Some(refused(&disguised).await).filter(|refused| refused.code() == Code::ResourceExhausted)
    });
    assert_refused(&limited.await, Code::ResourceExhausted, ErrorReason::RateLimited);
    let other = refused(&caller("198.51.100.8")).await;
    assert_refused(&other, Code::Unauthenticated, ErrorReason::ApiKeyMissing);
    herald.finish().await;
}

async fn subscribe(client: &herald_sdk::Client) -> Result<Streaming<v1::SubscribeEventsResponse>, Status> {
    let request = v1::SubscribeEventsRequest { from_oldest: true, ..Default::default() };
    client.raw().events().subscribe_events(request).await.map(herald_sdk::tonic::Response::into_inner)
}
