//! Several nodes, and tickets between them.

use std::time::Duration;

use delivery::port::Queue;
use queue_nats::Options;

use crate::server::{Installation, LANE, PATIENCE, client, is_silent, keys, offers, take_all, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_two_nodes_make_is_given_once() {
    let installation = Installation::on_shared_server();
    let (one, two) = tokio::join!(installation.node(), installation.node());
    let made = offers(&keys(1, 300));
    tokio::join!(one.offer(LANE, &made), two.offer(LANE, &made));
    until(async || one.waiting(LANE).await == 300).await;
    assert_eq!(take_all(&two, 300).await, keys(1, 300));
    assert!(is_silent(&one, PATIENCE).await);
    until(async || one.waiting(LANE).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn takers_of_two_nodes_share_a_lane() {
    let installation = Installation::on_shared_server();
    let (one, two) = (installation.node().await, installation.node().await);
    let taken = async {
        let (mut by_one, mut by_two) = (0, 0);
        let mut taken = Vec::new();
        while taken.len() < 2_000 {
            let tickets = tokio::select! {
                tickets = one.take(LANE, 10) => { by_one += tickets.len(); tickets }
                tickets = two.take(LANE, 10) => { by_two += tickets.len(); tickets }
            };
            for ticket in tickets {
                taken.push(ticket.key());
                ticket.done().await;
            }
        }
        taken.sort();
        assert!(by_one > 0 && by_two > 0, "{by_one} {by_two}");
        taken
    };
    let offer = async {
        for some in keys(1, 2_000).chunks(100) {
            one.offer(LANE, &offers(some)).await;
        }
    };
    assert_eq!(tokio::join!(taken, offer).0, keys(1, 2_000), "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_clients_flood_does_not_hold_up_another() {
    let queue = Installation::on_shared_server().node().await;
    for some in keys(1, 5_000).chunks(500) {
        queue.offer(LANE, &offers(some)).await;
    }
    // In other shares than the first.
    for number in 2..=8 {
        queue.offer(LANE, &offers(&keys(number, 1))).await;
    }
    until(async || queue.waiting(LANE).await == 5_007).await;
    let mut taken = Vec::new();
    while taken.len() < 200 {
        for ticket in queue.take(LANE, 10).await {
            taken.push(ticket.key());
            ticket.done().await;
        }
    }
    for number in 2..=8 {
        let place = taken.iter().position(|key| key.client == client(number));
        assert!(place.is_some(), "client {number} waits behind 5,000 of another");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_ticket_goes_to_another_node_at_once() {
    let installation = Installation::on_shared_server();
    let (one, two) = (installation.node().await, installation.node().await);
    one.offer(LANE, &offers(&keys(1, 1))).await;
    let tickets = one.take(LANE, 1).await;
    let waiter = tokio::spawn(async move { take_all(&two, 1).await });
    drop(tickets);
    // It is answered for in a minute: only the drop can have told.
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), waiter).await.unwrap().unwrap(), keys(1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_for_a_taker_that_left_goes_to_another_node() {
    let installation = Installation::on_shared_server();
    let (one, two) = (installation.node().await, installation.node().await);
    assert!(is_silent(&one, PATIENCE).await);
    one.offer(LANE, &offers(&keys(1, 20))).await;
    let taken = tokio::time::timeout(Duration::from_secs(30), take_all(&two, 20)).await;
    assert_eq!(taken.unwrap(), keys(1, 20));
}

fn impatient() -> Installation {
    let mut installation = Installation::on_shared_server();
    installation.options = Options { ack_wait: Duration::from_secs(1), ..installation.options };
    installation
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_kept_alive_as_long_as_it_is_held() {
    let installation = impatient();
    let (one, two) = (installation.node().await, installation.node().await);
    one.offer(LANE, &offers(&keys(1, 5))).await;
    let mut held = Vec::new();
    while held.len() < 5 {
        held.extend(one.take(LANE, 5).await);
    }
    assert!(is_silent(&two, 4 * installation.options.ack_wait).await);
    for ticket in held {
        ticket.done().await;
    }
    until(async || one.waiting(LANE).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_node_held_goes_to_another() {
    let installation = impatient();
    let (one, two) = (installation.node().await, installation.node().await);
    one.offer(LANE, &offers(&keys(1, 1))).await;
    // Neither done nor dropped, and nobody is left to keep it alive.
    std::mem::forget(one.take(LANE, 1).await);
    drop(one);
    assert_eq!(take_all(&two, 1).await, keys(1, 1));
}
