//! One key, one message, one answer: whoever races, whatever crashes.

use herald_sdk::tonic::Code;
use herald_sdk::v1::{self, ErrorReason};
use herald_sdk::{Client, Receipt};
use tokio::task::JoinSet;

use crate::support::{
    Herald, Mode, NewAccount, PART_PRICE, Setup, in_both_modes, nothing_held, refusal, sms, until,
};

in_both_modes! {
    sixty_four_racers_with_one_key_make_one_message,
    a_key_is_good_for_its_own_request_only,
    a_receipt_is_the_first_answer_also_after_a_kill_and_not_the_live_state,
    clients_do_not_share_keys,
    credit_for_a_hundred_accepts_a_hundred_and_tells_the_others_what_they_lack,
}

async fn sixty_four_racers_with_one_key_make_one_message(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let before = account.client.balance().await.expect("the balance");
    let mut racers = JoinSet::new();
    for _ in 0..8 {
        // Eight connections with eight calls each.
        let client = herald.client(&account.key);
        for _ in 0..8 {
            let client = client.clone();
            racers.spawn(async move { client.send(keyed("race", "Hello")).await });
        }
    }
    let receipts: Vec<Receipt> =
        racers.join_all().await.into_iter().map(|answer| answer.expect("every racer is answered")).collect();
    assert_eq!(receipts.len(), 64);
    assert_eq!(receipts.iter().filter(|receipt| !receipt.replayed).count(), 1, "one racer was first");
    assert!(receipts.iter().all(|receipt| receipt.message == receipts[0].message), "the receipts differ");
    let messages =
        account.client.list_messages(v1::ListMessagesRequest::default()).await.expect("the messages");
    assert_eq!(messages.messages.len(), 1);
    let after = nothing_held(&account.client).await;
    assert_eq!(after.available_micros, before.available_micros - PART_PRICE, "paid once");
    herald.finish().await;
}

async fn a_key_is_good_for_its_own_request_only(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let client = herald.impatient_client(&account.key);
    let request = keyed("own", "Hello");
    let first = client.send(request.clone()).await.expect("the send is accepted").message;
    let others = [
        v1::SendMessageRequest { text: "Hello!".into(), ..request.clone() },
        v1::SendMessageRequest { to: "+12025550101".into(), ..request.clone() },
        v1::SendMessageRequest { sender: "Herald".into(), ..request.clone() },
        v1::SendMessageRequest { reference: "7".into(), ..request.clone() },
        v1::SendMessageRequest { metadata: [("a".into(), "b".into())].into(), ..request.clone() },
        v1::SendMessageRequest { text: String::new(), data: b"Hello".to_vec(), ..request.clone() },
        v1::SendMessageRequest { encoding: v1::Encoding::Ucs2.into(), ..request.clone() },
        v1::SendMessageRequest { on_unknown: v1::OnUnknown::Resend.into(), ..request.clone() },
    ];
    for other in others {
        let error = refusal(client.send(other).await, Code::AlreadyExists, ErrorReason::IdempotencyKeyReused);
        assert_eq!(error.info("first_message_id"), Some(first.id.as_str()));
    }
    // The same number in another spelling is the same request.
    let spelled = v1::SendMessageRequest { to: "+1 (202) 555-0100".into(), ..request };
    let again = client.send(spelled).await.expect("it is the same request");
    assert!(again.replayed);
    assert_eq!(again.message, first);
    herald.finish().await;
}

async fn a_receipt_is_the_first_answer_also_after_a_kill_and_not_the_live_state(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let first = account.client.send(keyed("receipt", "Hello")).await.expect("the send is accepted");
    herald.kill().await;
    herald.start_server().await;
    let client = herald.client(&account.key);
    until("its end", async || {
        let message = client.get_message(&first.message.id).await.expect("the message");
        (message.credit() != v1::message::Credit::Held).then_some(())
    })
    .await;
    let again = client.send(keyed("receipt", "Hello")).await.expect("the send is answered");
    assert!(again.replayed);
    assert_eq!(again.message, first.message);
    herald.finish().await;
}

async fn clients_do_not_share_keys(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let (one, two) =
        (herald.account(NewAccount::default()).await, herald.account(NewAccount::default()).await);
    let first = one.client.send(keyed("same", "Hello")).await.expect("the send is accepted");
    let second = two.client.send(keyed("same", "Bye")).await.expect("the send is accepted");
    assert!(!first.replayed && !second.replayed);
    assert_ne!(first.message.id, second.message.id);
    herald.finish().await;
}

async fn credit_for_a_hundred_accepts_a_hundred_and_tells_the_others_what_they_lack(mode: Mode) {
    const AFFORDABLE: usize = 100;
    const TASKS: usize = 16;
    const EACH: usize = 20;
    let credit = PART_PRICE * i64::try_from(AFFORDABLE).expect("a hundred");
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::with_credit(credit)).await;
    let mut senders = JoinSet::new();
    for task in 0..TASKS {
        let client = herald.client(&account.key);
        senders.spawn(async move { send_each(&client, task, EACH).await });
    }
    let answers: Vec<_> = senders.join_all().await.into_iter().flatten().collect();
    assert_eq!(answers.len(), TASKS * EACH);
    let (accepted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, answer)| answer.is_ok());
    assert_eq!(accepted.len(), AFFORDABLE);
    for (key, answer) in &refused {
        let error =
            refusal(answer.clone().map(|_| key), Code::FailedPrecondition, ErrorReason::InsufficientCredit);
        assert_eq!(error.info("need_micros"), Some(PART_PRICE.to_string().as_str()));
        assert_eq!(error.info("available_micros"), Some("0"));
        assert_eq!(error.info("currency"), Some("USD"));
    }
    // A refused send is not remembered: its key is good after a top-up.
    let top_up = v1::TopUpRequest {
        client_id: account.id.clone(),
        amount_micros: PART_PRICE,
        idempotency_key: "more".into(),
        ..Default::default()
    };
    let booked = herald.operator().top_up(top_up.clone()).await.expect("credit is booked");
    let again = herald.operator().top_up(top_up).await.expect("the top-up is answered");
    assert!(!booked.replayed && again.replayed);
    assert_eq!(booked.transaction, again.transaction);
    let receipt = account.client.send(keyed(&refused[0].0, "Hello")).await.expect("there is credit now");
    assert!(!receipt.replayed);
    let balance = account.client.balance().await.expect("the balance");
    assert_eq!(balance.available_micros, 0, "the top-up was booked once and spent");
    herald.finish().await;
}

async fn send_each(
    client: &Client,
    task: usize,
    count: usize,
) -> Vec<(String, Result<Receipt, herald_sdk::Error>)> {
    let mut answers = Vec::new();
    for number in 0..count {
        let key = format!("credit-{task}-{number}");
        let answer = client.send(keyed(&key, "Hello")).await;
        answers.push((key, answer));
    }
    answers
}

fn keyed(key: &str, text: &str) -> v1::SendMessageRequest {
    v1::SendMessageRequest { idempotency_key: key.into(), ..sms("+12025550100", text) }
}
