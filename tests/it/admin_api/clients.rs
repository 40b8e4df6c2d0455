//! Clients are made once a key, changed field by field, suspended and resumed.

use std::collections::BTreeSet;

use herald_sdk::tonic::Code;
use herald_sdk::v1::{self, ErrorReason};
use tokio::task::JoinSet;

use super::{admin, update};
use crate::support::{
    Herald, Mode, NewAccount, PART_PRICE, Setup, assert_refused, in_both_modes, nothing_held, refusal, sms,
    until,
};

in_both_modes! {
    racers_with_one_key_make_one_client_and_another_request_is_refused,
    an_update_changes_what_its_mask_names_and_nothing_else,
    updates_of_different_fields_at_the_same_time_all_stand,
    a_suspended_client_may_not_send_while_all_else_goes_on,
    clients_are_listed_by_state_and_name_in_pages,
}

const ABSENT: &str = "0198e7a2-5c1e-7b90-9a41-0c6f2d3b8e55";

async fn racers_with_one_key_make_one_client_and_another_request_is_refused(mode: Mode) {
    const RACERS: usize = 16;
    let mut herald = Herald::start(mode, Setup::default()).await;
    let keyed = |name: &str| v1::CreateClientRequest {
        client: Some(v1::Client { name: name.into(), max_parts: 3, ..Default::default() }),
        idempotency_key: "order-7".into(),
    };
    let racers = (0..RACERS).map(|_| async {
        let mut admin = admin(&herald);
        // A busy machine may be out of connections to its database; nothing was done then.
        until("the answer", async || match admin.create_client(keyed("acme")).await {
            Err(status) if status.code() == Code::Unavailable => None,
            answer => Some(answer.expect("every racer is answered")),
        })
        .await
    });
    let answers = futures_util::future::join_all(racers).await;
    let replays = answers.iter().filter(|answer| answer.metadata().contains_key("idempotent-replayed"));
    assert_eq!(replays.count(), RACERS - 1, "one racer was first");
    let ids: BTreeSet<String> =
        answers.into_iter().map(|answer| answer.into_inner().client.expect("the client").id).collect();
    assert_eq!(ids.len(), 1);

    let id = ids.first().expect("one").clone();
    let renamed = v1::Client { id: id.clone(), name: "acme ltd".into(), ..Default::default() };
    admin(&herald).update_client(update(renamed, &["name"])).await.expect("the name is changed");
    let again = admin(&herald).create_client(keyed("acme")).await.expect("a replay").into_inner();
    let client = again.client.expect("the client");
    assert_eq!((client.id.as_str(), client.name.as_str()), (id.as_str(), "acme ltd"), "as it is now");

    let other = admin(&herald).create_client(keyed("other")).await;
    refusal(other, Code::AlreadyExists, ErrorReason::IdempotencyKeyReused);
    let page = admin(&herald).list_clients(v1::ListClientsRequest::default()).await.expect("the clients");
    assert_eq!(page.into_inner().clients.len(), 1);
    herald.finish().await;
}

async fn an_update_changes_what_its_mask_names_and_nothing_else(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let before = herald.operator().get_client(&account.id).await.expect("the client");
    // In force at once on this node, also where it remembers the client.
    account.client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    let told = v1::Client {
        id: account.id.clone(),
        default_sender: "Acme".into(),
        low_balance_micros: 5,
        name: "not in the mask".into(),
        max_parts: 999,
        ..Default::default()
    };
    let request = update(told, &["default_sender", "low_balance_micros"]);
    let answer = admin(&herald).update_client(request).await.expect("the client is changed").into_inner();
    let expected = v1::Client { default_sender: "Acme".into(), low_balance_micros: 5, ..before.clone() };
    assert_eq!(answer.client.as_ref(), Some(&expected));
    assert_eq!(herald.operator().get_client(&account.id).await.expect("the client"), expected);
    let sent = account.client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    assert_eq!(sent.message.sender, "Acme");
    // Named and empty: the default.
    let emptied = v1::Client { id: account.id.clone(), ..Default::default() };
    let request = update(emptied, &["default_sender", "report_timeout"]);
    let answer = admin(&herald).update_client(request).await.expect("the client is changed").into_inner();
    let client = answer.client.expect("the client");
    assert_eq!(client.default_sender, "");
    assert_eq!(client.report_timeout.map(|span| span.seconds), Some(72 * 3_600));

    let refused = async |client: v1::Client, mask: &[&str], field: &str| {
        let answer = admin(&herald).update_client(update(client, mask)).await;
        let error = refusal(answer, Code::InvalidArgument, ErrorReason::InvalidField);
        let named: Vec<&str> =
            error.field_violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, [field], "{mask:?}");
    };
    let client = |id: &str| v1::Client { id: id.into(), max_parts: 999, ..Default::default() };
    refused(client(&account.id), &[], "update_mask").await;
    refused(client(&account.id), &["name", "currency"], "update_mask").await;
    refused(client(&account.id), &["Name"], "update_mask").await;
    refused(client(&account.id), &["max_parts"], "client.max_parts").await;
    refused(client("7"), &["max_parts"], "client.id").await;
    let absent = admin(&herald).update_client(update(client(ABSENT), &["default_sender"])).await;
    refusal(absent, Code::NotFound, ErrorReason::ResourceNotFound);
    // A client without a report for three days: the story must not wait for one.
    let patience = v1::Client { id: account.id.clone(), report_timeout: before.report_timeout, ..expected };
    admin(&herald).update_client(update(patience, &["report_timeout"])).await.expect("the client is changed");
    herald.finish().await;
}

