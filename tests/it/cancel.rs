//! Cancel: what no attempt has taken ends, and its credit goes back, once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use herald_sdk::tonic::Code;
use herald_sdk::v1::message::{Credit, Status};
use herald_sdk::v1::transaction::Type;
use herald_sdk::v1::{self, ErrorReason};
use herald_sdk::{Client, Error};
use tokio::task::JoinSet;

use crate::support::{
    Herald, Mode, NewAccount, PART_PRICE, Setup, SimulatorProcess, every_message, in_both_modes,
    nothing_held, refusal, sms, soon, until,
};

in_both_modes! {
    what_waits_is_canceled_and_its_credit_given_back_once,
    what_is_under_way_or_over_is_not_canceled_and_says_its_status,
    of_a_cancel_and_a_worker_exactly_one_wins_and_the_money_moves_once,
}

async fn what_waits_is_canceled_and_its_credit_given_back_once(mode: Mode) {
    // One place at the provider, and retries as slow as in life: what waits stays as it is.
    let setup = Setup::default()
        .set("HERALD_SIMULATOR__WINDOW", 1)
        .set("HERALD_SIMULATOR__ANSWER_TIMEOUT_MS", 10_000)
        .set("HERALD_TIME_SCALE", 1);
    let mut herald = Herald::start(mode, setup).await;
    let account = herald.account(NewAccount::default()).await;
    let client = &account.client;
    let scheduled = v1::SendMessageRequest {
        schedule_time: Some((SystemTime::now() + Duration::from_secs(3_600)).into()),
        ..sms("+12025550100", "Hello")
    };
    let scheduled = client.send(scheduled).await.expect("the send is accepted").message.id;
    cancel_and_check(client, &scheduled, Status::Scheduled).await;

    let failed = client.send(sms("+12025550120", "Hello")).await.expect("the send is accepted").message.id;
    reaches(client, &failed, Status::FailedTemp).await;
    cancel_and_check(client, &failed, Status::FailedTemp).await;

    // It takes the only place, without an answer.
    let blocks = client.send(sms("+12025550141", "Hello")).await.expect("the send is accepted").message.id;
    reaches(client, &blocks, Status::Sending).await;
    let queued = client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted").message.id;
    cancel_and_check(client, &queued, Status::Queued).await;
    herald.finish().await;
}

/// The message has this status and is canceled; canceling it once more changes nothing.
async fn cancel_and_check(client: &Client, id: &str, status: Status) {
    let before = client.get_message(id).await.expect("the message");
    assert_eq!((before.status(), before.credit()), (status, Credit::Held));
    let balance = client.balance().await.expect("the balance");
    let canceled = cancel(client, id).await.expect("it waits");
    assert_eq!((canceled.status(), canceled.credit()), (Status::Canceled, Credit::Released));
    assert_eq!(canceled.history.last().map(v1::StatusChange::status), Some(Status::Canceled));
    let after = client.balance().await.expect("the balance");
    assert_eq!(after.held_micros, balance.held_micros - PART_PRICE);
    assert_eq!(after.available_micros, balance.available_micros + PART_PRICE);
    let again = cancel(client, id).await.expect("what is canceled is answered as it is");
    assert_eq!(again, canceled);
    let unchanged = client.balance().await.expect("the balance");
    assert_eq!(
        (unchanged.available_micros, unchanged.held_micros),
        (after.available_micros, after.held_micros)
    );
    assert_eq!(movements(client).await[id], [Type::Hold, Type::Release]);
}

async fn what_is_under_way_or_over_is_not_canceled_and_says_its_status(mode: Mode) {
    // An attempt without an answer is under way for long enough to be looked at.
    let setup = Setup::default().set("HERALD_SIMULATOR__ANSWER_TIMEOUT_MS", 10_000);
    let mut herald = Herald::start(mode, setup).await;
    let account = herald.account(NewAccount::default()).await;
    let client = &account.client;
    let refused = async |id: &str, status: &str| {
        let error =
            refusal(cancel(client, id).await, Code::FailedPrecondition, ErrorReason::MessageNotCancelable);
        assert_eq!(error.info("status"), Some(status));
    };
    // Taken without an answer, and settled at the limit.
    let open = client.send(sms("+12025550142", "Hello")).await.expect("the send is accepted").message.id;
    reaches(client, &open, Status::Sending).await;
    refused(&open, "SENDING").await;
    reaches(client, &open, Status::Unknown).await;
    refused(&open, "UNKNOWN").await;
    for (to, status, word) in [
        ("+12025550140", Status::Sent, "SENT"),
        ("+12025550100", Status::Delivered, "DELIVERED"),
        ("+12025550110", Status::FailedPerm, "FAILED_PERM"),
    ] {
        let id = client.send(sms(to, "Hello")).await.expect("the send is accepted").message.id;
        reaches(client, &id, status).await;
        refused(&id, word).await;
    }
    let absent = "0198e7a2-5c1e-7b90-9a41-0c6f2d3b8e55";
    refusal(cancel(client, absent).await, Code::NotFound, ErrorReason::ResourceNotFound);
    refusal(cancel(client, "7").await, Code::InvalidArgument, ErrorReason::InvalidField);
    nothing_held(client).await;
    for kinds in movements(client).await.values() {
        assert_eq!(kinds.len(), 2, "{kinds:?}");
    }
    herald.finish().await;
}

