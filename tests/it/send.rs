//! A message's life as its client sees it: live, in the log, in the balance.

use std::time::Duration;

use herald_sdk::tonic::Code;
use herald_sdk::v1::{self, ErrorReason};
use herald_sdk::{Item, ReportSubscription};
use message::status::Status;

use crate::support::{Herald, Mode, NewAccount, PART_PRICE, Setup, in_both_modes, read, sms, soon};

in_both_modes! {
    a_message_moves_live_while_its_credit_is_held_and_then_captured,
    a_rate_holds_back_and_says_when_to_come_back,
}

async fn a_message_moves_live_while_its_credit_is_held_and_then_captured(mode: Mode) {
    // Only the bell wakes the stream: the poll behind it is far away.
    let setup = Setup::default().set("HERALD_TIMING__WATCH_POLL_MS", 3_600_000);
    let mut herald = Herald::start(mode, setup).await;
    let account = herald.account(NewAccount::default()).await;
    let client = &account.client;
    let before = client.balance().await.expect("the balance");
    let mut reports = client.subscribe_delivery_reports(v1::SubscribeDeliveryReportsRequest::default());
    next_heartbeat(&mut reports).await;

    // 01 leaves time to look at the hold.
    let receipt = client
        .send(v1::SendMessageRequest { reference: "order 7".into(), ..sms("+1 (202) 555-0101", "Hello") });
    let receipt = receipt.await.expect("the send is accepted");
    let sent = &receipt.message;
    assert!(!receipt.replayed);
    assert_eq!((sent.to.as_str(), sent.text.as_str(), sent.part_count), ("+12025550101", "Hello", 1));
    assert_eq!((sent.status(), sent.credit()), (v1::message::Status::Queued, v1::message::Credit::Held));
    assert_eq!((sent.price_micros, sent.currency.as_str()), (PART_PRICE, "USD"));

    let mut previous = v1::message::Status::Unspecified;
    let mut seq = 0;
    for expected in [Status::Queued, Status::Sending, Status::Sent, Status::Delivered] {
        if expected == Status::Delivered {
            let balance = client.balance().await.expect("the balance");
            assert_eq!(balance.held_micros, PART_PRICE, "nothing is held while the report is awaited");
            assert_eq!(balance.available_micros, before.available_micros - PART_PRICE);
        }
        let report = next_report(&mut reports).await;
        assert_eq!(read::status(report.status()), expected);
        assert_eq!(report.previous_status(), previous);
        assert_eq!((&report.message_id, report.reference.as_str()), (&sent.id, "order 7"));
        assert_eq!(report.is_final, expected == Status::Delivered);
        assert!(report.seq > seq && !report.ignored, "{report:?}");
        (previous, seq) = (report.status(), report.seq);
    }
    let after = client.balance().await.expect("the balance");
    assert_eq!((after.held_micros, after.available_micros), (0, before.available_micros - PART_PRICE));

    let message = client.get_message(&sent.id).await.expect("the message");
    assert_eq!(
        (message.status(), message.credit()),
        (v1::message::Status::Delivered, v1::message::Credit::Captured)
    );
    assert_eq!((message.attempt_count, message.parts.len()), (1, 1));
    assert!(message.failure.is_none() && !message.provider_message_id.is_empty(), "{message:?}");
    let history: Vec<Status> = message.history.iter().map(|step| read::status(step.status())).collect();
    assert_eq!(history, [Status::Queued, Status::Sending, Status::Sent, Status::Delivered]);

    let transactions =
        client.transactions(v1::ListTransactionsRequest::default()).await.expect("the transactions");
    let kinds: Vec<_> = transactions.transactions.iter().map(v1::Transaction::r#type).collect();
    use v1::transaction::Type;
    assert_eq!(kinds, [Type::Capture, Type::Hold, Type::TopUp]);
    herald.finish().await;
}

async fn a_rate_holds_back_and_says_when_to_come_back(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let mut new = NewAccount::default();
    (new.client.parts_per_second, new.client.burst_parts) = (1, 5);
    let account = herald.account(new).await;
    let client = herald.impatient_client(&account.key);
    let mut refused = 0;
    for number in 0..12 {
        let request = v1::SendMessageRequest {
            idempotency_key: format!("rate-{number}"),
            ..sms("+12025550100", "Hello")
        };
        if let Err(error) = client.send(request).await {
            refused += 1;
            assert_eq!(
                (error.code(), error.reason()),
                (Code::ResourceExhausted, Some(ErrorReason::RateLimited))
            );
            assert!(error.retry_after().is_some_and(|after| after <= Duration::from_secs(6)), "{error:?}");
        }
    }
    assert!(refused > 0, "twelve sends at once pass a bucket of five");
    // A replay costs no rate.
    let first = v1::SendMessageRequest { idempotency_key: "rate-0".into(), ..sms("+12025550100", "Hello") };
    for _ in 0..10 {
        assert!(client.send(first.clone()).await.expect("a replay passes").replayed);
    }
    herald.finish().await;
}

async fn next_heartbeat(reports: &mut ReportSubscription) {
    let frame = soon("the first frame", reports.next()).await.expect("a frame").expect("no error");
    assert!(matches!(frame.item, Item::Heartbeat(_)), "the first frame is no heartbeat: {frame:?}");
    assert!(!frame.resume_token.is_empty());
}

async fn next_report(reports: &mut ReportSubscription) -> v1::DeliveryReport {
    loop {
        let frame = soon("the next report", reports.next()).await.expect("a frame").expect("no error");
        if let Item::Entry(report) = frame.item {
            return report;
        }
    }
}
