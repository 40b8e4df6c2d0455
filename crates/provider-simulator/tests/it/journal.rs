//! What a restart of the in-process simulator keeps.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use provider::{Provider, SubmitError};
use provider_simulator::{Config, Journal, OpenError, Simulator, Witness};
use tempfile::tempdir;
use tokio::time::timeout;

use crate::support::{batch, message, stored_reports, submission};

async fn open(path: &Path) -> Simulator {
    Simulator::open(Config { journal: Some(Journal::new(path)), ..Config::default() }).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn reports_that_were_not_stored_come_after_a_restart() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("journal");
    let first = open(&path).await;
    let refs = first.submit(&submission(1, 0)).await.unwrap().refs;
    first.submit(&submission(2, 1)).await.unwrap();
    let given = stored_reports(&first, 1).await;
    first.close().await;

    let second = open(&path).await;
    let left = stored_reports(&second, 1).await;
    assert_eq!(given[0].provider_ref, refs[0]);
    assert_ne!(left[0], given[0]);
    assert!(timeout(Duration::from_secs(100), second.next_reports()).await.is_err());
    second.close().await;

    let third = open(&path).await;
    assert!(timeout(Duration::from_secs(100), third.next_reports()).await.is_err());
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_hand_at_the_restart_comes_again() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("journal");
    let first = open(&path).await;
    first.submit(&submission(1, 0)).await.unwrap();
    let in_hand = batch(&first).await;
    drop(first);
    assert_eq!(stored_reports(&open(&path).await, 1).await, in_hand.reports);
}

#[tokio::test(start_paused = true)]
async fn the_past_of_a_message_survives_restarts() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("journal");
    let mut submission = submission(1, 22);
    for attempt in 1..=2 {
        let simulator = open(&path).await;
        submission.attempt_ref.attempt = attempt;
        let refused = simulator.submit(&submission).await;
        assert!(matches!(refused, Err(SubmitError::Rejected { is_permanent: false, .. })), "{refused:?}");
        simulator.close().await;
    }
    submission.attempt_ref.attempt = 3;
    open(&path).await.submit(&submission).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn references_of_two_runs_differ() {
    let first = Simulator::open(Config::default()).await.unwrap();
    let second = Simulator::open(Config::default()).await.unwrap();
    let submission = submission(1, 0);
    assert_ne!(first.submit(&submission).await, second.submit(&submission).await);
}

#[tokio::test(start_paused = true)]
async fn a_submit_is_in_the_journal_before_its_answer_even_if_nobody_waits() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("journal");
    let simulator = open(&path).await;
    let submission = submission(1, 0);
    // Polled once, then dropped.
    assert!(timeout(Duration::ZERO, simulator.submit(&submission)).await.is_err());
    simulator.close().await;
    assert_eq!(Witness::read(&path).unwrap().times_taken(message(1)), 1);
    assert_eq!(stored_reports(&open(&path).await, 1).await[0].attempt_ref, Some(submission.attempt_ref));
}

#[tokio::test(start_paused = true)]
async fn a_line_cut_by_a_crash_does_not_count_and_a_broken_one_is_refused() {
    let directory = tempdir().unwrap();
    let (path, other) = (directory.path().join("journal"), directory.path().join("witness"));
    for journal in [Journal::new(&path), Journal::witness(&other)] {
        let path = journal.path.clone();
        let config = Config { journal: Some(journal), ..Config::default() };
        let simulator = Simulator::open(config.clone()).await.unwrap();
        simulator.submit(&submission(1, 40)).await.unwrap();
        simulator.close().await;
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"submit\":{\"at\"")
            .unwrap();
        let simulator = Simulator::open(config).await.unwrap();
        simulator.submit(&submission(2, 40)).await.unwrap();
        simulator.close().await;
        assert_eq!(Witness::read(&path).unwrap().times_taken(message(2)), 1);
    }
    std::fs::write(&path, "{}\n").unwrap();
    let config = Config { journal: Some(Journal::new(&path)), ..Config::default() };
    assert!(matches!(Simulator::open(config).await, Err(OpenError::Line { line: 1, .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}\n");
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn only_the_owner_can_read_a_journal() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempdir().unwrap();
    for journal in [Journal::new(directory.path().join("a")), Journal::witness(directory.path().join("b"))] {
        let path = journal.path.clone();
        Simulator::open(Config { journal: Some(journal), ..Config::default() }).await.unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
