//! Whatever is sent, the answer says what is wrong with it, and the server goes on.

mod cases;

use std::collections::BTreeSet;

use herald_sdk::tonic::{Code, Status};
use herald_sdk::v1::{self, ErrorReason};
use herald_sdk::{Client, Error};
use prost::Message;
use prost::bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use cases::{broken_clients, broken_keys, broken_sends, broken_top_ups};

use crate::support::raw::{self, Caller};
use crate::support::{
    Herald, Mode, NewAccount, PART_PRICE, Setup, assert_refused, in_both_modes, refusal, sms, soon,
};

in_both_modes! {
    each_field_of_a_send_that_breaks_its_limits_is_named,
    refusals_carry_the_figures_that_a_program_needs,
    operators_mistakes_are_named_too,
    lists_refuse_negative_sizes_junk_tokens_and_unknown_words,
    a_page_token_leads_through_its_own_list_only_and_through_all_of_it,
    bytes_that_are_no_request_are_refused_by_every_method_and_kill_nothing,
    a_request_over_the_limit_is_too_large_and_a_method_that_is_not_there_is_unimplemented,
    random_bytes_at_the_port_kill_nothing,
}

async fn each_field_of_a_send_that_breaks_its_limits_is_named(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let client = herald.impatient_client(&account.key);
    for (fields, reason, broken) in broken_sends() {
        let answer = client.send(broken.clone()).await;
        let error = refusal(answer, Code::InvalidArgument, reason);
        assert_eq!(named(&error), fields, "{error}");
    }
    let balance = client.balance().await.expect("the balance");
    assert_eq!((balance.seq, balance.held_micros), (1, 0), "a refused send left a trace");
    herald.finish().await;
}

async fn refusals_carry_the_figures_that_a_program_needs(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let client = herald.impatient_client(&account.key);
    let facts = async |request: v1::SendMessageRequest, reason: ErrorReason, expected: &[(&str, &str)]| {
        let error = refusal(client.send(request).await, Code::InvalidArgument, reason);
        for (name, value) in expected {
            assert_eq!(error.info(name), Some(*value), "{error:?}");
        }
    };
    let gsm = v1::SendMessageRequest {
        encoding: v1::Encoding::Gsm7.into(),
        ..sms("+12025550100", "naïve ç façade 日")
    };
    facts(gsm, ErrorReason::TextNotEncodable, &[("characters", "ïç日")]).await;
    let long = v1::SendMessageRequest { max_parts: 2, ..sms("+12025550100", &"a".repeat(400)) };
    facts(long, ErrorReason::TooManyParts, &[("parts", "3"), ("max_parts", "2")]).await;
    // The client's own limit of ten holds without being asked for.
    let longest = sms("+12025550100", &"a".repeat(153 * 10 + 1));
    facts(longest, ErrorReason::TooManyParts, &[("parts", "11"), ("max_parts", "10")]).await;
    let dear = v1::SendMessageRequest { max_price_micros: PART_PRICE - 1, ..sms("+12025550100", "Hello") };
    let (price, limit) = (PART_PRICE.to_string(), (PART_PRICE - 1).to_string());
    facts(dear, ErrorReason::PriceAboveMax, &[("price_micros", &price), ("max_price_micros", &limit)]).await;
    // At the limit all is well.
    let fine = v1::SendMessageRequest {
        max_price_micros: PART_PRICE,
        max_parts: 1,
        ..sms("+12025550100", &"a".repeat(160))
    };
    client.send(fine).await.expect("limits are inclusive");
    herald.finish().await;
}

async fn operators_mistakes_are_named_too(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let operator = herald.impatient_client(herald.operator_key());
    for (field, client) in broken_clients() {
        let answer = operator
            .create_client(v1::CreateClientRequest { client: Some(client), ..Default::default() })
            .await;
        let error = refusal(answer, Code::InvalidArgument, ErrorReason::InvalidField);
        assert_eq!(named(&error), [field], "{error}");
    }
    for (field, key) in broken_keys(&account) {
        let error =
            refusal(operator.create_api_key(key).await, Code::InvalidArgument, ErrorReason::InvalidField);
        assert_eq!(named(&error), [field], "{error}");
    }
    for (field, reason, code, top_up) in broken_top_ups(&account) {
        // Not by the SDK's own method, which makes up a missing key.
        let answer = operator.raw().billing().top_up(top_up).await;
        let error = refusal(answer, code, reason);
        assert!(field.is_empty() || named(&error) == [field], "{error}");
    }
    herald.finish().await;
}

