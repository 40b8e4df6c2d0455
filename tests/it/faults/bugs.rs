//! Each bug that can be planted breaks a promise, and the story of that promise finds it: the same story, run once more
//! by a process that plants the bug in its servers.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use delivery::faults::Bug;
use delivery::plan::Wanted;
use herald_sdk::tonic::Code;
use herald_sdk::v1::message::Status;
use herald_sdk::v1::{self, client::CaptureOn};
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::support::{
    Account, Herald, Mode, NewAccount, PATIENCE, PLANTED, Setup, SimulatorProcess, every_message,
    nothing_held, share_machine, sms, soon, tireless, until,
};

/// Makes two tests of each story: that it holds, and that it finds its bug, saying why.
macro_rules! stories {
    ($($story:ident finds $bug:ident by $word:literal,)+) => {
        $(mod $story {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn holds() {
                super::$story().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn finds_its_bug() {
                let story = concat!("faults::bugs::", stringify!($story), "::holds");
                super::assert_found(delivery::faults::Bug::$bug, story, $word).await;
            }
        })+

        /// Those of other files are in [`ELSEWHERE`].
        const HERE: &[Bug] = &[$(Bug::$bug),+];
    };
}

stories! {
    what_is_acknowledged_is_committed finds AckBeforeCommit by "the message is there",
    a_retry_is_offered_though_its_message_was_offered_before finds BareOfferName by "was not delivered in time",
    credit_is_resolved_once finds DoubleResolve by "the books",
    a_report_that_was_acknowledged_is_applied finds MissingInbox by "it was delivered",
    an_outcome_that_comes_too_late_changes_nothing finds NoFence by "each event once",
    what_no_crash_has_offered_is_offered_by_the_sweeper finds NoSweeper by "was not delivered in time",
    a_claim_whose_worker_died_is_not_tried_again finds PlainRetry by "submitted once",
    what_redis_alone_knows_never_was finds RedisDecides by "the send is accepted",
    senders_and_workers_of_one_client_take_turns finds SeqWithoutLock by "each is there",
    transactions_of_many_clients_never_deadlock finds WrongLockOrder by "no deadlock: Conflict",
}

/// Bugs that a story of another file finds, and what it says then.
const ELSEWHERE: &[(Bug, &str, &str)] = &[(
    Bug::MissingClientPredicate,
    "isolation::a_foreign_id_is_answered_exactly_as_an_absent_one::on_engines",
    "by message_id",
)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stories_of_other_files_find_their_bugs() {
    for (bug, story, word) in ELSEWHERE {
        assert_found(*bug, story, word).await;
    }
}

#[test]
fn every_bug_has_a_story_that_finds_it() {
    let found = |bug: &Bug| HERE.contains(bug) || ELSEWHERE.iter().any(|(each, ..)| each == bug);
    assert!(Bug::ALL.iter().all(found));
}

/// The story fails when the bug is there, and says `word`.
async fn assert_found(bug: Bug, story: &str, word: &str) {
    let _machine = share_machine().await;
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command
        .args(["--exact", story, "--nocapture"])
        .env(PLANTED, format!("{bug:?}"))
        // What the story does itself, without a server.
        .env("FAULTS", format!("plant={bug:?}"))
        .stdin(Stdio::null());
    // A story that fails by its patience says so before ours ends.
    let ended = tokio::time::timeout(3 * PATIENCE, command.kill_on_drop(true).output()).await;
    let ended = ended.unwrap_or_else(|_| panic!("{story} does not end")).expect("it runs");
    let printed = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
    assert!(printed.contains("running 1 test"), "there is no story {story}");
    assert_eq!(ended.status.code(), Some(101), "{story} does not notice {bug:?}:\n{printed}");
    assert!(printed.contains(word), "{story} fails for another reason than {bug:?}:\n{printed}");
}

/// A server at a fixed address that starts with these faults; and an account at it.
async fn faulty(faults: &str, setup: Setup, new: NewAccount) -> (Herald, Account) {
    let mut herald = Herald::start(Mode::Engines, setup.at_one_address()).await;
    let account = herald.account(new).await;
    let account = Account { client: tireless(herald.config(&account.key)), ..account };
    herald.stop().await;
    herald.start_faulty(faults);
    (herald, account)
}

async fn delivered(account: &Account, id: &str) {
    let look = async || {
        let message = account.client.get_message(id).await.expect("the message is there");
        (message.status() == Status::Delivered).then_some(())
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), until("delivery", look)).await;
    assert!(in_time.is_ok(), "{id} was not delivered in time");
}

async fn what_is_acknowledged_is_committed() {
    let (mut herald, account) = faulty("", Setup::default(), NewAccount::default()).await;
    let sent = account.client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted").message;
    herald.kill().await;
    herald.start_server().await;
    account.client.get_message(&sent.id).await.expect("the message is there");
    herald.finish().await;
}

async fn a_retry_is_offered_though_its_message_was_offered_before() {
    let mut herald = Herald::start(Mode::Engines, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let sent = account.client.send(sms("+12025550121", "Hello")).await.expect("the send is accepted").message;
    delivered(&account, &sent.id).await;
    herald.finish().await;
}

async fn credit_is_resolved_once() {
    let mut new = NewAccount::default();
    new.client.capture_on = CaptureOn::Sent.into();
    let mut herald = Herald::start(Mode::Engines, Setup::default()).await;
    let account = herald.unsettled_account(new).await;
    // What it holds would pay for a second capture.
    let later = v1::SendMessageRequest {
        schedule_time: Some((SystemTime::now() + Duration::from_secs(3_600)).into()),
        ..sms("+12025550100", "Hello")
    };
    account.client.send(later).await.expect("the send is accepted");
    let sent = account.client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted").message;
    delivered(&account, &sent.id).await;
    let balance = account.client.balance().await.expect("the balance");
    assert_eq!(balance.held_micros, crate::support::PART_PRICE, "the books of the one that is scheduled");
    herald.audit().await;
    herald.finish().await;
}

async fn a_report_that_was_acknowledged_is_applied() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let simulator = SimulatorProcess::start(folder.path(), 1, 20.0).await;
    let setup = Setup::default().set("HERALD_SIMULATOR__ADDRESS", simulator.address);
    let (mut herald, account) = faulty("", setup, NewAccount::default()).await;
    let sent = account.client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted").message;
    let id = sent.id.parse().expect("the server gives ids");
    until("the acknowledgement of its report", async || {
        let witness = simulator.witness();
        (witness.times_taken(id) == 1 && witness.open_reports() == 0).then_some(())
    })
    .await;
    herald.kill().await;
    herald.start_server().await;
    nothing_held(&account.client).await;
    let message = account.client.get_message(&sent.id).await.expect("the message is there");
    assert_eq!(message.status(), Status::Delivered, "it was delivered");
    herald.finish().await;
}

async fn an_outcome_that_comes_too_late_changes_nothing() {
    let (mut herald, account) =
        faulty("stall=submit.answer+4000", Setup::default(), NewAccount::default()).await;
    let sent = account.client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted").message;
    // The report overtakes the answer.
    delivered(&account, &sent.id).await;
    // It writes what it was about to write.
    herald.stop().await;
    herald.start_server().await;
    let message = account.client.get_message(&sent.id).await.expect("the message is there");
    assert_eq!(message.status(), Status::Delivered, "each event once");
    let events =
        account.client.list_events(v1::ListEventsRequest::default()).await.expect("the events").events;
    let kinds: Vec<&str> = events
        .iter()
        .filter(|event| event.message_id == sent.id)
        .map(|event| event.r#type.as_str())
        .filter(|kind| kind.starts_with("message."))
        .collect();
    assert_eq!(
        kinds,
        ["message.queued", "message.sending", "message.sent", "message.delivered"],
        "each event once"
    );
    herald.finish().await;
}

async fn what_no_crash_has_offered_is_offered_by_the_sweeper() {
    let (mut herald, account) =
        faulty("crash=accept.commit+0", Setup::default(), NewAccount::default()).await;
    let client = account.client.clone();
    let sending = tokio::spawn(async move { client.send(sms("+12025550100", "Hello")).await });
    herald.crashed_at("accept.commit").await;
    herald.start_server().await;
    let sent = soon("the answer", sending).await.expect("no panic").expect("the send is accepted");
    assert!(sent.replayed);
    delivered(&account, &sent.message.id).await;
    herald.finish().await;
}

async fn a_claim_whose_worker_died_is_not_tried_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let simulator = SimulatorProcess::start(folder.path(), 1, 20.0).await;
    let setup = Setup::default()
        .set("HERALD_SIMULATOR__ADDRESS", simulator.address)
        .set("HERALD_TIMING__LEASE_MS", 5_000);
    let (mut herald, account) = faulty("crash=submit.answer+0", setup, NewAccount::default()).await;
    let sent = account.client.send(sms("+12025550140", "Hello")).await.expect("the send is accepted").message;
    herald.crashed_at("submit.answer").await;
    herald.start_server().await;
    nothing_held(&account.client).await;
    let submits = simulator.witness().submits(sent.id.parse().expect("the server gives ids")).len();
    assert_eq!(submits, 1, "submitted once");
    let message = account.client.get_message(&sent.id).await.expect("the message is there");
    assert_eq!(message.status(), Status::Unknown);
    herald.finish().await;
}

async fn what_redis_alone_knows_never_was() {
    let faults = "stall=accept.write+1000,crash=accept.write+0";
    let (mut herald, account) = faulty(faults, Setup::default(), NewAccount::default()).await;
    // Until it serves.
    account.client.balance().await.expect("the balance");
    let request = v1::SendMessageRequest { idempotency_key: "once".into(), ..sms("+12025550100", "Hello") };
    let impatient = herald.impatient_client(&account.key);
    let error = impatient.send(request.clone()).await.expect_err("the server crashes");
    assert!(
        matches!(error.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled),
        "{error}"
    );
    herald.crashed_at("accept.write").await;
    herald.start_server().await;
    let receipt = herald.impatient_client(&account.key).send(request).await.expect("the send is accepted");
    assert!(!receipt.replayed);
    assert_eq!(every_message(&account.client).await.len(), 1);
    delivered(&account, &receipt.message.id).await;
    herald.finish().await;
}

async fn senders_and_workers_of_one_client_take_turns() {
    let mut herald = Herald::start(Mode::Engines, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let mut senders = JoinSet::new();
    for _ in 0..16 {
        let client = herald.impatient_client(&account.key);
        senders.spawn(async move {
            for _ in 0..20 {
                client.send(sms("+12025550100", "Hello")).await.expect("each is there");
            }
        });
    }
    while let Some(sent) = soon("the last send", senders.join_next()).await {
        sent.expect("each is there");
    }
    let settled = tokio::time::timeout(Duration::from_secs(30), nothing_held(&account.client)).await;
    let balance = settled.expect("each is there, and settled in time");
    assert_eq!(every_message(&account.client).await.len(), 320, "each is there");
    // A top-up, and of each message: queued, sending, sent, delivered.
    assert_eq!(balance.seq, 1 + 4 * 320, "each is there");
    herald.finish().await;
}

async fn transactions_of_many_clients_never_deadlock() {
    let mut herald = Herald::start(Mode::Engines, Setup::default()).await;
    let mut clients = BTreeSet::new();
    for _ in 0..20 {
        let account = herald.account(NewAccount::default()).await;
        clients.insert(account.id.parse().expect("the server gives ids"));
    }
    let store = herald.database().open().await;
    let wanted = Wanted { clients, ..Wanted::default() };
    let mut transactions = JoinSet::new();
    for _ in 0..8 {
        let (store, wanted) = (store.clone(), wanted.clone());
        transactions.spawn(async move {
            for _ in 0..25 {
                let mut transaction = store.begin().await.expect("no deadlock");
                transaction.load(&wanted).await.expect("no deadlock");
                transaction.commit().await.expect("no deadlock");
            }
        });
    }
    while let Some(ended) = soon("the last transaction", transactions.join_next()).await {
        ended.expect("no deadlock");
    }
    herald.finish().await;
}
