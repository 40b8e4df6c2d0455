//! Bells of several nodes.

use delivery::port::{Bell, Ring};
use queue_nats::NatsBell;

use crate::server::{Installation, PATIENCE, Server, client};

async fn bell(installation: &Installation) -> NatsBell {
    NatsBell::start(&installation.connect().await, &installation.options.prefix).await.unwrap()
}

/// Rings at `from` until `at` hears it: a ring may be lost while a connection is made.
async fn is_heard(from: &NatsBell, at: &NatsBell, last_seq: i64) {
    let ring = Ring { client: client(1), last_seq };
    loop {
        from.ring(&[ring]).await;
        if let Ok(heard) = tokio::time::timeout(PATIENCE, at.wait()).await {
            assert!(heard.iter().all(|heard| heard.last_seq <= last_seq), "{heard:?}");
            if heard.contains(&ring) {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_is_heard_on_every_node_and_does_not_come_back() {
    let installation = Installation::on_shared_server();
    let (one, two) = (bell(&installation).await, bell(&installation).await);
    is_heard(&one, &two, 1).await;
    one.wait().await;
    let ring = Ring { client: client(1), last_seq: 2 };
    one.ring(&[ring]).await;
    assert_eq!(one.wait().await, [ring], "its own, at once");
    assert_eq!(two.wait().await, [ring]);
    assert!(tokio::time::timeout(PATIENCE, one.wait()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rings_at_once_are_all_heard_on_another_node() {
    let installation = Installation::on_shared_server();
    let (one, two) = (bell(&installation).await, bell(&installation).await);
    is_heard(&one, &two, 1).await;
    let rings: Vec<Ring> = (0..=255).map(|number| Ring { client: client(number), last_seq: 9 }).collect();
    one.ring(&rings).await;
    let mut heard = std::collections::HashSet::new();
    while heard.len() < 256 {
        heard.extend(two.wait().await.into_iter().filter(|ring| ring.last_seq == 9).map(|ring| ring.client));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bell_whose_server_is_gone_rings_here_and_later_everywhere_again() {
    let server = Server::start();
    let installation = Installation::on(&server.urls);
    let (one, two) = (bell(&installation).await, bell(&installation).await);
    is_heard(&one, &two, 1).await;
    server.kill();
    is_heard(&one, &one, 2).await;
    server.restart();
    is_heard(&one, &two, 3).await;
}
