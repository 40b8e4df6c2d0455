//! A database is restored from its backup, and what came after the backup never was: nobody skips or repeats an event
//! without a word, and what Redis, NATS and the provider still know of it decides nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use herald_sdk::tonic::Code;
use herald_sdk::v1::subscribe_events_response::Frame;
use herald_sdk::v1::{self, ErrorReason};
use herald_sdk::{Client, Receipt};

use crate::support::{
    Account, Backup, Herald, Mode, NewAccount, Setup, SimulatorProcess, in_both_modes, nothing_held, refusal,
    sms, soon, span,
};

in_both_modes! {
    a_restored_backup_is_the_whole_truth_again,
}

/// Messages before and after the backup.
const COUNT: usize = 20;
/// After this nothing is waited for: those that were under way when the backup was made are settled.
const REPORT_TIMEOUT: Duration = Duration::from_secs(10);

async fn a_restored_backup_is_the_whole_truth_again(mode: Mode) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The provider, NATS and Redis go on through the restore, and remember.
    let simulator = SimulatorProcess::start(folder.path(), 1, 20.0).await;
    let setup = Setup::default().set("HERALD_SIMULATOR__ADDRESS", simulator.address);
    let mut herald = Herald::start(mode, setup).await;
    let mut new = NewAccount::default();
    new.client.report_timeout = Some(span(REPORT_TIMEOUT));
    let account = herald.account(new).await;

    // The past: some of it is delivered, some is under way, and some will never be reported.
    let first = send(&account.client, "first", "+12025550100").await;
    nothing_held(&account.client).await;
    let mut past = vec![first];
    for number in 1..COUNT {
        let to = ["+12025550100", "+12025550140", "+12025550142"][number % 3];
        past.push(send(&account.client, &format!("past-{number}"), to).await);
    }
    let (_, token_of_past) = read(&account.client, 10).await;
    let backup = back_up(&mut herald).await;

    // The future that will be lost: more messages, more credit, a later position in the log.
    let lost = reconnected(&herald, &account);
    let mut future = Vec::new();
    for number in 0..COUNT {
        future.push(send(&lost, &format!("future-{number}"), "+12025550100").await);
    }
    let top_up = v1::TopUpRequest {
        client_id: account.id.clone(),
        amount_micros: 5_000_000,
        idempotency_key: "future".into(),
        ..Default::default()
    };
    herald.operator().top_up(top_up.clone()).await.expect("credit is booked");
    let end_of_future = nothing_held(&lost).await;
    let events = usize::try_from(end_of_future.seq).expect("it is positive");
    let (_, token_of_future) = read(&lost, events).await;

    herald.stop().await;
    backup.restore(herald.database()).await;
    herald.run_to_the_end("migrate", &["migrate", "--new-epoch"]).await;
    herald.start_server().await;

    let restored = reconnected(&herald, &account);
    let impatient = herald.impatient_client(&account.key);
    for token in [token_of_past, token_of_future] {
        let request = v1::SubscribeEventsRequest { resume_token: token, ..Default::default() };
        let answer = impatient.raw().events().subscribe_events(request).await;
        refusal(answer, Code::InvalidArgument, ErrorReason::ResumeTokenInvalid);
    }
    let again = send(&restored, "first", "+12025550100").await;
    assert!(again.replayed, "its key was in the backup");
    assert_eq!(again.message, past[0].message);
    let anew = send(&restored, "future-0", "+12025550100").await;
    assert!(!anew.replayed, "a copy of a call that never was has decided");
    assert_ne!(anew.message.id, future[0].message.id);
    for lost in &future {
        let answer = impatient.get_message(&lost.message.id).await;
        refusal(answer, Code::NotFound, ErrorReason::ResourceNotFound);
    }
    let booked = herald.operator().top_up(top_up).await.expect("credit is booked");
    assert!(!booked.replayed, "its key was not in the backup");

    let end = nothing_held(&restored).await;
    let (events, _) = read(&restored, usize::try_from(end.seq).expect("it is positive")).await;
    assert!(events.iter().map(|event| event.seq).eq(1..=end.seq), "the log has a gap or a repetition");
    let told: BTreeSet<&str> =
        events.iter().map(|event| event.message_id.as_str()).filter(|id| !id.is_empty()).collect();
    let known: BTreeSet<&str> =
        past.iter().chain([&anew]).map(|receipt| receipt.message.id.as_str()).collect();
    assert_eq!(told, known, "the log tells of these messages");
    herald.finish().await;
}

/// PostgreSQL's while the server works; SQLite's file while it does not.
async fn back_up(herald: &mut Herald) -> Backup {
    let is_file = herald.database().url().starts_with("sqlite:");
    if is_file {
        herald.stop().await;
    }
    let backup = Backup::take(herald.database(), herald.path("backup"));
    if is_file {
        herald.start_server().await;
    }
    backup
}

/// The server may have another port than when the account was made.
fn reconnected(herald: &Herald, account: &Account) -> Client {
    herald.client(&account.key)
}

async fn send(client: &Client, key: &str, to: &str) -> Receipt {
    let request = v1::SendMessageRequest { idempotency_key: key.into(), ..sms(to, "Hello") };
    client.send(request).await.expect("the send is accepted")
}

/// The first `count` events of the log, and the token after the last of them.
async fn read(client: &Client, count: usize) -> (Vec<v1::Event>, String) {
    let request = v1::SubscribeEventsRequest { from_oldest: true, ..Default::default() };
    let mut frames =
        client.raw().events().subscribe_events(request).await.expect("a subscription").into_inner();
    let (mut events, mut token) = (Vec::new(), String::new());
    while events.len() < count {
        let frame = soon("a frame", frames.message()).await.expect("no error").expect("it goes on");
        if let Some(Frame::Event(event)) = frame.frame {
            events.push(event);
            token = frame.resume_token;
        }
    }
    (events, token)
}
