//! What is left in Redis: it ends by itself, and what is damaged answers nothing.

use std::sync::Arc;
use std::time::Duration;

use delivery::model::{IdempotencyKey, KeyKind, Made, RememberedCall};
use delivery::port::{Admission, Admitted, Limiter, Rate};
use limiter_redis::{Options, RedisLimiter};
use memory::MemoryLimiter;
use message::Timestamp;
use message::fingerprint::Fingerprint;
use message::id::{ClientId, Entropy, MessageId};

use crate::bench::PATIENCE;
use crate::server::Server;

const DAY: Duration = Duration::from_secs(24 * 3_600);

#[tokio::test]
async fn every_key_has_an_end() {
    let server = Server::started().await;
    let node = node(&server).await;
    take(&node, client(1), 1).await;
    // It leaves a debt of twenty seconds.
    take(&node, client(2), 300).await;
    take(&node, client(2), 1).await;
    node.give_back(client(1), 1);
    node.give_back(client(3), 1);
    node.remember(&[call(client(1))], DAY);
    node.settled().await;

    let keys: Vec<String> = server.run(&["KEYS", "*"]).await;
    let mut seen: Vec<(&str, i64)> = Vec::new();
    for key in &keys {
        let left: i64 = server.run(&["TTL", key]).await;
        let kind = ["bucket", "call", "probe"].into_iter().find(|kind| key.contains(kind)).unwrap();
        let most = match kind {
            "bucket" => 30 + 61,
            "call" => 24 * 3_600 - 1,
            _ => 60,
        };
        assert!((1..=most).contains(&left), "{key} lives for {left} s");
        seen.push((kind, left));
    }
    seen.sort_unstable();
    let kinds: Vec<_> = seen.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, ["bucket", "bucket", "call", "probe"], "a bucket that is not there gets nothing back");
    assert!(seen[1].1 > 60 + 20, "the debt is not forgotten: {seen:?}");
    assert!(seen[2].1 > 23 * 3_600, "the copy lives for nearly a day: {seen:?}");
}

#[tokio::test]
async fn a_damaged_copy_answers_nothing() {
    let server = Server::started().await;
    let node = node(&server).await;
    let call = call(client(1));
    node.remember(std::slice::from_ref(&call), DAY);
    node.settled().await;
    let [key] = server.run::<Vec<String>>(&["KEYS", "*:call:*"]).await.try_into().unwrap();
    let ask = Admission { client: client(1), rate: None, call: Some((&call.key, call.fingerprint)) };
    assert!(matches!(node.admit(&ask).await, Admitted::Remembered(_)));
    for damage in [vec!["APPEND", &key, "x"], vec!["SETRANGE", &key, "39", "x"], vec!["SET", &key, ""]] {
        server.run::<()>(&damage).await;
        assert_eq!(node.admit(&ask).await, Admitted::Passed, "{damage:?}");
    }
    assert!(node.is_shared());
}

async fn node(server: &Server) -> RedisLimiter {
    let options = Options { call_limit: PATIENCE, ..Options::new(server.url(), 7) };
    RedisLimiter::start(&options, Arc::new(MemoryLimiter::new())).await.unwrap()
}

fn client(number: u8) -> ClientId {
    ClientId::new(Timestamp::from_micros(0), Entropy([number; 10]))
}

async fn take(node: &RedisLimiter, client: ClientId, parts: u32) -> Admitted {
    let rate = Some(Rate { parts, per_second: 10, burst: 100 });
    node.admit(&Admission { client, rate, call: None }).await
}

fn call(client: ClientId) -> RememberedCall {
    let now = Timestamp::from_micros(0);
    RememberedCall {
        key: IdempotencyKey { client, kind: KeyKind::Send, key: "key".into() },
        fingerprint: Fingerprint::builder("test.v1").finish(),
        made: Made::Message(MessageId::new(now, Entropy([1; 10]))),
        created_at: now,
    }
}
