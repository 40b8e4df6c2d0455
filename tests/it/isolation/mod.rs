//! One client never sees, counts or guesses another's rows, and nobody calls without the right key. The methods are
//! those of the descriptors: a new one without a row here fails.

pub(crate) mod rows;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use herald_sdk::Client;
use herald_sdk::tonic::{Code, Status};
use herald_sdk::v1::{self, ErrorReason};
use prost::bytes::Bytes;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::{Value, json};
use tonic_types::StatusExt;

use rows::{Named, OF_PROVIDERS, RESUME_TOKEN, ROWS, Things, rows};

use crate::support::raw::{self, Caller};
use crate::support::{
    Account, Herald, Mode, NewAccount, Setup, assert_refused, in_both_modes, new_key, nothing_held, sms,
    until,
};

in_both_modes! {
    a_foreign_id_is_answered_exactly_as_an_absent_one,
    a_malformed_id_is_refused_by_the_name_of_its_field,
    nothing_of_another_client_is_in_any_answer,
    every_method_demands_a_valid_key,
    a_malformed_key_is_as_invalid_as_an_unknown_one,
    every_method_demands_its_scope,
    a_client_acts_for_itself_only_and_an_operator_for_whom_it_names,
}

async fn a_foreign_id_is_answered_exactly_as_an_absent_one(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let (own, foreign) =
        (herald.account(NewAccount::default()).await, herald.account(NewAccount::default()).await);
    let (own_things, foreign_things) = (things(&herald, &own).await, things(&herald, &foreign).await);
    let caller = Caller::new(&herald).with_key(&own.key);
    for (row, method) in rows() {
        for (field, named) in row.names {
            let ask = async |value: &str| {
                let request = naming((row.request)(&own_things), field, value);
                let answer = caller.call(&raw::path(&method), raw::request(&method, request)).await;
                tell(&method, answer, value)
            };
            let (of_another, absent) = (foreign_things.of(*named), absent(*named));
            assert_eq!(ask(of_another).await, ask(&absent).await, "{} by {field}", row.method);
            // The question is a fair one: what is one's own is answered otherwise.
            if row.scope != "ADMIN" && *field != "message_ids" {
                let mine = ask(own_things.of(*named)).await;
                assert_ne!(mine, ask(&absent).await, "{} by {field} knows its own as little", row.method);
            }
        }
    }
    herald.finish().await;
}

async fn a_malformed_id_is_refused_by_the_name_of_its_field(mode: Mode) {
    const MALFORMED: &str = "no\u{7}id";
    let mut herald = Herald::start(mode, Setup::default()).await;
    let own = herald.account(NewAccount::default()).await;
    let things = things(&herald, &own).await;
    for (row, method) in rows() {
        for (field, named) in row.names {
            let key = if row.scope == "ADMIN" { herald.operator_key() } else { &own.key };
            let request = naming((row.request)(&things), field, MALFORMED);
            let answer = Caller::new(&herald).with_key(key);
            let answer = answer.call(&raw::path(&method), raw::request(&method, request)).await;
            let refused = answer.expect_err(row.method);
            let reason = match named {
                Named::ResumeToken => ErrorReason::ResumeTokenInvalid,
                Named::MessagesPage | Named::TransactionsPage => ErrorReason::PageTokenInvalid,
                _ => ErrorReason::InvalidField,
            };
            assert_refused(&refused, Code::InvalidArgument, reason);
            let details = refused.get_error_details();
            let told = details.bad_request().expect("the field is named");
            let is_named = told.field_violations.iter().all(|told| told.field.starts_with(field));
            assert!(is_named, "{} by {field}: {told:?}", row.method);
        }
    }
    herald.finish().await;
}

