//! The simulator as its own process: here a task, reached over loopback.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use message::report::ReportState;
use provider::{Provider, SubmitError};
use provider_simulator::{Config, Journal, RemoteConfig, RemoteSimulator, ServeError, Witness, serve};
use tempfile::{TempDir, tempdir};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{batch, message, stored_reports, submission};

struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    async fn start(witness: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let config =
            Config { time_scale: 100.0, journal: Some(Journal::witness(witness)), ..Config::default() };
        let task = tokio::spawn(serve(listener, config, shutdown.clone()));
        Self { address, shutdown, task }
    }

    fn client(&self) -> RemoteSimulator {
        client(self.address)
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn client(address: SocketAddr) -> RemoteSimulator {
    RemoteSimulator::new(RemoteConfig {
        answer_timeout: Duration::from_secs(30),
        ..RemoteConfig::new("remote", address.to_string())
    })
}

fn hasty(address: SocketAddr) -> RemoteSimulator {
    RemoteSimulator::new(RemoteConfig {
        answer_timeout: Duration::from_millis(100),
        ..RemoteConfig::new("remote", address.to_string())
    })
}

fn witness_file() -> (TempDir, PathBuf) {
    let directory = tempdir().unwrap();
    let path = directory.path().join("witness");
    (directory, path)
}

#[tokio::test]
async fn submits_are_pipelined_and_each_is_answered_reported_and_witnessed() {
    let (_directory, path) = witness_file();
    let server = Server::start(&path).await;
    let client = server.client();
    let submissions: Vec<_> = (1..=500).map(|number| submission(number, 0)).collect();
    let mut refs: Vec<_> = join_all(submissions.iter().map(|one| client.submit(one)))
        .await
        .into_iter()
        .map(|accepted| accepted.unwrap().refs.remove(0))
        .collect();
    let reports = stored_reports(&client, 500).await;
    let mut reported: Vec<_> = reports.iter().map(|report| report.provider_ref.clone()).collect();
    refs.sort();
    reported.sort();
    assert_eq!(reported, refs);
    refs.dedup();
    assert_eq!(refs.len(), 500);

    let witness = Witness::read(&path).unwrap();
    assert_eq!(witness.messages().count(), 500);
    assert!(witness.messages().all(|(message, submits)| {
        submits.len() == 1
            && witness.times_taken(message) == 1
            && submits[0].order.to.as_str() == "+12025550100"
    }));
    assert!(!std::fs::read_to_string(&path).unwrap().contains("Hello"));
}

#[tokio::test]
async fn each_refusal_arrives_as_what_it_is() {
    let (_directory, path) = witness_file();
    let server = Server::start(&path).await;
    let client = server.client();
    let permanent = client.submit(&submission(1, 10)).await;
    assert!(matches!(permanent, Err(SubmitError::Rejected { is_permanent: true, .. })), "{permanent:?}");
    let temporary = client.submit(&submission(2, 20)).await;
    assert!(matches!(temporary, Err(SubmitError::Rejected { is_permanent: false, .. })), "{temporary:?}");
    let throttled = client.submit(&submission(3, 30)).await;
    assert_eq!(throttled, Err(SubmitError::Throttled { retry_after: Duration::from_millis(10) }));
    let down = client.submit(&submission(4, 31)).await;
    assert!(matches!(down, Err(SubmitError::Unavailable { .. })), "{down:?}");
    server.stop().await;
    assert!(Witness::read(&path).unwrap().messages().all(|(_, submits)| !submits[0].answer.is_taken()));
}

#[tokio::test]
async fn no_listener_means_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let result = client(address).submit(&submission(1, 0)).await;
    assert!(matches!(result, Err(SubmitError::Unavailable { .. })), "{result:?}");
}

#[tokio::test]
async fn a_connection_lost_after_the_frame_left_means_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(listener.local_addr().unwrap());
    let cut = async {
        let (stream, _) = listener.accept().await.unwrap();
        BufReader::new(stream).read_line(&mut String::new()).await.unwrap();
    };
    let submission = submission(1, 0);
    let (result, ()) = tokio::join!(client.submit(&submission), cut);
    assert!(matches!(result, Err(SubmitError::Unknown { .. })), "{result:?}");
}

#[tokio::test]
async fn a_withheld_answer_is_unknown_after_the_time_out_and_reported_later() {
    let (_directory, path) = witness_file();
    let server = Server::start(&path).await;
    let client = hasty(server.address);
    let result = client.submit(&submission(1, 41)).await;
    assert!(matches!(result, Err(SubmitError::Unknown { .. })), "{result:?}");
    let reports = stored_reports(&client, 1).await;
    assert_eq!(reports[0].state, ReportState::Delivered);
    assert_eq!(reports[0].attempt_ref, Some(submission(1, 41).attempt_ref));
}

