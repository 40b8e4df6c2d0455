//! Batches: each message by itself, in order.

use std::collections::BTreeSet;

use herald_sdk::tonic::Code;
use herald_sdk::v1::send_outcome::Outcome;
use herald_sdk::v1::{self, ErrorReason};
use herald_sdk::{Client, Error};

use crate::support::{
    Herald, Mode, NewAccount, PART_PRICE, Setup, every_message, in_both_modes, item_error, refusal, sms,
};

in_both_modes! {
    outcomes_come_in_order_and_an_error_is_the_one_that_a_call_of_its_own_would_have_had,
    credit_for_k_accepts_the_first_k_and_refuses_the_rest_one_by_one,
    a_batch_repeated_is_answered_with_its_first_receipts,
    a_thousand_messages_are_one_batch_and_a_thousand_and_one_are_none,
    a_rate_that_runs_out_refuses_the_rest_one_by_one,
}

async fn outcomes_come_in_order_and_an_error_is_the_one_that_a_call_of_its_own_would_have_had(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let client = herald.impatient_client(&account.key);
    client.send(keyed("taken", "Another")).await.expect("the send is accepted");
    type Send = v1::SendMessageRequest;
    let messages = vec![
        sms("+12025550100", "Hello"),
        sms("nobody", "Hello"),
        Send { reference: "a\nb".into(), priority: 9, schedule_time: Some(MALFORMED), ..sms("", "") },
        sms("+12025550150", "no route"),
        Send { encoding: v1::Encoding::Gsm7.into(), ..sms("+12025550100", "日") },
        keyed(&"k".repeat(129), "Hello"),
        keyed("taken", "Hello"),
        sms("+12025550100", &"long ".repeat(40)),
    ];
    let answer = send_all(&client, messages.clone(), "").await.expect("a batch is answered");
    assert_eq!((answer.accepted_count, answer.refused_count), (2, 6));
    assert_eq!(answer.outcomes.len(), messages.len());
    let mut accepted = Vec::new();
    for (outcome, message) in answer.outcomes.into_iter().zip(messages) {
        match outcome.outcome.expect("every item has an outcome") {
            Outcome::Accepted(receipt) => accepted.push(receipt),
            Outcome::Error(error) => {
                let told = item_error(&error);
                // Without a key the SDK would make one up, which no refusal shows.
                let alone = client.send(message).await.expect_err("it is refused alone, too");
                assert_eq!(facts(&told), facts(&alone));
                assert!(told.request_id().is_some(), "{told:?}");
            }
        }
    }
    let parts: Vec<_> = accepted.iter().map(|receipt| (receipt.part_count, receipt.price_micros)).collect();
    assert_eq!(parts, [(1, PART_PRICE), (2, 2 * PART_PRICE)]);
    for receipt in accepted {
        assert_eq!(receipt.status(), v1::message::Status::Queued);
        assert_eq!(receipt.encoding(), v1::Encoding::Gsm7);
        assert!(!receipt.replayed);
        let message = client.get_message(&receipt.message_id).await.expect("it is there");
        assert_eq!(message.price_micros, receipt.price_micros);
    }
    herald.finish().await;
}

async fn credit_for_k_accepts_the_first_k_and_refuses_the_rest_one_by_one(mode: Mode) {
    const COUNT: usize = 40;
    const AFFORDABLE: usize = 25;
    let credit = PART_PRICE * i64::try_from(AFFORDABLE).expect("a few");
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::with_credit(credit)).await;
    let neighbour = herald.account(NewAccount::default()).await;
    let messages: Vec<_> =
        (0..COUNT).map(|number| sms("+12025550100", &format!("number {number}"))).collect();
    let (answer, beside) = tokio::join!(
        send_all(&account.client, messages.clone(), "poor"),
        send_all(&neighbour.client, messages.clone(), "rich")
    );
    let (answer, beside) = (answer.expect("a batch is answered"), beside.expect("a batch is answered"));
    assert_eq!((beside.accepted_count, beside.refused_count), (40, 0));
    let is_accepted: Vec<bool> =
        answer.outcomes.iter().map(|outcome| matches!(outcome.outcome, Some(Outcome::Accepted(_)))).collect();
    let expected: Vec<bool> = (0..COUNT).map(|index| index < AFFORDABLE).collect();
    assert_eq!(is_accepted, expected);
    for outcome in &answer.outcomes[AFFORDABLE..] {
        let error = error_of(outcome);
        assert_eq!(error.reason(), Some(ErrorReason::InsufficientCredit));
        assert_eq!(error.info("available_micros"), Some("0"));
    }
    // All of a batch may be refused, and the call is well all the same.
    let refused = send_all(&account.client, messages, "later").await.expect("a batch is answered");
    assert_eq!((refused.accepted_count, refused.refused_count), (0, 40));
    assert_eq!(every_message(&account.client).await.len(), AFFORDABLE);
    herald.finish().await;
}