async fn lists_refuse_negative_sizes_junk_tokens_and_unknown_words(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let client = herald.impatient_client(&account.key);
    let invalid = ErrorReason::InvalidField;
    let negative = -1;
    let check = |answer: Result<(), Error>, field: &str, reason: ErrorReason| {
        assert_eq!(named(&refusal(answer, Code::InvalidArgument, reason)), [field]);
    };
    let messages = async |request| client.list_messages(request).await.map(drop);
    check(
        messages(v1::ListMessagesRequest { page_size: negative, ..Default::default() }).await,
        "page_size",
        invalid,
    );
    let transactions = async |request| client.transactions(request).await.map(drop);
    check(
        transactions(v1::ListTransactionsRequest { page_size: negative, ..Default::default() }).await,
        "page_size",
        invalid,
    );
    check(
        transactions(v1::ListTransactionsRequest { types: vec![99], ..Default::default() }).await,
        "types",
        invalid,
    );
    check(
        transactions(v1::ListTransactionsRequest { message_id: "7".into(), ..Default::default() }).await,
        "message_id",
        invalid,
    );
    let reports = async |request| client.list_delivery_reports(request).await.map(drop);
    check(
        reports(v1::ListDeliveryReportsRequest { page_size: negative, ..Default::default() }).await,
        "page_size",
        invalid,
    );
    check(
        reports(v1::ListDeliveryReportsRequest { statuses: vec![99], ..Default::default() }).await,
        "statuses",
        invalid,
    );
    check(
        reports(v1::ListDeliveryReportsRequest { message_ids: vec!["7".into()], ..Default::default() }).await,
        "message_ids",
        invalid,
    );
    let events = async |request| client.list_events(request).await.map(drop);
    check(
        events(v1::ListEventsRequest { page_size: negative, ..Default::default() }).await,
        "page_size",
        invalid,
    );
    check(
        events(v1::ListEventsRequest { types: vec!["sms.*".into()], ..Default::default() }).await,
        "types",
        invalid,
    );
    check(
        events(v1::ListEventsRequest { types: vec!["message.*".into(); 17], ..Default::default() }).await,
        "types",
        invalid,
    );
    let get = client.get_message("7").await.map(drop);
    check(get, "message_id", invalid);
    let junk = ErrorReason::PageTokenInvalid;
    for token in ["x", "!", "é", &"A".repeat(43), &"A".repeat(10_000)] {
        check(
            messages(v1::ListMessagesRequest { page_token: token.into(), ..Default::default() }).await,
            "page_token",
            junk,
        );
        check(
            transactions(v1::ListTransactionsRequest { page_token: token.into(), ..Default::default() })
                .await,
            "page_token",
            junk,
        );
    }
    herald.finish().await;
}

async fn a_page_token_leads_through_its_own_list_only_and_through_all_of_it(mode: Mode) {
    const SENT: usize = 7;
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let client = herald.impatient_client(&account.key);
    let mut sent = BTreeSet::new();
    for number in 0..SENT {
        sent.insert(
            client.send(sms("+12025550100", &format!("Hello {number}"))).await.expect("accepted").message.id,
        );
    }
    let mut request = v1::ListMessagesRequest { page_size: 3, ..Default::default() };
    let (mut listed, mut pages) = (Vec::new(), 0);
    loop {
        let page = client.list_messages(request.clone()).await.expect("the messages");
        listed.extend(page.messages.into_iter().map(|message| message.id));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!((pages, listed.len()), (3, SENT));
    assert!(listed.is_sorted_by(|newer, older| newer > older), "newest first: {listed:?}");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), sent);
    let strayed = v1::ListTransactionsRequest { page_token: request.page_token, ..Default::default() };
    refusal(client.transactions(strayed).await, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    herald.finish().await;
}