#[tokio::test]
async fn a_client_connects_again_when_the_server_is_back() {
    let (_directory, path) = witness_file();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(listener.local_addr().unwrap());
    let submission = submission(1, 0);
    let cut = async { drop(listener.accept().await.unwrap()) };
    let (lost, ()) = tokio::join!(client.submit(&submission), cut);
    assert!(lost.is_err());
    let config = Config { time_scale: 100.0, journal: Some(Journal::witness(&path)), ..Config::default() };
    let _server = tokio::spawn(serve(listener, config, CancellationToken::new()));
    while let Err(error) = client.submit(&submission).await {
        assert!(matches!(error, SubmitError::Unavailable { .. }), "{error:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn reports_and_counts_survive_a_restart_of_the_server() {
    let (_directory, path) = witness_file();
    let server = Server::start(&path).await;
    let client = hasty(server.address);
    let refs = client.submit(&submission(1, 1)).await.unwrap().refs;
    assert!(matches!(client.submit(&submission(2, 42)).await, Err(SubmitError::Unknown { .. })));
    server.stop().await;
    assert_eq!(Witness::read(&path).unwrap().open_reports(), 1);

    let server = Server::start(&path).await;
    let client = server.client();
    let mut again = submission(2, 42);
    again.attempt_ref.attempt = 2;
    let second_refs = client.submit(&again).await.unwrap().refs;
    let mut reported: Vec<_> =
        stored_reports(&client, 2).await.into_iter().map(|report| report.provider_ref).collect();
    let mut expected = [refs, second_refs].concat();
    reported.sort();
    expected.sort();
    assert_eq!(reported, expected);
    let witness = Witness::read(&path).unwrap();
    assert_eq!((witness.submits(message(2)).len(), witness.times_taken(message(2))), (2, 2));
}

#[tokio::test]
async fn a_report_comes_again_until_it_is_stored_on_whatever_connection() {
    let (_directory, path) = witness_file();
    let server = Server::start(&path).await;
    let first = server.client();
    first.submit(&submission(1, 0)).await.unwrap();
    let refused = batch(&first).await;
    drop(refused.stored);
    let in_hand = batch(&first).await;
    assert_eq!(in_hand.reports, refused.reports);
    first.close();

    let second = server.client();
    assert_eq!(stored_reports(&second, 1).await, refused.reports);
    // A later submit on the same connection follows the word that the batch is stored.
    second.submit(&submission(2, 40)).await.unwrap();
    server.stop().await;
    assert_eq!(Witness::read(&path).unwrap().open_reports(), 0);
}

#[tokio::test]
async fn all_that_was_answered_is_in_the_log_when_the_server_dies() {
    let (_directory, path) = witness_file();
    let server = Server::start(&path).await;
    let client = server.client();
    let submissions: Vec<_> = (1..=200).map(|number| submission(number, 40)).collect();
    let answers = join_all(submissions.iter().map(|one| client.submit(one))).await;
    // No orderly end: what is read now is what a kill would leave.
    let witness = Witness::read(&path).unwrap();
    server.task.abort();
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(witness.messages().count(), 200);
}

#[tokio::test]
async fn a_line_that_is_no_frame_ends_its_connection_and_no_other() {
    let (_directory, path) = witness_file();
    let server = Server::start(&path).await;
    let zero_parts = format!(
        "{{\"frame\":\"submit\",\"id\":1,\"attempt_ref\":\"{}\",\"to\":\"+12025550100\",\"part_count\":0,\
         \"content_bytes\":0,\"content_sha256\":\"\",\"answer_timeout_micros\":1}}\n",
        submission(1, 0).attempt_ref
    );
    for junk in [b"junk\n".as_slice(), b"{}\n", b"\xff\xfe\n", zero_parts.as_bytes()] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(junk).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    }
    server.client().submit(&submission(2, 0)).await.unwrap();
    server.stop().await;
    assert!(Witness::read(&path).unwrap().submits(message(1)).is_empty());
}

#[tokio::test]
async fn a_closed_client_is_unavailable_and_has_no_reports() {
    let (_directory, path) = witness_file();
    let server = Server::start(&path).await;
    let client = server.client();
    client.submit(&submission(1, 1)).await.unwrap();
    client.close();
    assert!(matches!(client.submit(&submission(2, 0)).await, Err(SubmitError::Unavailable { .. })));
    assert!(client.next_reports().await.is_none());
}
