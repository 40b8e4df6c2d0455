//! Lists with filters: what they show, and how they are paged through.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use herald_sdk::tonic::Code;
use herald_sdk::v1::message::Status;
use herald_sdk::v1::{self, ErrorReason};
use herald_sdk::{Client, Error};

use crate::support::{Herald, Mode, NewAccount, Setup, in_both_modes, nothing_held, refusal, sms};

in_both_modes! {
    each_filter_of_messages_hides_by_itself_and_with_others,
    a_rare_message_is_found_through_short_pages,
    a_page_of_long_messages_is_short_and_not_too_large,
    a_time_range_of_transactions_shows_what_was_booked_in_it,
}

async fn each_filter_of_messages_hides_by_itself_and_with_others(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let client = &account.client;
    let mut sent = Vec::new();
    for (to, sender, reference) in [
        ("+12025550100", "One", "red"),
        ("+12025550100", "Two", "blue"),
        ("+12025550110", "One", "blue"),
        ("+12025550111", "Two", "red"),
        ("+12025550101", "One", ""),
    ] {
        let request =
            v1::SendMessageRequest { sender: sender.into(), reference: reference.into(), ..sms(to, "Hello") };
        sent.push(client.send(request).await.expect("the send is accepted").message);
    }
    nothing_held(client).await;
    let asked = |edit: &dyn Fn(&mut v1::ListMessagesRequest)| {
        let mut request = v1::ListMessagesRequest::default();
        edit(&mut request);
        request
    };
    let failed = i32::from(Status::FailedPerm);
    let delivered = i32::from(Status::Delivered);
    let cases = [
        (asked(&|_| {}), vec![0, 1, 2, 3, 4]),
        (asked(&|list| list.statuses = vec![failed]), vec![2, 3]),
        (asked(&|list| list.statuses = vec![failed, delivered, failed]), vec![0, 1, 2, 3, 4]),
        (asked(&|list| list.statuses = vec![i32::from(Status::Canceled)]), vec![]),
        (asked(&|list| list.to = " +1 (202) 555-0100".into()), vec![0, 1]),
        (asked(&|list| list.sender = "One".into()), vec![0, 2, 4]),
        (asked(&|list| list.reference = "red".into()), vec![0, 3]),
        (asked(&|list| list.created_after = sent[2].create_time), vec![2, 3, 4]),
        (asked(&|list| list.created_before = sent[2].create_time), vec![0, 1]),
        (
            asked(&|list| {
                list.created_after = sent[1].create_time;
                list.created_before = sent[3].create_time;
            }),
            vec![1, 2],
        ),
        (
            asked(&|list| {
                list.sender = "One".into();
                list.reference = "blue".into();
            }),
            vec![2],
        ),
        (
            asked(&|list| {
                list.statuses = vec![delivered];
                list.to = "+12025550100".into();
                list.sender = "Two".into();
                list.reference = "blue".into();
                list.created_after = sent[1].create_time;
                list.created_before = sent[2].create_time;
            }),
            vec![1],
        ),
        (
            asked(&|list| {
                list.statuses = vec![failed];
                list.sender = "One".into();
                list.reference = "red".into();
            }),
            vec![],
        ),
    ];
    for (request, expected) in cases {
        let expected: Vec<&str> =
            expected.iter().rev().map(|index: &usize| sent[*index].id.as_str()).collect();
        // Whole, and one by one: the filter goes on with the token.
        for page_size in [0, 1] {
            let listed = list(client, v1::ListMessagesRequest { page_size, ..request.clone() }).await;
            let ids: Vec<&str> = listed.iter().map(|message| message.id.as_str()).collect();
            assert_eq!(ids, expected, "{request:?}");
        }
    }
    // A token belongs to its filter.
    let mut request = v1::ListMessagesRequest { page_size: 1, sender: "One".into(), ..Default::default() };
    request.page_token = client.list_messages(request.clone()).await.expect("a page").next_page_token;
    request.sender = "Two".into();
    let strayed = client.list_messages(request).await;
    refusal(strayed, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    let wrong = v1::ListMessagesRequest {
        page_size: -1,
        statuses: vec![0; 17],
        to: "nobody".into(),
        reference: "a\0".into(),
        created_after: sent[0].create_time,
        created_before: sent[0].create_time,
        ..Default::default()
    };
    let error = refusal(client.list_messages(wrong).await, Code::InvalidArgument, ErrorReason::InvalidField);
    let named: BTreeSet<&str> =
        error.field_violations().iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(named, ["created_before", "page_size", "reference", "statuses", "to"].into());
    herald.finish().await;
}

async fn a_rare_message_is_found_through_short_pages(mode: Mode) {
    const RARE: usize = 3;
    const BATCHES: usize = 6;
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.unsettled_account(NewAccount::default()).await;
    let client = &account.client;
    let mut rare = BTreeSet::new();
    for _ in 0..RARE {
        let request = v1::SendMessageRequest { reference: "rare".into(), ..later() };
        rare.insert(client.send(request).await.expect("the send is accepted").message.id);
    }
    // More than are looked at for one page.
    for number in 0..BATCHES {
        let request = v1::SendMessagesRequest {
            messages: vec![later(); 1_000],
            idempotency_key: format!("batch-{number}"),
        };
        let answer = client.raw().messaging().send_messages(request).await.expect("a batch").into_inner();
        assert_eq!(answer.accepted_count, 1_000);
    }
    let mut request =
        v1::ListMessagesRequest { reference: "rare".into(), page_size: 2, ..Default::default() };
    let (mut found, mut pages, mut short) = (BTreeSet::new(), 0, 0);
    loop {
        let page = client.list_messages(request.clone()).await.expect("a page");
        pages += 1;
        if page.messages.len() < 2 && !page.next_page_token.is_empty() {
            short += 1;
        }
        for message in page.messages {
            assert!(found.insert(message.id), "it is listed twice");
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(found, rare);
    assert!(short > 0, "the filter hid too little to make a page short: {pages} pages");
    herald.finish().await;
}

async fn a_page_of_long_messages_is_short_and_not_too_large(mode: Mode) {
    const COUNT: usize = 130;
    let mut herald = Herald::start(mode, Setup::default()).await;
    let many_parts = v1::Client { max_parts: 255, ..NewAccount::default().client };
    let account = herald.unsettled_account(NewAccount { client: many_parts, ..NewAccount::default() }).await;
    let client = &account.client;
    let mut sent = Vec::new();
    for number in 0..COUNT {
        let text = format!("{number} ") + &"a".repeat(35_000);
        let request = v1::SendMessageRequest { text, ..later() };
        sent.push(client.send(request).await.expect("the send is accepted").message.id);
    }
    let whole = v1::ListMessagesRequest { page_size: 500, ..Default::default() };
    let first = client.list_messages(whole.clone()).await.expect("a page");
    assert!(first.messages.len() < COUNT && !first.next_page_token.is_empty());
    let ids: Vec<String> = list(client, whole).await.into_iter().rev().map(|message| message.id).collect();
    assert_eq!(ids, sent);
    herald.finish().await;
}

async fn a_time_range_of_transactions_shows_what_was_booked_in_it(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let client = &account.client;
    for _ in 0..4 {
        client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
        nothing_held(client).await;
    }
    let all = transactions(client, v1::ListTransactionsRequest::default()).await.expect("the transactions");
    assert_eq!(all.len(), 9);
    for from in [None, all[6].time, all[2].time] {
        for before in [None, all[1].time, all[5].time] {
            let request = v1::ListTransactionsRequest {
                created_after: from,
                created_before: before,
                ..Default::default()
            };
            let is_within = |transaction: &&v1::Transaction| {
                let at = |time: Option<prost_types::Timestamp>| time.map(|time| (time.seconds, time.nanos));
                from.is_none_or(|_| at(transaction.time) >= at(from))
                    && before.is_none_or(|_| at(transaction.time) < at(before))
            };
            let expected: Vec<i64> = all.iter().filter(is_within).map(|each| each.seq).collect();
            for page_size in [0, 2] {
                let request = v1::ListTransactionsRequest { page_size, ..request.clone() };
                match transactions(client, request).await {
                    Ok(listed) => {
                        let seqs: Vec<i64> = listed.iter().map(|each| each.seq).collect();
                        assert_eq!(seqs, expected);
                    }
                    Err(error) => {
                        assert_eq!(error.field_violations()[0].field, "created_before");
                        assert!(expected.is_empty(), "{expected:?}");
                    }
                }
            }
        }
    }
    let holds = v1::ListTransactionsRequest {
        types: vec![v1::transaction::Type::Hold.into()],
        created_after: all[4].time,
        ..Default::default()
    };
    let holds = transactions(client, holds).await.expect("the holds");
    assert!(!holds.is_empty() && holds.iter().all(|each| each.r#type() == v1::transaction::Type::Hold));
    let ahead = SystemTime::now() + Duration::from_secs(3_600);
    let ahead = v1::ListTransactionsRequest { created_after: Some(ahead.into()), ..Default::default() };
    assert_eq!(transactions(client, ahead).await.expect("nothing"), []);
    herald.finish().await;
}

/// One that nobody sends while the story goes on.
fn later() -> v1::SendMessageRequest {
    let in_a_week = SystemTime::now() + Duration::from_secs(7 * 24 * 3_600);
    v1::SendMessageRequest { schedule_time: Some(in_a_week.into()), ..sms("+12025550100", "Hello") }
}

async fn list(client: &Client, mut request: v1::ListMessagesRequest) -> Vec<v1::Message> {
    let mut messages = Vec::new();
    loop {
        let page = client.list_messages(request.clone()).await.expect("a page");
        messages.extend(page.messages);
        if page.next_page_token.is_empty() {
            return messages;
        }
        request.page_token = page.next_page_token;
    }
}

async fn transactions(
    client: &Client,
    mut request: v1::ListTransactionsRequest,
) -> Result<Vec<v1::Transaction>, Error> {
    let mut transactions = Vec::new();
    loop {
        let page = client.transactions(request.clone()).await?;
        transactions.extend(page.transactions);
        if page.next_page_token.is_empty() {
            return Ok(transactions);
        }
        request.page_token = page.next_page_token;
    }
}
