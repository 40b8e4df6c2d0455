//! Messages whose every attempt failed are listed, and sent again once each.

use delivery::model::{DeadLetter, MessageKey};
use delivery::plan::{Plan, Wanted};
use herald_sdk::tonic::Code;
use herald_sdk::v1::{self, ErrorReason};
use message::failure::{Failure, FailureReason};
use message::id::{ClientId, MessageId};

use crate::support::{
    Account, Herald, Mode, NewAccount, PART_PRICE, Setup, in_both_modes, item_error, nothing_held, refusal,
    sms, until,
};

in_both_modes! {
    a_letter_is_sent_again_once_however_often_it_is_asked,
    letters_are_listed_newest_first_by_what_they_are,
    a_letter_whose_recipient_may_have_got_it_needs_the_risk_accepted,
    a_replay_obeys_the_clients_standing_and_credit,
}

const ABSENT: &str = "0198e7a2-5c1e-7b90-9a41-0c6f2d3b8e55";

async fn a_letter_is_sent_again_once_however_often_it_is_asked(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let letter = dead_letter(&account, "first").await;
    let fine = account.client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted").message;
    let before = nothing_held(&account.client).await.available_micros;

    let request = v1::ReplayDeadLettersRequest {
        message_ids: vec![letter.id.clone(), fine.id.clone(), ABSENT.into()],
        validate_only: true,
        ..Default::default()
    };
    let outcomes = replay(&herald, request.clone()).await;
    let would = accepted(&outcomes[0]);
    assert_eq!((would.message_id.as_str(), would.replayed), ("", false));
    assert_eq!((would.part_count, would.price_micros), (1, PART_PRICE));
    for outcome in &outcomes[1..] {
        assert_eq!(error(outcome), (Code::NotFound, ErrorReason::ResourceNotFound));
    }
    assert_eq!(account.client.balance().await.expect("the balance").available_micros, before);

    // Twice in one request, then again.
    let ids = vec![letter.id.clone(), letter.id.clone()];
    let twice = v1::ReplayDeadLettersRequest { message_ids: ids, ..Default::default() };
    let outcomes = replay(&herald, twice.clone()).await;
    let (first, second) = (accepted(&outcomes[0]), accepted(&outcomes[1]));
    assert_eq!((first.replayed, second.replayed), (false, true));
    assert_eq!(first.message_id, second.message_id);
    assert_ne!(first.message_id, letter.id);
    for outcome in replay(&herald, twice).await {
        let again = accepted(&outcome);
        assert!(again.replayed);
        assert_eq!((&again.message_id, again.price_micros), (&first.message_id, PART_PRICE));
    }
    let made = account.client.get_message(&first.message_id).await.expect("the message");
    assert_eq!((made.replay_of.as_str(), made.to.as_str()), (letter.id.as_str(), letter.to.as_str()));
    assert_eq!((made.text.as_str(), made.reference.as_str()), ("first", "first"));
    let listed = letters(&herald, v1::ListDeadLettersRequest::default()).await;
    let of_first = listed.iter().find(|found| id_of(found) == letter.id).expect("it is listed still");
    assert_eq!(of_first.replayed_as, first.message_id);
    // It fails again, and its credit goes back again.
    let after = nothing_held(&account.client).await;
    assert_eq!(after.available_micros, before);
    herald.finish().await;
}