async fn nothing_of_another_client_is_in_any_answer(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let (own, foreign) =
        (herald.account(NewAccount::default()).await, herald.account(NewAccount::default()).await);
    let (own_things, foreign_things) = (things(&herald, &own).await, things(&herald, &foreign).await);
    let caller = Caller::new(&herald).with_key(&own.key);
    let mut is_own_told = false;
    for (row, method) in rows().filter(|(row, _)| row.scope != "ADMIN") {
        let mut request = (row.request)(&own_things);
        if row.names.contains(&RESUME_TOKEN) && method.is_server_streaming() {
            request["from_oldest"] = json!(true);
        }
        let body = raw::request(&method, request);
        let answer = caller.call(&raw::path(&method), body).await.expect("the own request is answered");
        let told = json_of(&method, answer).to_string();
        for secret in [&foreign_things.client, &foreign_things.message, &foreign.key] {
            assert!(!told.contains(secret.as_str()), "{} tells of another: {told}", row.method);
        }
        is_own_told |= told.contains(&own_things.message);
    }
    assert!(is_own_told, "the answers were looked at");
    herald.finish().await;
}

async fn every_method_demands_a_valid_key(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let own = herald.account(NewAccount::default()).await;
    let things = things(&herald, &own).await;
    // A key of the right form, with a right checksum, that was never made here: another installation's.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut elsewhere = Herald::start_in(Mode::Embedded, Setup::default(), folder).await;
    let stranger = elsewhere.operator_key().to_owned();
    elsewhere.finish().await;
    for (row, method) in rows() {
        let (path, body) = (raw::path(&method), raw::request(&method, (row.request)(&things)));
        let without = admitted(&Caller::new(&herald), &path, body.clone()).await;
        assert_refused(&without.expect_err(row.method), Code::Unauthenticated, ErrorReason::ApiKeyMissing);
        let with_another = admitted(&Caller::new(&herald).with_key(&stranger), &path, body).await;
        assert_refused(
            &with_another.expect_err(row.method),
            Code::Unauthenticated,
            ErrorReason::ApiKeyInvalid,
        );
    }
    herald.finish().await;
}

async fn a_malformed_key_is_as_invalid_as_an_unknown_one(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let own = herald.account(NewAccount::default()).await;
    let last = own.key.chars().last().expect("a key has characters");
    let changed = own.key[..own.key.len() - 1].to_owned() + if last == '0' { "1" } else { "0" };
    let method = raw::method("AccountService/GetAccount");
    let call = async |caller: Caller| caller.call(&raw::path(&method), Bytes::new()).await;
    for key in ["", "hk", "hk_test_x_y", &changed] {
        let refused = call(Caller::new(&herald).with_key(key)).await.expect_err("refused");
        assert_refused(&refused, Code::Unauthenticated, ErrorReason::ApiKeyInvalid);
    }
    // The whole key is good in either of its places.
    let bearer = Caller::new(&herald).with("authorization", &format!("Bearer {}", own.key));
    assert!(call(bearer).await.is_ok());
    assert!(call(Caller::new(&herald).with_key(&own.key)).await.is_ok());
    herald.finish().await;
}

async fn every_method_demands_its_scope(mode: Mode) {
    const SCOPES: [(&str, v1::Scope); 3] =
        [("SEND", v1::Scope::Send), ("READ", v1::Scope::Read), ("BILLING", v1::Scope::Billing)];
    let mut herald = Herald::start(mode, Setup::default()).await;
    let own = herald.account(NewAccount::default()).await;
    let things = things(&herald, &own).await;
    for (row, method) in rows() {
        let (path, body) = (raw::path(&method), raw::request(&method, (row.request)(&things)));
        let others: Vec<v1::Scope> =
            SCOPES.iter().filter(|(name, _)| *name != row.scope).map(|(_, scope)| *scope).collect();
        let key = new_key(&herald, &own.id, &others).await;
        let answer = Caller::new(&herald).with_key(&key).call(&path, body.clone()).await;
        if row.scope.is_empty() {
            assert!(answer.is_ok(), "{} refuses a key: {answer:?}", row.method);
            continue;
        }
        let refused = answer.expect_err(row.method);
        assert_refused(&refused, Code::PermissionDenied, ErrorReason::ScopeMissing);
        let details = refused.get_error_details();
        let wanted = details.error_info().and_then(|info| info.metadata.get("required_scope")).cloned();
        assert_eq!(wanted.as_deref(), Some(row.scope), "{}", row.method);
        if let Some((_, scope)) = SCOPES.iter().find(|(name, _)| *name == row.scope) {
            let key = new_key(&herald, &own.id, &[*scope]).await;
            let answer = Caller::new(&herald).with_key(&key).call(&path, body).await;
            assert!(answer.is_ok(), "{} needs more than {}: {answer:?}", row.method, row.scope);
        }
    }
    herald.finish().await;
}

