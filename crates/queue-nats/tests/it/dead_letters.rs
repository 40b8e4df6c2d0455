//! The dead-letter feed.

use delivery::model::DeadLetter;
use delivery::port::Queue;
use futures_util::StreamExt;
use message::Timestamp;
use message::failure::{Failure, FailureReason};

use crate::server::{Installation, LANE, PATIENCE, is_silent, keys, offers, take_all, until};

/// What the feed holds, once it holds `count`.
async fn feed(installation: &Installation, count: usize) -> Vec<serde_json::Value> {
    let jetstream = installation.jetstream().await;
    let name = format!("{}_DEAD_LETTERS", installation.options.stream);
    let stream = jetstream.get_stream(name).await.unwrap();
    let consumer = async_nats::jetstream::consumer::pull::Config::default();
    let consumer = stream.create_consumer(consumer).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let mut letters = Vec::new();
    while letters.len() < count {
        let message = messages.next().await.unwrap().unwrap();
        letters.push(serde_json::from_slice(&message.payload).unwrap());
    }
    assert!(tokio::time::timeout(PATIENCE, messages.next()).await.is_err(), "and no more");
    letters
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_id_ends_in_the_feed_and_holds_up_nothing() {
    let installation = Installation::on_shared_server();
    let queue = installation.node().await;
    let subject = format!("{}sms.send.{LANE}.1", installation.options.prefix);
    let jetstream = installation.jetstream().await;
    for payload in ["", "hello +4915112345678", "\u{1}too short"] {
        jetstream.publish(subject.clone(), payload.into()).await.unwrap().await.unwrap();
    }
    queue.offer(LANE, &offers(&keys(1, 3))).await;
    assert_eq!(take_all(&queue, 3).await, keys(1, 3));
    let letters = feed(&installation, 3).await;
    for letter in &letters {
        assert_eq!((&letter["kind"], &letter["subject"]), (&"unparsable".into(), &subject.as_str().into()));
        assert!(!letter.to_string().contains("4915"), "what it is, nobody knows");
    }
    until(async || queue.waiting(LANE).await == 0).await;
    assert!(is_silent(&queue, PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_told_once_with_its_reason_and_without_its_words() {
    let installation = Installation::on_shared_server();
    let queue = installation.node().await;
    let letters: Vec<DeadLetter> = keys(1, 3)
        .into_iter()
        .map(|key| DeadLetter {
            key,
            provider: "simulator".into(),
            failure: Failure::new(FailureReason::RetriesExhausted).with("said of +49151", "0x45"),
            has_unknown_attempt: true,
            at: Timestamp::from_micros(1_700_000_000_000_000),
            replayed_as: None,
        })
        .collect();
    queue.dead(&letters).await;
    queue.dead(&letters[..1]).await;
    let told = feed(&installation, 3).await;
    for (told, letter) in told.iter().zip(&letters) {
        let expected = serde_json::json!({
            "kind": "dead_letter",
            "client_id": letter.key.client.to_string(),
            "message_id": letter.key.id.to_string(),
            "provider": "simulator",
            "reason": "RETRIES_EXHAUSTED",
            "has_unknown_attempt": true,
            "at_micros": 1_700_000_000_000_000_i64,
        });
        assert_eq!(*told, expected);
    }
}
