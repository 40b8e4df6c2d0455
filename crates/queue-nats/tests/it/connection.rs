//! Connections that do not come about, and what is said of them.

use std::error::Error;

use futures_util::StreamExt;
use queue_nats::{ConnectError, Connection, Credentials, NatsQueue, Options, Servers, StreamError};

use crate::server::{Installation, Server};

async fn open(urls: &[&str], credentials: Option<Credentials>) -> Result<Connection, ConnectError> {
    let urls = urls.iter().map(|&url| url.to_owned()).collect();
    Connection::open(Servers { urls, name: "test".into(), credentials, ..Servers::default() }).await
}

/// The error with its causes.
fn told(error: &(dyn Error + 'static)) -> String {
    std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_the_password() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = open(&[&format!("nats://me:hush@127.0.0.1:{port}")], None).await.map(|_| ()).unwrap_err();
    let told = told(&error);
    assert!(told.contains(&format!("127.0.0.1:{port}")) && !told.contains("hush"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_refused_and_the_right_one_is_let_in_wherever_it_stands() {
    let server = Server::start();
    server.kill();
    server.configure(|settings| settings + "authorization { token: \"open/sesame\" }\n");
    server.restart();
    let host = server.urls.trim_start_matches("nats://");
    let refused = open(&[&format!("nats://guess@{host}")], None).await.map(|_| ()).unwrap_err();
    let said = told(&refused);
    assert!(said.contains(host) && said.contains("authorization") && !said.contains("guess"), "{said}");
    open(&[&format!("nats://open%2Fsesame@{host}")], None).await.unwrap();
    let connection = open(&[host], Some(Credentials::Token("open/sesame".into()))).await.unwrap();
    NatsQueue::start(&connection, Options::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_jetstream_is_refused_at_the_start() {
    let server = Server::start();
    server.kill();
    server.configure(|settings| settings.replace("jetstream", "# jetstream"));
    server.restart();
    let installation = Installation::on(&server.urls);
    let connection = installation.connect().await;
    let refused = NatsQueue::start(&connection, installation.options).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, StreamError::NoJetStream), "{}", told(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_waits_for_the_leader_of_a_cluster() {
    let server = Server::start_cluster();
    let mut installation = Installation::on(&server.urls);
    installation.options.replicas = 3;
    for name in ["two", "three"] {
        server.signal(name, "-KILL");
    }
    installation.urls.truncate(1);
    let watcher = async_nats::connect(installation.urls[0].as_str()).await.unwrap();
    let mut asked = watcher.subscribe("$JS.API.STREAM.INFO.*").await.unwrap();
    watcher.flush().await.unwrap();
    let connection = installation.connect().await;
    let start =
        tokio::spawn(async move { NatsQueue::start(&connection, installation.options).await.map(|_| ()) });
    // The second time after the first was not answered.
    for _ in 0..2 {
        asked.next().await.unwrap();
    }
    server.restart_those(&["two", "three"]);
    start.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_that_no_subject_can_have_is_refused() {
    let installation = Installation::on_shared_server();
    let connection = installation.connect().await;
    for prefix in ["no-dot", ".", "a..", "a b.", "*.", ">."] {
        let options = Options { prefix: prefix.into(), ..installation.options.clone() };
        let refused = NatsQueue::start(&connection, options).await.map(|_| ()).unwrap_err();
        assert!(matches!(refused, StreamError::MalformedPrefix(_)), "{prefix}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_made_by_many_nodes_at_once_and_brought_up_to_date() {
    let mut installation = Installation::on_shared_server();
    let starts = (0..8).map(|_| installation.node());
    futures_util::future::join_all(starts).await;
    installation.options.duplicate_window = std::time::Duration::from_secs(60);
    installation.node().await;
    let jetstream = installation.jetstream().await;
    let stream = jetstream.get_stream(&installation.options.stream).await.unwrap();
    assert_eq!(stream.cached_info().config.duplicate_window, installation.options.duplicate_window);
}