async fn letters_are_listed_newest_first_by_what_they_are(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let (own, other) =
        (herald.account(NewAccount::default()).await, herald.account(NewAccount::default()).await);
    let mut ids = Vec::new();
    for (account, text) in [(&own, "1"), (&other, "2"), (&own, "3"), (&own, "4")] {
        ids.push(dead_letter(account, text).await.id);
    }
    ids.reverse();
    let all = letters(&herald, v1::ListDeadLettersRequest { page_size: 1, ..Default::default() }).await;
    assert_eq!(all.iter().map(id_of).collect::<Vec<_>>(), ids);
    for letter in &all {
        let message = letter.message.as_ref().expect("the message");
        assert_eq!(message.status(), v1::message::Status::FailedPerm);
        let failure = message.failure.as_ref().expect("it tells why");
        assert_eq!(failure.reason(), v1::failure::Reason::RetriesExhausted);
        assert!(!letter.has_unknown_attempt && letter.time.is_some() && letter.replayed_as.is_empty());
    }
    let found = async |request: v1::ListDeadLettersRequest| {
        letters(&herald, request).await.iter().map(id_of).collect::<Vec<_>>()
    };
    let plain = v1::ListDeadLettersRequest::default;
    let of_other = v1::ListDeadLettersRequest { client_id: other.id.clone(), ..plain() };
    assert_eq!(found(of_other).await, [ids[2].clone()]);
    let exhausted = v1::failure::Reason::RetriesExhausted.into();
    assert_eq!(found(v1::ListDeadLettersRequest { reason: exhausted, ..plain() }).await, ids);
    let blocked = v1::failure::Reason::RecipientBlocked.into();
    assert!(found(v1::ListDeadLettersRequest { reason: blocked, ..plain() }).await.is_empty());
    assert_eq!(found(v1::ListDeadLettersRequest { provider: "simulator".into(), ..plain() }).await, ids);
    assert!(found(v1::ListDeadLettersRequest { provider: "nobody".into(), ..plain() }).await.is_empty());
    let (from, before) = (all[2].time, all[1].time);
    let within = v1::ListDeadLettersRequest { created_after: from, created_before: before, ..plain() };
    assert_eq!(found(within).await, [ids[2].clone()]);
    let request = v1::ReplayDeadLettersRequest { message_ids: vec![ids[0].clone()], ..Default::default() };
    let again = accepted(&replay(&herald, request).await[0]).message_id;
    until_failed(&own, &again).await;
    let open = found(v1::ListDeadLettersRequest { open_only: true, ..plain() }).await;
    assert_eq!(open, [&[again][..], &ids[1..]].concat(), "the replay has become a letter of its own");
    let broken = v1::ListDeadLettersRequest {
        client_id: "7".into(),
        provider: "\0".into(),
        reason: 99,
        page_size: -1,
        created_after: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
        ..plain()
    };
    let answer = herald.operator().raw().admin().list_dead_letters(broken).await;
    let error = refusal(answer, Code::InvalidArgument, ErrorReason::InvalidField);
    assert_eq!(error.field_violations().len(), 5);
    herald.finish().await;
}

async fn a_letter_whose_recipient_may_have_got_it_needs_the_risk_accepted(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let sent = account.client.send(sms("+12025550111", "Hello")).await.expect("the send is accepted").message;
    until_failed(&account, &sent.id).await;
    herald.stop().await;
    bury(&herald, &account, &sent.id).await;
    herald.start_server().await;

    let request = v1::ReplayDeadLettersRequest { message_ids: vec![sent.id], ..Default::default() };
    for validate_only in [true, false] {
        let careful = v1::ReplayDeadLettersRequest { validate_only, ..request.clone() };
        let refused = error(&replay(&herald, careful).await[0]);
        assert_eq!(refused, (Code::FailedPrecondition, ErrorReason::DuplicateRiskNotAccepted));
    }
    let daring = v1::ReplayDeadLettersRequest { accept_duplicate_risk: true, ..request };
    assert!(!accepted(&replay(&herald, daring).await[0]).message_id.is_empty());
    herald.finish().await;
}

async fn a_replay_obeys_the_clients_standing_and_credit(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::with_credit(PART_PRICE)).await;
    let letter = dead_letter(&account, "Hello").await;
    let mut admin = herald.operator().raw().admin();
    let request = v1::ReplayDeadLettersRequest { message_ids: vec![letter.id], ..Default::default() };
    let suspend = v1::SuspendClientRequest { client_id: account.id.clone(), note: "unpaid".into() };
    admin.suspend_client(suspend).await.expect("it is suspended");
    let refused = error(&replay(&herald, request.clone()).await[0]);
    assert_eq!(refused, (Code::PermissionDenied, ErrorReason::ClientSuspended));
    let resume = v1::ResumeClientRequest { client_id: account.id.clone(), note: String::new() };
    admin.resume_client(resume).await.expect("it is resumed");

    let rate = v1::Rate { currency: "USD".into(), prefix: String::new(), part_price_micros: PART_PRICE + 1 };
    admin.set_rates(v1::SetRatesRequest { rates: vec![rate] }).await.expect("the rates are set");
    let refused = error(&replay(&herald, request.clone()).await[0]);
    assert_eq!(refused, (Code::FailedPrecondition, ErrorReason::InsufficientCredit), "at today's price");
    let too_many =
        v1::ReplayDeadLettersRequest { message_ids: vec![ABSENT.into(); 101], ..Default::default() };
    let malformed = v1::ReplayDeadLettersRequest { message_ids: vec!["7".into()], ..Default::default() };
    for broken in [too_many, malformed, v1::ReplayDeadLettersRequest::default()] {
        let answer = admin.replay_dead_letters(broken).await;
        refusal(answer, Code::InvalidArgument, ErrorReason::InvalidField);
    }
    let rate = v1::Rate { currency: "USD".into(), prefix: String::new(), part_price_micros: 1 };
    admin.set_rates(v1::SetRatesRequest { rates: vec![rate] }).await.expect("the rates are set");
    assert_eq!(accepted(&replay(&herald, request).await[0]).price_micros, 1);
    herald.finish().await;
}