async fn of_a_cancel_and_a_worker_exactly_one_wins_and_the_money_moves_once(mode: Mode) {
    const COUNT: usize = 150;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let simulator = SimulatorProcess::start(folder.path(), 1, 20.0).await;
    // A short window keeps some waiting while others are taken.
    let setup = Setup::default()
        .set("HERALD_SIMULATOR__ADDRESS", simulator.address)
        .set("HERALD_SIMULATOR__WINDOW", 4);
    let mut herald = Herald::start(mode, setup).await;
    let account = herald.account(NewAccount::default()).await;
    let mut racers = JoinSet::new();
    for number in 0..COUNT {
        let client = account.client.clone();
        racers.spawn(async move {
            let text = format!("race {number}");
            let id = client.send(sms("+12025550100", &text)).await.expect("accepted").message.id;
            // Two at once: at most one of them moves the money.
            let (one, two) = tokio::join!(decided(&client, &id), decided(&client, &id));
            for error in [&one, &two].into_iter().filter_map(|answer| answer.as_ref().err()) {
                assert_eq!(error.reason(), Some(ErrorReason::MessageNotCancelable), "{error}");
            }
            (id, one.is_ok() || two.is_ok())
        });
    }
    let results: BTreeMap<String, bool> = racers.join_all().await.into_iter().collect();
    nothing_held(&account.client).await;
    let movements = movements(&account.client).await;
    for message in every_message(&account.client).await {
        let (status, end) = match results[&message.id] {
            true => (Status::Canceled, Type::Release),
            false => (Status::Delivered, Type::Capture),
        };
        assert_eq!(message.status(), status, "{message:?}");
        assert_eq!(movements[&message.id], [Type::Hold, end]);
    }
    // The witness: what was canceled was never submitted, and the rest was.
    let witness = simulator.witness();
    let submitted: BTreeSet<String> = witness.messages().map(|(message, _)| message.to_string()).collect();
    let sent: BTreeSet<String> =
        results.iter().filter(|(_, is_canceled)| !**is_canceled).map(|(id, _)| id.clone()).collect();
    assert_eq!(submitted, sent);
    assert!(sent.len() < COUNT, "no cancel was quick enough to prove anything");
    herald.finish().await;
}

async fn cancel(client: &Client, id: &str) -> Result<v1::Message, Error> {
    let request = v1::CancelMessageRequest { message_id: id.to_owned() };
    let answer = client.raw().messaging().cancel_message(request).await?.into_inner();
    Ok(answer.message.expect("the answer has the message"))
}

/// The same, asked again while the server is too busy to tell.
async fn decided(client: &Client, id: &str) -> Result<v1::Message, Error> {
    let asked = async {
        loop {
            match cancel(client, id).await {
                Err(error) if error.code() == Code::Unavailable => {
                    tokio::time::sleep(error.retry_after().unwrap_or_default()).await;
                }
                answer => return answer,
            }
        }
    };
    soon("a decision", asked).await
}

async fn reaches(client: &Client, id: &str, status: Status) {
    until(status.as_str_name(), async || {
        let message = client.get_message(id).await.expect("the message");
        (message.status() == status).then_some(())
    })
    .await;
}

/// The credit movements of each message, oldest first.
async fn movements(client: &Client) -> BTreeMap<String, Vec<Type>> {
    let mut request = v1::ListTransactionsRequest { page_size: 500, ..Default::default() };
    let mut all = Vec::new();
    loop {
        let page = client.transactions(request.clone()).await.expect("the transactions");
        all.extend(page.transactions);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let mut movements: BTreeMap<String, Vec<Type>> = BTreeMap::new();
    for transaction in all.into_iter().rev().filter(|transaction| !transaction.message_id.is_empty()) {
        movements.entry(transaction.message_id.clone()).or_default().push(transaction.r#type());
    }
    movements
}