async fn bytes_that_are_no_request_are_refused_by_every_method_and_kill_nothing(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let callers = [&account.key, herald.operator_key()].map(|key| Caller::new(&herald).with_key(key));
    let mut random = StdRng::seed_from_u64(7);
    for method in raw::methods() {
        for caller in &callers {
            for _ in 0..20 {
                let mut bytes = vec![0; random.random_range(1..200)];
                random.fill_bytes(&mut bytes);
                if let Err(status) = caller.call(&raw::path(&method), bytes.into()).await {
                    assert_tells(&status);
                }
            }
            // A field cut short, of every kind of request that has fields.
            let half = Bytes::from_static(&[0x0a, 0xff]);
            let cut = if method.is_client_streaming() {
                caller.call_to_the_end(&raw::path(&method), half).await
            } else {
                caller.call(&raw::path(&method), half).await
            };
            if let Err(status) = &cut {
                assert_tells(status);
            }
            assert!(cut.is_err(), "{} takes half a field", method.full_name());
        }
    }
    // Not UTF-8 in a string.
    let send = "/herald.v1.MessagingService/SendMessage";
    let status =
        callers[0].call(send, Bytes::from_static(&[0x0a, 0x02, 0xc3, 0x28])).await.expect_err("refused");
    assert_refused(&status, Code::InvalidArgument, ErrorReason::InvalidField);
    still_serves(&account.client).await;
    herald.finish().await;
}

async fn a_request_over_the_limit_is_too_large_and_a_method_that_is_not_there_is_unimplemented(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let caller = Caller::new(&herald).with_key(&account.key);
    for size in [256 * 1024, 5 << 20] {
        let huge = sms("+12025550100", &"a".repeat(size)).encode_to_vec();
        let status =
            caller.call("/herald.v1.MessagingService/SendMessage", huge.into()).await.expect_err("refused");
        assert_refused(&status, Code::ResourceExhausted, ErrorReason::RequestTooLarge);
    }
    for path in ["/herald.v1.MessagingService/SendMassage", "/herald.v2.MessagingService/SendMessage", "/x"] {
        let status = caller.call(path, Bytes::new()).await.expect_err("refused");
        assert_refused(&status, Code::Unimplemented, ErrorReason::Unimplemented);
    }
    still_serves(&account.client).await;
    herald.finish().await;
}

async fn random_bytes_at_the_port_kill_nothing(mode: Mode) {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let mut random = StdRng::seed_from_u64(11);
    for number in 0..200 {
        let mut bytes = if number % 2 == 0 { PREFACE.to_vec() } else { Vec::new() };
        let mut junk = vec![0; random.random_range(1..2_000)];
        random.fill_bytes(&mut junk);
        bytes.extend(junk);
        let mut stream = TcpStream::connect(herald.address()).await.expect("the port is open");
        // The server may hang up at any byte.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = soon("the end of a junk connection", stream.read_to_end(&mut answer)).await;
    }
    still_serves(&account.client).await;
    herald.finish().await;
}

/// The fields that an error names, in order of the first mention.
fn named(error: &Error) -> Vec<&str> {
    let mut fields = Vec::new();
    for violation in error.field_violations() {
        assert!(!violation.description.is_empty(), "{error:?}");
        if !fields.contains(&violation.field.as_str()) {
            fields.push(&violation.field);
        }
    }
    fields
}

/// An error for junk blames the caller, and says which call it was.
fn assert_tells(status: &Status) {
    use tonic_types::StatusExt;
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("an error without ErrorInfo: {status}"));
    assert_eq!(info.domain, "herald");
    assert!(details.request_info().is_some(), "an error without a request id: {status}");
    assert!(
        !matches!(status.code(), Code::Internal | Code::Unknown),
        "junk is no fault of the server: {status}"
    );
}

async fn still_serves(client: &Client) {
    client.send(sms("+12025550100", "Hello")).await.expect("the server serves on");
}