/// Sends a message whose every attempt fails, and waits for its end.
async fn dead_letter(account: &Account, text: &str) -> v1::Message {
    let request = v1::SendMessageRequest { reference: text.into(), ..sms("+12025550120", text) };
    let sent = account.client.send(request).await.expect("the send is accepted").message;
    until_failed(account, &sent.id).await;
    sent
}

async fn until_failed(account: &Account, id: &str) {
    until("the message's failure", async || {
        let message = account.client.get_message(id).await.expect("the message");
        (message.status() == v1::message::Status::FailedPerm).then_some(())
    })
    .await;
}

/// Makes the message a dead letter with an unknown attempt, while no server runs.
async fn bury(herald: &Herald, account: &Account, id: &str) {
    let client: ClientId = account.id.parse().expect("the server gives ids");
    let id: MessageId = id.parse().expect("the server gives ids");
    let store = herald.database().open().await;
    let mut tx = store.begin().await.expect("the store is open");
    let loaded = tx.load(&Wanted::default()).await.expect("the clock is read");
    let letter = DeadLetter {
        key: MessageKey { client, id },
        provider: "simulator".into(),
        failure: Failure::new(FailureReason::RetriesExhausted),
        has_unknown_attempt: true,
        at: loaded.now,
        replayed_as: None,
    };
    tx.write(&Plan { dead_letters: vec![letter], ..Plan::default() }).await.expect("it is written");
    tx.commit().await.expect("it is committed");
}

/// Every letter, page by page.
async fn letters(herald: &Herald, mut request: v1::ListDeadLettersRequest) -> Vec<v1::DeadLetter> {
    let mut admin = herald.operator().raw().admin();
    let mut letters = Vec::new();
    loop {
        let page = admin.list_dead_letters(request.clone()).await.expect("a page").into_inner();
        letters.extend(page.dead_letters);
        if page.next_page_token.is_empty() {
            return letters;
        }
        request.page_token = page.next_page_token;
    }
}

fn id_of(letter: &v1::DeadLetter) -> String {
    letter.message.as_ref().expect("a letter has a message").id.clone()
}

async fn replay(herald: &Herald, request: v1::ReplayDeadLettersRequest) -> Vec<v1::SendOutcome> {
    let asked = request.message_ids.len();
    let answer = herald.operator().raw().admin().replay_dead_letters(request).await;
    let outcomes = answer.expect("the outcomes").into_inner().outcomes;
    assert_eq!(outcomes.len(), asked);
    outcomes
}

#[track_caller]
fn accepted(outcome: &v1::SendOutcome) -> v1::Accepted {
    match outcome.outcome.clone().expect("an outcome") {
        v1::send_outcome::Outcome::Accepted(accepted) => accepted,
        v1::send_outcome::Outcome::Error(error) => panic!("refused: {error:?}"),
    }
}

/// The code and the reason.
#[track_caller]
fn error(outcome: &v1::SendOutcome) -> (Code, ErrorReason) {
    match outcome.outcome.clone().expect("an outcome") {
        v1::send_outcome::Outcome::Accepted(accepted) => panic!("accepted: {accepted:?}"),
        v1::send_outcome::Outcome::Error(error) => {
            let error = item_error(&error);
            assert!(error.request_id().is_some(), "{error}");
            (error.code(), error.reason().expect("every error has a reason"))
        }
    }
}
