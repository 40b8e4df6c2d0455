//! The claims on a limiter that nodes share, and that keeps copies of committed calls.
//! [`shared_limiter_suite!`](crate::shared_limiter_suite) makes a test of each.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use delivery::model::{IdempotencyKey, KeyKind, Made, RememberedCall};
use delivery::port::{Admission, Admitted, Limiter, Rate};
use message::id::{ClientId, Entropy, MessageId};

use crate::bench::START;
use crate::given::fingerprint;
use crate::limiter::{LimiterBench, client, refused, take};

/// How an adapter hands limiters that are shared to the suite.
pub trait SharedLimiterFixture: 'static {
    fn shared() -> impl Future<Output = Box<dyn SharedLimiterBench>> + Send;
}

/// Makes the nodes of one installation. What it is as a [`LimiterBench`] speaks of all of them.
#[async_trait]
pub trait SharedLimiterBench: LimiterBench {
    /// The limiter of one more node, whose store's log has this epoch.
    async fn node(&self, log_epoch: u64) -> Arc<dyn Limiter>;
}

const EPOCH: u64 = 0x0123_4567_89ab_cdef;
const LIFETIME: Duration = Duration::from_secs(3_600);

pub async fn nodes_share_one_bucket(bench: Box<dyn SharedLimiterBench>) {
    const PER_SECOND: u32 = 200;
    const STEPS: u32 = 100;
    let nodes = [bench.node(EPOCH).await, bench.node(EPOCH).await];
    let mut taken = 0;
    // Both ask for the whole rate, at the same time.
    for _ in 0..STEPS {
        bench.advance(Duration::from_millis(100)).await;
        let calls: Vec<_> = (0..PER_SECOND / 5)
            .map(|n| {
                let node = nodes[n as usize % 2].clone();
                tokio::spawn(async move { take(&node, client(1), 1, PER_SECOND, PER_SECOND / 10).await })
            })
            .collect();
        for call in calls {
            taken += u32::from(call.await.unwrap() == Admitted::Passed);
        }
    }
    let fair = PER_SECOND / 10 * STEPS;
    assert!(taken.abs_diff(fair) <= fair / 20, "{taken} instead of {fair}");
}

pub async fn what_one_node_gives_back_another_can_take(bench: Box<dyn SharedLimiterBench>) {
    let nodes = [bench.node(EPOCH).await, bench.node(EPOCH).await];
    assert_eq!(take(&nodes[0], client(1), 5, 1, 5).await, Admitted::Passed);
    refused(&nodes[1], 1, 1, 5).await;
    nodes[0].give_back(client(1), 3);
    bench.settled().await;
    assert_eq!(take(&nodes[1], client(1), 3, 1, 5).await, Admitted::Passed);
    refused(&nodes[0], 1, 1, 5).await;
}

pub async fn a_copy_answers_the_same_request_on_any_node(bench: Box<dyn SharedLimiterBench>) {
    let nodes = [bench.node(EPOCH).await, bench.node(EPOCH).await];
    let call = call(client(1), "key", 1);
    assert_eq!(ask(&nodes[1], &call).await, Admitted::Passed, "nothing is committed yet");
    tell(bench.as_ref(), &nodes[0], &call).await;
    for node in &nodes {
        assert_eq!(ask(node, &call).await, remembered(&call));
    }
    // A node that comes later knows it too, and a client without a limit is answered likewise.
    let late = bench.node(EPOCH).await;
    let unlimited =
        Admission { client: call.key.client, rate: None, call: Some((&call.key, call.fingerprint)) };
    assert_eq!(late.admit(&unlimited).await, remembered(&call));
}

pub async fn a_copy_answers_no_other_request(bench: Box<dyn SharedLimiterBench>) {
    let node = bench.node(EPOCH).await;
    let call = call(client(1), "key", 1);
    tell(bench.as_ref(), &node, &call).await;
    let other = RememberedCall { fingerprint: fingerprint("other"), ..call.clone() };
    assert_eq!(ask(&node, &other).await, Admitted::Passed);
    assert_eq!(ask(&node, &call).await, remembered(&call), "it is still there");
}

pub async fn a_copy_of_another_history_of_the_log_answers_nothing(bench: Box<dyn SharedLimiterBench>) {
    let (node, restored) = (bench.node(EPOCH).await, bench.node(EPOCH ^ 1).await);
    let before = call(client(1), "key", 1);
    tell(bench.as_ref(), &node, &before).await;
    assert_eq!(ask(&restored, &before).await, Admitted::Passed);
    let after = call(client(1), "key", 2);
    tell(bench.as_ref(), &restored, &after).await;
    assert_eq!(ask(&restored, &after).await, remembered(&after));
    assert_eq!(ask(&node, &before).await, Admitted::Passed, "it is another history's now");
}

