//! What NATS may lose: consumers, streams, its state, itself.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use delivery::model::MessageKey;
use delivery::port::Queue;
use futures_util::StreamExt;
use queue_nats::{Options, Unhealthy};
use tokio_util::sync::CancellationToken;

use crate::server::{Installation, LANE, Node, PATIENCE, Server, keys, offers, take_all, until};

const OTHER_LANE: &str = "simulator.bulk";

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_deleted_under_takers_and_offerers_comes_back_with_another_epoch() {
    let installation = Installation::on_shared_server();
    let (one, two) = (Arc::new(installation.node().await), Arc::new(installation.node().await));
    let first = one.begun().await;
    assert_eq!(two.begun().await, first, "all nodes name it alike");
    let stop = CancellationToken::new();
    let taken = Arc::new(AtomicUsize::new(0));
    let busy = [&one, &two].map(|node| tokio::spawn(work(node.clone(), taken.clone(), stop.clone())));
    for _ in 0..3 {
        let before = taken.load(Ordering::SeqCst);
        until(async || taken.load(Ordering::SeqCst) > before).await;
        let last = one.begun();
        installation.jetstream().await.delete_stream(&installation.options.stream).await.unwrap();
        let next = last.await;
        assert_ne!(next, first);
        assert_eq!(two.begun().await, next);
    }
    stop.cancel();
    for busy in busy {
        busy.await.unwrap();
    }
    until(async || one.health().is_ok()).await;
    let mine = keys(9, 10);
    one.offer("other.lane", &offers(&mine)).await;
    let tickets = two.take("other.lane", 10).await;
    assert!(mine.contains(&tickets[0].key()));
}