async fn a_client_acts_for_itself_only_and_an_operator_for_whom_it_names(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let (own, foreign) =
        (herald.account(NewAccount::default()).await, herald.account(NewAccount::default()).await);
    let things = things(&herald, &own).await;
    for (row, method) in rows() {
        let (path, body) = (raw::path(&method), raw::request(&method, (row.request)(&things)));
        for id in [foreign.id.clone(), absent(Named::Client)] {
            let caller = Caller::new(&herald).with_key(&own.key).with("herald-client-id", &id);
            let refused = caller.call(&path, body.clone()).await.expect_err(row.method);
            assert_refused(&refused, Code::PermissionDenied, ErrorReason::ActingNotAllowed);
        }
        let operator = Caller::new(&herald).with_key(herald.operator_key());
        let named = operator.clone().with("herald-client-id", &own.id).call(&path, body.clone()).await;
        assert!(named.is_ok(), "{} refuses an operator: {named:?}", row.method);
        if row.scope != "ADMIN" {
            let absent = operator.clone().with("herald-client-id", &absent(Named::Client));
            let absent = absent.call(&path, body.clone()).await.expect_err(row.method);
            assert_refused(&absent, Code::NotFound, ErrorReason::ResourceNotFound);
        }
        let malformed = operator.clone().with("herald-client-id", "7").call(&path, body.clone()).await;
        assert_refused(&malformed.expect_err(row.method), Code::InvalidArgument, ErrorReason::InvalidField);
        let unnamed = operator.call(&path, body).await;
        if matches!(row.scope, "ADMIN" | "") {
            assert!(unnamed.is_ok(), "{} refuses an operator: {unnamed:?}", row.method);
        } else {
            assert_refused(&unnamed.expect_err(row.method), Code::InvalidArgument, ErrorReason::InvalidField);
        }
    }
    herald.finish().await;
}

#[test]
fn every_method_of_the_api_has_a_row() {
    let described: BTreeSet<String> = raw::methods().iter().map(raw::short_name).collect();
    let named = ROWS.iter().map(|row| row.method).chain(OF_PROVIDERS.iter().copied());
    let rows: BTreeSet<String> = named.map(str::to_owned).collect();
    assert_eq!(described, rows);
    assert_eq!(ROWS.len() + OF_PROVIDERS.len(), rows.len());
}

#[test]
fn every_field_that_names_something_is_tried() {
    for (row, method) in rows() {
        let tried: BTreeSet<&str> = row.names.iter().map(|(field, _)| *field).collect();
        let input = method.input();
        let naming = input
            .fields()
            .map(|field| field.name().to_owned())
            .filter(|name| name.ends_with("_id") || name.ends_with("_ids") || name.ends_with("_token"));
        for name in naming {
            assert!(tried.contains(name.as_str()), "{} is not tried with a foreign {name}", row.method);
        }
    }
}

/// The answer, as soon as strangers are given one: they are limited.
async fn admitted(caller: &Caller, path: &str, body: Bytes) -> Result<Bytes, Status> {
    until("an answer", async || {
        let answer = caller.call(path, body.clone()).await;
        let is_limited = matches!(&answer, Err(status) if status.code() == Code::ResourceExhausted);
        (!is_limited).then_some(answer)
    })
    .await
}