async fn a_batch_repeated_is_answered_with_its_first_receipts(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let client = &account.client;
    let batch =
        vec![sms("+12025550100", "one"), keyed("own", "two"), sms("nobody", ""), sms("+12025550100", "four")];
    let first = send_all(client, batch.clone(), "batch").await.expect("a batch is answered");
    let again = send_all(client, batch.clone(), "batch").await.expect("a batch is answered");
    assert_eq!((again.accepted_count, again.refused_count), (3, 1));
    for index in [0, 1, 3] {
        let (one, two) = (receipt(&first.outcomes[index]), receipt(&again.outcomes[index]));
        assert!(!one.replayed && two.replayed);
        assert_eq!(two, v1::Accepted { replayed: true, ..one });
    }
    // Its keys are those of single messages: "batch/0", and its own.
    for (key, index) in [("batch/0", 0), ("own", 1), ("batch/3", 3)] {
        let request = v1::SendMessageRequest { idempotency_key: key.into(), ..batch[index].clone() };
        let receipt_alone = client.send(request).await.expect("a replay");
        assert!(receipt_alone.replayed, "{key}");
        assert_eq!(receipt_alone.message.id, receipt(&first.outcomes[index]).message_id);
    }
    // Another order is another batch: each key is held to its first request.
    let swapped = vec![batch[3].clone(), batch[1].clone()];
    let reused = send_all(client, swapped, "batch").await.expect("a batch is answered");
    let error = error_of(&reused.outcomes[0]);
    assert_eq!(
        (error.code(), error.reason()),
        (Code::AlreadyExists, Some(ErrorReason::IdempotencyKeyReused))
    );
    assert!(receipt(&reused.outcomes[1]).replayed);
    // The same key twice in one batch makes one message.
    let twice = vec![keyed("twice", "same"), keyed("twice", "same"), keyed("twice", "other")];
    let twice = send_all(client, twice, "").await.expect("a batch is answered");
    assert_eq!(receipt(&twice.outcomes[0]).message_id, receipt(&twice.outcomes[1]).message_id);
    assert!(receipt(&twice.outcomes[1]).replayed);
    assert_eq!(error_of(&twice.outcomes[2]).reason(), Some(ErrorReason::IdempotencyKeyReused));
    assert_eq!(every_message(client).await.len(), 4);
    herald.finish().await;
}

async fn a_thousand_messages_are_one_batch_and_a_thousand_and_one_are_none(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let client = herald.impatient_client(&account.key);
    let thousand = vec![sms("+12025550100", "Hello"); 1_000];
    let answer = send_all(&client, thousand.clone(), &"k".repeat(120)).await.expect("a batch is answered");
    assert_eq!((answer.accepted_count, answer.outcomes.len()), (1_000, 1_000));
    let ids: BTreeSet<String> = answer.outcomes.iter().map(|outcome| receipt(outcome).message_id).collect();
    assert_eq!(ids.len(), 1_000);
    let mut more = thousand;
    more.push(sms("+12025550100", "Hello"));
    for (messages, key, fields) in [
        (more, "", vec!["messages"]),
        (Vec::new(), "", vec!["messages"]),
        (vec![sms("+12025550100", "Hello")], "a b", vec!["idempotency_key"]),
        (Vec::new(), &"k".repeat(121), vec!["messages", "idempotency_key"]),
    ] {
        let answer = send_all(&client, messages, key).await;
        let error = refusal(answer, Code::InvalidArgument, ErrorReason::InvalidField);
        let named: Vec<&str> =
            error.field_violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, fields);
    }
    let balance = client.balance().await.expect("the balance");
    let spent = NewAccount::default().credit_micros - balance.available_micros;
    assert_eq!(spent, 1_000 * PART_PRICE, "a batch that was refused left a trace");
    herald.finish().await;
}

async fn a_rate_that_runs_out_refuses_the_rest_one_by_one(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let slow = v1::Client { parts_per_second: 1, burst_parts: 10, ..NewAccount::default().client };
    let account = herald.account(NewAccount { client: slow, ..NewAccount::default() }).await;
    let client = herald.impatient_client(&account.key);
    let messages = vec![sms("+12025550100", "Hello"); 30];
    let answer = send_all(&client, messages.clone(), "rate").await.expect("a batch is answered");
    let accepted = usize::try_from(answer.accepted_count).expect("a count");
    assert!((10..30).contains(&accepted), "{accepted} of a burst of 10");
    let error = error_of(answer.outcomes.last().expect("the last"));
    assert_eq!((error.code(), error.reason()), (Code::ResourceExhausted, Some(ErrorReason::RateLimited)));
    assert!(error.retry_after().is_some());
    // What was accepted costs no rate again.
    let again = send_all(&client, messages[..10].to_vec(), "rate").await.expect("a batch is answered");
    assert!(again.outcomes.iter().all(|outcome| receipt(outcome).replayed));
    herald.finish().await;
}

const MALFORMED: prost_types::Timestamp = prost_types::Timestamp { seconds: 0, nanos: -1 };

async fn send_all(
    client: &Client,
    messages: Vec<v1::SendMessageRequest>,
    key: &str,
) -> Result<v1::SendMessagesResponse, Error> {
    let request = v1::SendMessagesRequest { messages, idempotency_key: key.into() };
    Ok(client.raw().messaging().send_messages(request).await?.into_inner())
}

fn receipt(outcome: &v1::SendOutcome) -> v1::Accepted {
    match &outcome.outcome {
        Some(Outcome::Accepted(receipt)) => receipt.clone(),
        other => panic!("it is not accepted: {other:?}"),
    }
}

fn error_of(outcome: &v1::SendOutcome) -> Error {
    match &outcome.outcome {
        Some(Outcome::Error(error)) => item_error(error),
        other => panic!("it is not refused: {other:?}"),
    }
}

/// All that an error tells, without the call that it was told to.
fn facts(error: &Error) -> String {
    let mut metadata: Vec<_> = error.metadata().iter().collect();
    metadata.sort();
    format!(
        "{:?} {} {} {:?} {metadata:?} {:?}",
        error.code(),
        error.reason_name(),
        error.message(),
        error.field_violations(),
        error.retry_after()
    )
}

fn keyed(key: &str, text: &str) -> v1::SendMessageRequest {
    v1::SendMessageRequest { idempotency_key: key.into(), ..sms("+12025550100", text) }
}
