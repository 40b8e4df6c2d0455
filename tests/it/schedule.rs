//! Messages for later: not before their time, and within two seconds after it.

use std::time::{Duration, SystemTime};

use herald_sdk::tonic::Code;
use herald_sdk::v1::message::{Credit, Status};
use herald_sdk::v1::{self, ErrorReason};

use crate::support::{
    Account, Herald, Mode, NewAccount, PART_PRICE, Setup, in_both_modes, nothing_held, refusal, sms, span,
};

in_both_modes! {
    a_scheduled_message_is_sent_in_its_time,
    a_scheduled_message_survives_a_kill_and_is_sent_in_its_time,
    what_is_late_when_the_server_comes_back_is_sent_at_once,
    a_time_too_far_away_is_refused_and_one_that_has_passed_means_at_once,
}

/// The clock of the API says that an attempt begins within so long after its time.
const LATE_MAX: Duration = Duration::from_secs(2);

/// Time limits of life: nothing here is faster than an installation.
fn setup() -> Setup {
    Setup::default().set("HERALD_TIME_SCALE", 1)
}

async fn a_scheduled_message_is_sent_in_its_time(mode: Mode) {
    let mut herald = Herald::start(mode, setup()).await;
    let account = herald.account(NewAccount::default()).await;
    let mut ids = Vec::new();
    for millis in [1_500, 2_000, 2_700, 3_300] {
        let sent = schedule(&account, Duration::from_millis(millis)).await;
        assert_eq!((sent.status(), sent.credit()), (Status::Scheduled, Credit::Held));
        assert_eq!(since_epoch(sent.expire_time) - since_epoch(sent.schedule_time), Duration::from_secs(60));
        ids.push(sent.id);
    }
    let balance = account.client.balance().await.expect("the balance");
    assert_eq!(balance.held_micros, 4 * PART_PRICE, "the credit is held at once");
    nothing_held(&account.client).await;
    for id in ids {
        check_in_time(&account.client.get_message(&id).await.expect("the message"));
    }
    herald.finish().await;
}

async fn a_scheduled_message_survives_a_kill_and_is_sent_in_its_time(mode: Mode) {
    let mut herald = Herald::start(mode, setup()).await;
    let account = herald.account(NewAccount::default()).await;
    // Far enough ahead for a server to come back on a busy machine.
    let sent = schedule(&account, Duration::from_secs(12)).await;
    herald.kill().await;
    herald.start_server().await;
    let client = herald.client(&account.key);
    let message = client.get_message(&sent.id).await.expect("the message");
    assert_eq!(message.status(), Status::Scheduled, "the server came back too late to prove anything");
    nothing_held(&client).await;
    check_in_time(&client.get_message(&sent.id).await.expect("the message"));
    herald.finish().await;
}

async fn what_is_late_when_the_server_comes_back_is_sent_at_once(mode: Mode) {
    let mut herald = Herald::start(mode, setup()).await;
    let account = herald.account(NewAccount::default()).await;
    let sent = schedule(&account, Duration::from_millis(1_100)).await;
    herald.kill().await;
    let due = since_epoch(sent.schedule_time);
    while SystemTime::UNIX_EPOCH + due + LATE_MAX > SystemTime::now() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    herald.start_server().await;
    let client = herald.client(&account.key);
    nothing_held(&client).await;
    let message = client.get_message(&sent.id).await.expect("the message");
    assert_eq!(message.status(), Status::Delivered);
    assert!(began_at(&message) > due + LATE_MAX);
    herald.finish().await;
}

async fn a_time_too_far_away_is_refused_and_one_that_has_passed_means_at_once(mode: Mode) {
    const DAY: Duration = Duration::from_secs(24 * 3_600);
    const HOUR: Duration = Duration::from_secs(3_600);
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let now = SystemTime::now();
    let minute = Duration::from_secs(60);
    for refused in [now + 30 * DAY + minute, now - HOUR - minute, SystemTime::UNIX_EPOCH] {
        let request =
            v1::SendMessageRequest { schedule_time: Some(refused.into()), ..sms("+12025550100", "Hello") };
        let error =
            refusal(account.client.send(request).await, Code::InvalidArgument, ErrorReason::InvalidField);
        assert_eq!(error.field_violations()[0].field, "schedule_time");
    }
    let passed = v1::SendMessageRequest {
        schedule_time: Some((now - HOUR + minute).into()),
        ..sms("+12025550100", "Hello")
    };
    let passed = account.client.send(passed).await.expect("the send is accepted").message;
    assert_eq!((passed.status(), passed.schedule_time), (Status::Queued, None));
    let farthest = v1::SendMessageRequest {
        schedule_time: Some((now + 30 * DAY - minute).into()),
        ..sms("+12025550100", "Hello")
    };
    let farthest = account.client.send(farthest).await.expect("the send is accepted").message;
    assert_eq!(farthest.status(), Status::Scheduled);
    let request = v1::CancelMessageRequest { message_id: farthest.id };
    let canceled =
        account.client.raw().messaging().cancel_message(request).await.expect("it waits").into_inner();
    assert_eq!(canceled.message.expect("the message").credit(), Credit::Released);
    herald.finish().await;
}

async fn schedule(account: &Account, ahead: Duration) -> v1::Message {
    let request = v1::SendMessageRequest {
        schedule_time: Some((SystemTime::now() + ahead).into()),
        validity_period: Some(span(Duration::from_secs(60))),
        ..sms("+12025550100", "Hello")
    };
    account.client.send(request).await.expect("the send is accepted").message
}

/// By the history, which the database's clock has written.
fn check_in_time(message: &v1::Message) {
    let due = since_epoch(message.schedule_time);
    let statuses: Vec<Status> = message.history.iter().map(v1::StatusChange::status).collect();
    let expected = [Status::Scheduled, Status::Queued, Status::Sending, Status::Sent, Status::Delivered];
    assert_eq!(statuses, expected);
    let queued = since_epoch(message.history[1].time);
    assert!(queued >= due, "it was queued {:?} too early", due - queued);
    let late = began_at(message) - due;
    assert!(late <= LATE_MAX, "it began {late:?} after its time");
}

fn began_at(message: &v1::Message) -> Duration {
    let sending = message.history.iter().find(|change| change.status() == Status::Sending);
    since_epoch(sending.expect("it was sent").time)
}

fn since_epoch(time: Option<prost_types::Timestamp>) -> Duration {
    let time = SystemTime::try_from(time.expect("a time is set")).expect("it is after 1970");
    time.duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970")
}