/// Two messages of the account, to their end, and tokens of its lists.
pub(crate) async fn things(herald: &Herald, account: &Account) -> Things {
    let client = &account.client;
    let key = new_key(herald, &account.id, &[v1::Scope::Read]).await;
    let api_key = herald.client(&key).account().await.expect("the account").api_key.expect("the key").id;
    let request = v1::CreateProviderKeyRequest { provider: "simulator".into(), name: "dlr".into() };
    let made = herald.operator().raw().admin().create_provider_key(request).await;
    let provider_key = made.expect("the key is made").into_inner().provider_key.expect("the key").id;
    let sent = client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    let canceled = canceled(client).await;
    nothing_held(client).await;
    let events = client.list_events(v1::ListEventsRequest { page_size: 3, ..Default::default() }).await;
    let page = v1::ListTransactionsRequest { page_size: 1, ..Default::default() };
    let transactions = client.transactions(page).await;
    let messages = client.list_messages(v1::ListMessagesRequest { page_size: 1, ..Default::default() }).await;
    Things {
        client: account.id.clone(),
        message: sent.message.id,
        canceled,
        api_key,
        provider_key,
        resume_token: events.expect("the events").resume_token,
        messages_page: messages.expect("the messages").next_page_token,
        transactions_page: transactions.expect("the transactions").next_page_token,
    }
}

/// A message that was scheduled and canceled.
async fn canceled(client: &Client) -> String {
    let in_a_day = SystemTime::now() + Duration::from_secs(24 * 3_600);
    let later =
        v1::SendMessageRequest { schedule_time: Some(in_a_day.into()), ..sms("+12025550100", "Hello") };
    let message_id = client.send(later).await.expect("the send is accepted").message.id;
    let request = v1::CancelMessageRequest { message_id: message_id.clone() };
    client.raw().messaging().cancel_message(request).await.expect("nobody has taken it");
    message_id
}

/// The request with another name in this field.
fn naming(mut request: Value, field: &str, name: &str) -> Value {
    let (last, around) = field.rsplit_once('.').map_or((field, None), |(around, last)| (last, Some(around)));
    let message = around.map_or_else(|| "".to_owned(), |around| format!("/{}", around.replace('.', "/")));
    let message = request.pointer_mut(&message).expect("the request has the message around it");
    message[last] = if last == "message_ids" { json!([name]) } else { json!(name) };
    request
}

/// One that nobody has, in the right form.
fn absent(named: Named) -> String {
    match named {
        Named::ApiKey => "test0123456789abcdef".to_owned(),
        Named::ProviderKey => "prov0123456789abcdef".to_owned(),
        Named::Message | Named::CanceledMessage | Named::Client => {
            "0198e7a2-5c1e-7b90-9a41-0c6f2d3b8e55".to_owned()
        }
        // Of the length of a real one.
        Named::ResumeToken => "A".repeat(32),
        Named::MessagesPage => "A".repeat(43),
        Named::TransactionsPage => "A".repeat(32),
    }
}

/// All that a caller can tell apart, without what every call has anew, and with `value` as a name.
fn tell(method: &MethodDescriptor, answer: Result<Bytes, Status>, value: &str) -> String {
    match answer {
        Ok(bytes) => {
            let mut told = json_of(method, bytes);
            strip(&mut told);
            format!("answered {told}")
        }
        Err(status) => {
            let details = status.get_error_details();
            let request_id = details.request_info().map(|info| info.request_id.clone()).unwrap_or_default();
            let told = format!("refused {:?} {} {details:?}", status.code(), status.message());
            told.replace(&request_id, "REQUEST").replace(value, "VALUE")
        }
    }
}

fn json_of(method: &MethodDescriptor, bytes: Bytes) -> Value {
    let message = DynamicMessage::decode(method.output(), bytes).expect("the answer decodes");
    serde_json::to_value(&message).expect("the answer can be shown")
}

/// The clock and the position in the own log move by themselves.
fn strip(told: &mut Value) {
    match told {
        Value::Object(fields) => {
            for name in ["time", "resumeToken", "throughSeq"] {
                fields.remove(name);
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}