/// Offers and takes until `stop`, and counts what it took.
async fn work(node: Arc<Node>, taken: Arc<AtomicUsize>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        node.offer(LANE, &offers(&keys(1, 20))).await;
        if let Ok(tickets) = tokio::time::timeout(PATIENCE, node.take(LANE, 20)).await {
            taken.fetch_add(tickets.len(), Ordering::SeqCst);
            for ticket in tickets {
                ticket.done().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_that_are_deleted_come_back_with_all_that_waits() {
    let installation = Installation::on_shared_server();
    let queue = installation.node().await;
    assert!(crate::server::is_silent(&queue, PATIENCE).await);
    let jetstream = installation.jetstream().await;
    let stream = jetstream.get_stream(&installation.options.stream).await.unwrap();
    queue.offer(LANE, &offers(&keys(1, 50))).await;
    until(async || queue.waiting(LANE).await == 50).await;
    let mut names = stream.consumer_names();
    while let Some(name) = names.next().await {
        stream.delete_consumer(&name.unwrap()).await.unwrap();
    }
    let mut taken = take_until_empty(&queue).await;
    taken.sort();
    // What was out when its consumer went comes again.
    taken.dedup();
    assert_eq!(taken, keys(1, 50));
}

/// Takes what comes until nothing waits.
async fn take_until_empty(queue: &Node) -> Vec<MessageKey> {
    let mut taken = Vec::new();
    while queue.waiting(LANE).await > 0 {
        if let Ok(some) = tokio::time::timeout(PATIENCE, take_all(queue, 1)).await {
            taken.extend(some);
        }
    }
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_kept_its_state_goes_on_where_it_was() {
    let server = Server::start();
    let installation = Installation::on(&server.urls);
    let queue = installation.node().await;
    queue.begun().await;
    queue.offer(LANE, &offers(&keys(1, 50))).await;
    until(async || queue.waiting(LANE).await == 50).await;
    let held = queue.take(LANE, 1).await;
    server.kill();
    until(async || queue.health() == Err(Unhealthy::Disconnected)).await;
    let mut taken: Vec<_> = held.iter().map(|ticket| ticket.key()).collect();
    // The server is told as soon as it is there.
    for ticket in held {
        ticket.done().await;
    }
    server.restart();
    // What was out as it was killed may come twice: what a server notes of its consumers is not synced.
    let rest = async {
        while taken.len() < 50 {
            taken.extend(take_all(&queue, 1).await);
            taken.sort();
            taken.dedup();
        }
    };
    tokio::time::timeout(installation.options.ack_wait / 2, rest)
        .await
        .expect("nothing waits for its time-out");
    assert_eq!(taken, keys(1, 50));
    take_until_empty(&queue).await;
    assert!(tokio::time::timeout(PATIENCE, queue.begun()).await.is_err(), "nothing has begun");
    until(async || queue.health().is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_state_begins_anew() {
    let server = Server::start();
    let installation = Installation::on(&server.urls);
    let queue = installation.node().await;
    let first = queue.begun().await;
    queue.offer(LANE, &offers(&keys(1, 50))).await;
    server.kill();
    std::fs::remove_dir_all(server.storage()).unwrap();
    server.restart();
    assert_ne!(queue.begun().await, first);
    queue.offer(LANE, &offers(&keys(1, 50))).await;
    assert_eq!(take_all(&queue, 50).await, keys(1, 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_went_back_begins_anew_and_all_nodes_name_it_alike() {
    let server = Server::start();
    let installation = Installation::on(&server.urls);
    let (one, two) = (installation.node().await, installation.node().await);
    let first = one.begun().await;
    two.begun().await;
    one.offer(LANE, &offers(&keys(1, 10))).await;
    server.kill();
    let (storage, copy) = (server.storage(), server.storage().with_extension("copy"));
    assert!(Command::new("cp").arg("-a").args([&storage, &copy]).status().unwrap().success());
    server.restart();
    until(async || one.health().is_ok() && two.health().is_ok()).await;
    assert!(tokio::time::timeout(PATIENCE, one.begun()).await.is_err(), "a restart is no beginning");
    one.offer(LANE, &offers(&keys(1, 50)[10..])).await;
    until(async || one.waiting(LANE).await == 50 && two.waiting(LANE).await == 50).await;
    server.kill();
    std::fs::remove_dir_all(&storage).unwrap();
    std::fs::rename(&copy, &storage).unwrap();
    server.restart();
    let second = one.begun().await;
    assert_ne!(second, first);
    assert_eq!(two.begun().await, second);
    assert_eq!(installation.node().await.begun().await, second, "and so does a node that starts later");
    assert_eq!(take_all(&one, 10).await, keys(1, 10), "what it kept is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_or_hangs_does_not_hold_up_an_offer() {
    let server = Server::start();
    let queue = Installation::on(&server.urls).node().await;
    for signal in ["-STOP", "-KILL"] {
        server.signal("one", signal);
        let mut waits = Vec::new();
        for _ in 0..50 {
            let started = Instant::now();
            queue.offer(LANE, &offers(&keys(1, 100))).await;
            waits.push(started.elapsed());
        }
        let long = waits.iter().filter(|wait| **wait > Duration::from_millis(500)).count();
        assert!(long <= 1, "{signal}: one finds out, the others know: {waits:?}");
        assert!(queue.health().is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_offered_while_there_is_no_server_is_offered_when_it_is_back() {
    let server = Server::start();
    let installation = Installation::on(&server.urls);
    let (one, two) = (installation.node().await, installation.node().await);
    server.kill();
    // In several batches, to two lanes, by both nodes; and the first of them while nobody knows yet.
    one.offer(LANE, &offers(&keys(1, 700))).await;
    one.offer(OTHER_LANE, &offers(&keys(2, 50))).await;
    one.offer(LANE, &offers(&keys(1, 900)[700..])).await;
    two.offer(LANE, &offers(&keys(1, 1_000)[900..])).await;
    server.restart();
    assert_eq!(take_all(&two, 1_000).await, keys(1, 1_000));
    until(async || one.waiting(OTHER_LANE).await == 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_misses_more_offers_than_a_node_keeps_begins_anew() {
    let server = Server::start();
    let installation = Installation::on(&server.urls);
    let (one, two) = (installation.node().await, installation.node().await);
    let first = one.begun().await;
    assert_eq!(two.begun().await, first);
    server.kill();
    let keys = keys(1, 100_001);
    one.offer(LANE, &offers(&keys[..100_000])).await;
    one.offer(LANE, &offers(&keys[100_000..])).await;
    server.restart();
    let second = one.begun().await;
    assert_ne!(second, first);
    assert_eq!(two.begun().await, second);
    assert!(tokio::time::timeout(PATIENCE, one.begun()).await.is_err(), "it begins anew once");
    assert_eq!(one.waiting(LANE).await, 0, "what is due is offered from the store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_goes_on_without_one_of_its_three() {
    let server = Server::start_cluster();
    let mut installation = Installation::on(&server.urls);
    installation.options = Options { replicas: 3, ..installation.options };
    let (one, two) = (installation.node().await, installation.node().await);
    let first = one.begun().await;
    one.offer(LANE, &offers(&keys(1, 30))).await;
    until(async || two.waiting(LANE).await == 30).await;
    for name in ["one", "two", "three"] {
        server.signal(name, "-KILL");
        server.restart_those(&[name]);
        until(async || one.health().is_ok() && two.health().is_ok()).await;
    }
    let mut taken = take_all(&two, 30).await;
    taken.dedup();
    assert_eq!(taken, keys(1, 30));
    assert!(tokio::time::timeout(PATIENCE, one.begun()).await.is_err(), "{first} goes on");
}