async fn updates_of_different_fields_at_the_same_time_all_stand(mode: Mode) {
    const ROUNDS: i64 = 10;
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    for round in 1..=ROUNDS {
        let client = v1::Client {
            id: account.id.clone(),
            name: format!("round {round}"),
            low_balance_micros: round,
            default_sender: format!("R{round}"),
            ..Default::default()
        };
        let mut racers = JoinSet::new();
        for field in ["name", "low_balance_micros", "default_sender"] {
            let (mut admin, request) = (admin(&herald), update(client.clone(), &[field]));
            racers.spawn(async move { admin.update_client(request).await });
        }
        for answer in racers.join_all().await {
            answer.expect("the client is changed");
        }
        let now = herald.operator().get_client(&account.id).await.expect("the client");
        assert_eq!(
            (now.name, now.low_balance_micros, now.default_sender),
            (client.name, client.low_balance_micros, client.default_sender),
        );
    }
    herald.finish().await;
}

async fn a_suspended_client_may_not_send_while_all_else_goes_on(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let client = herald.impatient_client(&account.key);
    let before = client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted").message;
    let suspend = async |note: &str| {
        let request = v1::SuspendClientRequest { client_id: account.id.clone(), note: note.into() };
        admin(&herald).suspend_client(request).await.map(|answer| answer.into_inner().client)
    };
    let suspended = suspend("unpaid").await.expect("it is suspended").expect("the client");
    assert_eq!(suspended.state(), v1::client::State::Suspended);
    assert_eq!(suspended.suspend_reason, "unpaid");
    let suspended = suspend("still unpaid").await.expect("a new note").expect("the client");
    assert_eq!(suspended.suspend_reason, "still unpaid");
    refusal(suspend("").await, Code::InvalidArgument, ErrorReason::InvalidField);
    refusal(suspend(&"a".repeat(257)).await, Code::InvalidArgument, ErrorReason::InvalidField);

    let refused = client.send(sms("+12025550100", "Hello")).await;
    refusal(refused, Code::PermissionDenied, ErrorReason::ClientSuspended);
    until("the accepted message's end", async || {
        let message = client.get_message(&before.id).await.expect("reads go on");
        (message.status() == v1::message::Status::Delivered).then_some(())
    })
    .await;
    nothing_held(&client).await;

    let resume = async |id: &str| {
        let request = v1::ResumeClientRequest { client_id: id.to_owned(), note: "paid".into() };
        admin(&herald).resume_client(request).await
    };
    for _ in 0..2 {
        let resumed = resume(&account.id).await.expect("it is resumed").into_inner();
        let resumed = resumed.client.expect("the client");
        assert_eq!(resumed.state(), v1::client::State::Active);
        assert_eq!(resumed.suspend_reason, "");
    }
    let sent = client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    assert_eq!(sent.message.price_micros, PART_PRICE);
    assert_refused(&resume(ABSENT).await.unwrap_err(), Code::NotFound, ErrorReason::ResourceNotFound);
    herald.finish().await;
}

async fn clients_are_listed_by_state_and_name_in_pages(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let mut ids = Vec::new();
    for name in ["acme 1", "acme 2", "other", "acme 3", "Acme"] {
        let client = v1::Client { name: name.into(), ..Default::default() };
        let request = v1::CreateClientRequest { client: Some(client), ..Default::default() };
        ids.push(herald.operator().create_client(request).await.expect("the client is made").id);
    }
    let suspend = v1::SuspendClientRequest { client_id: ids[1].clone(), note: "unpaid".into() };
    admin(&herald).suspend_client(suspend).await.expect("it is suspended");

    let all = async |mut request: v1::ListClientsRequest| {
        let mut found = Vec::new();
        loop {
            let page = admin(&herald).list_clients(request.clone()).await.expect("a page").into_inner();
            assert!(page.clients.len() <= request.page_size as usize);
            found.extend(page.clients.into_iter().map(|client| client.id));
            if page.next_page_token.is_empty() {
                return found;
            }
            request.page_token = page.next_page_token;
        }
    };
    let asked = v1::ListClientsRequest { page_size: 2, ..Default::default() };
    assert_eq!(all(asked.clone()).await, ids);
    let acme = v1::ListClientsRequest { name_prefix: "acme".into(), ..asked.clone() };
    assert_eq!(all(acme.clone()).await, [&ids[0], &ids[1], &ids[3]].map(String::clone));
    let state = v1::client::State::Active.into();
    assert_eq!(
        all(v1::ListClientsRequest { state, ..acme.clone() }).await,
        [&ids[0], &ids[3]].map(String::clone)
    );
    let state = v1::client::State::Suspended.into();
    assert_eq!(all(v1::ListClientsRequest { state, ..asked.clone() }).await, [ids[1].clone()]);

    let first = admin(&herald).list_clients(acme).await.expect("a page").into_inner();
    let foreign = v1::ListClientsRequest { page_token: first.next_page_token, ..asked.clone() };
    let answer = admin(&herald).list_clients(foreign).await;
    refusal(answer, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    for broken in [
        v1::ListClientsRequest { page_size: -1, ..Default::default() },
        v1::ListClientsRequest { state: 9, ..Default::default() },
        v1::ListClientsRequest { name_prefix: "a\0".into(), ..Default::default() },
    ] {
        let answer = admin(&herald).list_clients(broken).await;
        refusal(answer, Code::InvalidArgument, ErrorReason::InvalidField);
    }
    herald.finish().await;
}