pub async fn a_remembered_call_takes_no_tokens(bench: Box<dyn SharedLimiterBench>) {
    let node = bench.node(EPOCH).await;
    let call = call(client(1), "key", 1);
    tell(bench.as_ref(), &node, &call).await;
    for _ in 0..20 {
        assert_eq!(ask(&node, &call).await, remembered(&call));
    }
    let Rate { per_second, burst, .. } = RATE;
    assert_eq!(take(&node, client(1), burst, per_second, burst).await, Admitted::Passed, "all are left");
    refused(&node, 1, per_second, burst).await;
    assert_eq!(ask(&node, &call).await, remembered(&call), "also when none are left");
    let new = RememberedCall { fingerprint: fingerprint("new"), ..call };
    assert!(matches!(ask(&node, &new).await, Admitted::RetryAfter(_)));
}

pub async fn copies_differ_by_client_and_each_character_of_the_key(bench: Box<dyn SharedLimiterBench>) {
    let node = bench.node(EPOCH).await;
    let keys = ["key", "Key", "key}", "{key}", "key:", ":key", "k", "ke", "keyy"];
    let calls: Vec<_> = [client(1), client(2)]
        .into_iter()
        .flat_map(|client| keys.map(|key| (client, key)))
        .zip(1..)
        .map(|((client, key), number)| call(client, key, number))
        .collect();
    node.remember(&calls, LIFETIME);
    bench.settled().await;
    for call in &calls {
        assert_eq!(ask(&node, call).await, remembered(call), "{:?}", call.key);
    }
    let kind = RememberedCall {
        key: IdempotencyKey { kind: KeyKind::TopUp, ..calls[0].key.clone() },
        ..calls[0].clone()
    };
    assert_eq!(ask(&node, &kind).await, Admitted::Passed);
}

pub async fn a_key_that_is_used_again_has_its_newest_copy(bench: Box<dyn SharedLimiterBench>) {
    let node = bench.node(EPOCH).await;
    let (first, second) = (call(client(1), "key", 1), call(client(1), "key", 2));
    tell(bench.as_ref(), &node, &first).await;
    tell(bench.as_ref(), &node, &second).await;
    assert_eq!(ask(&node, &second).await, remembered(&second));
}

pub async fn only_what_made_a_message_is_copied(bench: Box<dyn SharedLimiterBench>) {
    let node = bench.node(EPOCH).await;
    let call = RememberedCall { made: Made::Event(1), ..call(client(1), "key", 1) };
    tell(bench.as_ref(), &node, &call).await;
    assert_eq!(ask(&node, &call).await, Admitted::Passed);
}

pub async fn racing_repeats_of_a_remembered_call_all_get_its_message(bench: Box<dyn SharedLimiterBench>) {
    let nodes = [bench.node(EPOCH).await, bench.node(EPOCH).await];
    let call = call(client(1), "key", 1);
    tell(bench.as_ref(), &nodes[0], &call).await;
    let racers: Vec<_> = (0..64)
        .map(|n| {
            let (node, call) = (nodes[n % 2].clone(), call.clone());
            tokio::spawn(async move { ask(&node, &call).await })
        })
        .collect();
    for racer in racers {
        assert_eq!(racer.await.unwrap(), remembered(&call));
    }
}

const RATE: Rate = Rate { parts: 1, per_second: 1, burst: 5 };

/// A call that made the message of this number.
fn call(client: ClientId, key: &str, number: u8) -> RememberedCall {
    RememberedCall {
        key: IdempotencyKey { client, kind: KeyKind::Send, key: key.into() },
        fingerprint: fingerprint("request"),
        made: Made::Message(MessageId::new(START, Entropy([number; 10]))),
        created_at: START,
    }
}

fn remembered(call: &RememberedCall) -> Admitted {
    match call.made {
        Made::Message(id) => Admitted::Remembered(id),
        Made::Event(_) => panic!("it made no message"),
    }
}

async fn tell(bench: &dyn SharedLimiterBench, node: &Arc<dyn Limiter>, call: &RememberedCall) {
    node.remember(std::slice::from_ref(call), LIFETIME);
    bench.settled().await;
}

async fn ask(node: &Arc<dyn Limiter>, call: &RememberedCall) -> Admitted {
    let call_asked = Some((&call.key, call.fingerprint));
    node.admit(&Admission { client: call.key.client, rate: Some(RATE), call: call_asked }).await
}
