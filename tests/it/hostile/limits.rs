//! What a caller meets at the limits of the port.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use h2::client::{SendRequest, handshake};
use herald_sdk::tonic::Code;
use http::{HeaderMap, Request};
use prost::bytes::Bytes;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::net::TcpStream;

use super::observe::{Memory, cpu};
use super::victim;
use super::wire::{Manners, Peer};
use crate::support::{Herald, NewAccount, Setup, soon, until};

const BALANCE: &str = "/herald.v1.BillingService/GetBalance";

/// A connection of a well-behaved library, for calls that its users got wrong.
async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.expect("the port is open");
    let (calls, connection) = handshake(stream).await.expect("a greeting");
    tokio::spawn(connection);
    calls.ready().await.expect("the server takes calls")
}

/// Sends `body`, which need not be the end of the request; answers the status code.
async fn call(herald: &Herald, key: &str, headers: &[(&str, &str)], body: Vec<u8>, is_all: bool) -> Code {
    let mut calls = connect(herald.address()).await;
    let mut request = Request::post(format!("http://herald{BALANCE}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-api-key", key);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (response, mut sending) =
        calls.send_request(request.body(()).expect("a request"), false).expect("it can be sent");
    sending.send_data(body.into(), is_all).expect("it can be sent");
    let response = soon("an answer", response).await.expect("the call is answered");
    code(response.headers())
}

fn code(headers: &HeaderMap) -> Code {
    let status = headers.get("grpc-status").expect("a refusal is an answer of headers only");
    Code::from_bytes(status.as_bytes())
}

fn message(is_compressed: bool, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short message").to_be_bytes();
    [&[u8::from(is_compressed)], length.as_slice(), payload].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_bomb_is_refused_and_never_inflated() {
    let (mut herald, account) = victim(Setup::default()).await;
    let memory = Memory::watch(herald.pid());
    let bomb = message(true, &gzip_of_zeros(200_000));
    let code = call(&herald, &account.key, &[("grpc-encoding", "gzip")], bomb, true).await;
    assert_eq!(code, Code::Unimplemented);
    assert!(memory.growth_kib() < 16 * 1024, "{} KiB more", memory.growth_kib());
    herald.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_refused_at_the_length_that_it_announces() {
    let (mut herald, account) = victim(Setup::default()).await;
    let announced = u32::to_be_bytes(256 * 1024 + 1);
    let prefix = [&[0], announced.as_slice()].concat();
    // The rest never comes, and need not.
    assert_eq!(call(&herald, &account.key, &[], prefix, false).await, Code::ResourceExhausted);
    herald.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_does_not_come_to_its_end_is_refused() {
    let (mut herald, account) =
        victim(Setup::default().set("HERALD_LISTENER__REQUEST_TIMEOUT_MS", 200)).await;
    for begun in [vec![], vec![0, 0], message(false, &[])] {
        assert_eq!(call(&herald, &account.key, &[], begun, false).await, Code::DeadlineExceeded);
    }
    herald.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_over_the_limit_is_refused_and_the_connection_goes_on() {
    let (mut herald, account) = victim(Setup::default()).await;
    let mut calls = connect(herald.address()).await;
    for (length, expected) in [(7_000, 200), (8_200, 431), (7_000, 200)] {
        let request = Request::post(format!("http://herald{BALANCE}"))
            .header("x-api-key", &account.key)
            .header("x-large", "a".repeat(length));
        let (response, mut sending) =
            calls.send_request(request.body(()).expect("a request"), false).expect("it can be sent");
        let _ = sending.send_data(message(false, &[]).into(), true);
        let response = soon("an answer", response).await.expect("the call is answered");
        assert_eq!(response.status(), expected, "{length}");
        calls = calls.ready().await.expect("the connection goes on");
    }
    herald.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_over_the_cap_of_an_address_are_closed_at_once() {
    let (mut herald, account) =
        victim(Setup::default().set("HERALD_LISTENER__MAX_CONNECTIONS_PER_ADDRESS", 5)).await;
    account.client.balance().await.expect("this is one of the five");
    let mut held = hold_until_refused(herald.address()).await;
    assert!(held.len() < 5, "{}", held.len());
    // The others go on, and a place that is left can be taken.
    account.client.balance().await.expect("a connection that was there stays");
    held.clear();
    until("a place", async || herald.impatient_client(&account.key).balance().await.ok()).await;
    herald.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_may_have_as_many_connections_as_there_are() {
    let setup = Setup::default()
        .set("HERALD_LISTENER__MAX_CONNECTIONS_PER_ADDRESS", 5)
        .set("HERALD_LISTENER__MAX_CONNECTIONS", 20)
        .set("HERALD_LIMITS__TRUSTED_PROXIES", r#"["127.0.0.0/8"]"#);
    let (mut herald, account) = victim(setup).await;
    account.client.balance().await.expect("this is one of the twenty");
    let held = hold_until_refused(herald.address()).await;
    assert!((10..20).contains(&held.len()), "{}", held.len());
    account.client.balance().await.expect("a connection that was there stays");
    drop(held);
    until("a place", async || herald.impatient_client(&account.key).balance().await.ok()).await;
    herald.finish().await;
}

/// Opens connections until one is closed instead of served.
async fn hold_until_refused(address: SocketAddr) -> Vec<Peer> {
    let mut held = Vec::new();
    loop {
        let peer = Peer::greet(address, Manners::Good, &[]).await;
        if !peer.is_taken().await {
            return held;
        }
        held.push(peer);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_file_descriptors_the_server_waits_and_does_not_spin() {
    const LONG: Duration = Duration::from_secs(1);
    let (mut herald, account) = victim(Setup::default()).await;
    let pid = Pid::from_raw(herald.pid().cast_signed()).expect("a process");
    let open = std::fs::read_dir(format!("/proc/{}/fd", herald.pid())).expect("Linux lists them").count();
    // Its limits are ours: it was started from here.
    let limit = Rlimit { current: Some(open as u64 + 2), ..getrlimit(Resource::Nofile) };
    let before = prlimit(Some(pid), Resource::Nofile, limit).expect("it is our child");
    let mut waiting = Vec::new();
    for _ in 0..8 {
        waiting.push(TcpStream::connect(herald.address()).await.expect("the kernel takes it"));
    }
    let told = |line: &str| line.contains("connections cannot be accepted").then_some(());
    herald.log().find("that it is out of descriptors", told).await;
    let (began, used) = (Instant::now(), cpu(herald.pid()));
    tokio::time::sleep(LONG).await;
    let used = cpu(herald.pid()) - used;
    assert!(used * 4 < began.elapsed(), "{used:?} of CPU time in {:?}", began.elapsed());
    prlimit(Some(pid), Resource::Nofile, before).expect("it is our child");
    drop(waiting);
    let late = herald.account(NewAccount::default()).await;
    late.client.balance().await.expect("new connections are served again");
    account.client.balance().await.expect("and old ones");
    herald.finish().await;
}

/// About 40 times as many zeros, by hand (RFC 1951 section 3.2.6): one literal, and then copies of 258 bytes, each a
/// length code of 8 bits and a distance code of 5.
fn gzip_of_zeros(length: usize) -> Vec<u8> {
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut bits = Vec::new();
    // The last block, with fixed codes; the literal 0.
    bits.extend([1, 1, 0]);
    bits.extend([0, 0, 1, 1, 0, 0, 0, 0]);
    while bits.len() < 8 * length {
        bits.extend([1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]);
    }
    bits.extend([0; 7]);
    let packed = bits.chunks(8).map(|bits| bits.iter().rev().fold(0_u8, |byte, bit| byte << 1 | bit));
    // The checksum stays out: nobody is to come so far.
    header.into_iter().chain(packed).chain([0; 8]).collect()
}
