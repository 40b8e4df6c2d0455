//! Two API nodes are one service: streams go on, keys and limits hold, whichever node a call meets.

use std::collections::BTreeSet;
use std::time::Instant;

use herald_sdk::tonic::Code;
use herald_sdk::v1::subscribe_events_response::Frame;
use herald_sdk::{Client, v1};

use tokio::task::JoinHandle;

use crate::support::{
    Account, Cluster, NewAccount, Setup, every_message, metric, nothing_held, sms, soon, take_machine, until,
};

const SEED: u64 = 1;
/// The simulator's answers and reports take milliseconds.
const FAST: f64 = 20.0;
/// Racing callers of one key, half of them at each node; keys; and races at the same time, each over connections of its own.
const RACERS: usize = 64;
const KEYS: usize = 500;
const RACES: usize = 4;
/// Parts of a limited client at once; it gains one a second.
const BURST: i32 = 300;

async fn cluster() -> (Cluster, Account, [Client; 2]) {
    // A machine that is busy must not take Redis for gone.
    let setup = Setup::default().set("HERALD_REDIS__TIMEOUT_MS", 1_000);
    let cluster = Cluster::start(setup, SEED, FAST).await;
    let account = cluster.account(NewAccount::default()).await;
    let nodes = nodes(&cluster, &account);
    (cluster, account, nodes)
}

/// A connection to each node.
fn nodes(cluster: &Cluster, account: &Account) -> [Client; 2] {
    ["api-1", "api-2"].map(|name| Cluster::patient_client_at(cluster.address_of(name), &account.key))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_goes_on_at_the_other_node_without_a_gap_or_a_repetition() {
    let _machine = take_machine().await;
    let (mut cluster, account, [first, second]) = cluster().await;
    for _ in 0..20 {
        first.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    }
    let mut seqs = Vec::new();
    let token = read(&first, String::new(), &mut seqs, 10).await;
    cluster.kill_node("api-1").await;
    for _ in 0..20 {
        second.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    }
    let end = nothing_held(&account.client).await.seq;
    let left = usize::try_from(end).expect("it is positive") - seqs.len();
    read(&second, token, &mut seqs, left).await;
    assert!(seqs.iter().copied().eq(1..=end), "{seqs:?}");
    cluster.start_node("api-1").await;
    cluster.finish().await;
}

/// Reads `count` events and answers the last token.
async fn read(client: &Client, token: String, seqs: &mut Vec<i64>, count: usize) -> String {
    let from_oldest = token.is_empty();
    let request = v1::SubscribeEventsRequest { resume_token: token, from_oldest, ..Default::default() };
    let stream = client.raw().events().subscribe_events(request).await.expect("a stream");
    let (mut stream, mut token, before) = (stream.into_inner(), String::new(), seqs.len());
    while seqs.len() < before + count {
        let frame = soon("a frame", stream.message()).await.expect("no error").expect("it goes on");
        if let Some(Frame::Event(event)) = frame.frame {
            seqs.push(event.seq);
            token = frame.resume_token;
        }
    }
    token
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racers_with_one_key_at_two_nodes_make_one_message() {
    let _machine = take_machine().await;
    let (cluster, account, _) = cluster().await;
    let races: Vec<_> = (0..RACES)
        .map(|first| {
            let nodes = nodes(&cluster, &account);
            tokio::spawn(async move {
                let mut messages = Vec::new();
                for key in (first..KEYS).step_by(RACES) {
                    messages.push(race(&nodes, key).await);
                }
                messages
            })
        })
        .collect();
    let mut messages = BTreeSet::new();
    for race in races {
        messages.extend(race.await.expect("no panic"));
    }
    assert_eq!(messages.len(), KEYS);
    nothing_held(&account.client).await;
    assert_eq!(every_message(&account.client).await.len(), KEYS);
    cluster.finish().await;
}

/// The id of the one message that the racers made.
async fn race(nodes: &[Client; 2], key: usize) -> String {
    let racers: Vec<_> = (0..RACERS)
        .map(|racer| {
            let node = nodes[racer % 2].clone();
            let request = v1::SendMessageRequest {
                idempotency_key: format!("race-{key}"),
                ..sms("+12025550100", "Hello")
            };
            tokio::spawn(async move { node.send(request).await.expect("it is accepted, or answered again") })
        })
        .collect();
    let (mut made, mut first) = (BTreeSet::new(), 0);
    for racer in racers {
        let receipt = soon("the answer", racer).await.expect("no panic");
        first += usize::from(!receipt.replayed);
        made.insert(receipt.message.id);
    }
    assert_eq!((made.len(), first), (1, 1), "key {key}: {made:?}");
    made.pop_first().expect("there is one")
}

/// To 5 % with Redis; without it each node allows one and a half times its half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_shared_by_two_nodes_and_halved_while_redis_is_away() {
    let _machine = take_machine().await;
    let (cluster, _, _) = cluster().await;
    check_limit(&cluster, 1.0, 1.05).await;
    cluster.redis.kill().await;
    check_limit(&cluster, 1.0, 1.5).await;
    cluster.redis.restart().await;
    until("shared limits", async || {
        let mut shared = 0.0;
        for node in ["api-1", "api-2"] {
            shared += metric(&cluster.metrics_of(node).to_string(), "herald_limiter_shared").await;
        }
        (shared > 1.5).then_some(())
    })
    .await;
    check_limit(&cluster, 1.0, 1.05).await;
    cluster.finish().await;
}

/// A new client's burst, and what it gains meanwhile, passes `least` to `most` times at both nodes together.
async fn check_limit(cluster: &Cluster, least: f64, most: f64) {
    let mut new = NewAccount::default();
    (new.client.parts_per_second, new.client.burst_parts) = (1, BURST);
    let account = cluster.account(new).await;
    let began = Instant::now();
    let (first, second) = (passed(cluster, &account, "api-1"), passed(cluster, &account, "api-2"));
    let passed = first.await.expect("no panic") + second.await.expect("no panic");
    let due = f64::from(BURST) + began.elapsed().as_secs_f64();
    println!("{passed} passed of {due:.1}");
    let passed = f64::from(passed);
    assert!(passed >= least * f64::from(BURST) && passed <= most * due + 1.0, "{passed} of {due} passed");
    nothing_held(&account.client).await;
}

/// How many single parts a node lets through until it refuses one.
fn passed(cluster: &Cluster, account: &Account, node: &str) -> JoinHandle<u32> {
    let client = Cluster::impatient_client_at(cluster.address_of(node), &account.key);
    tokio::spawn(async move {
        for passed in 0.. {
            if let Err(error) = client.send(sms("+12025550100", "Hello")).await {
                assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
                return passed;
            }
        }
        unreachable!("there is a limit")
    })
}
