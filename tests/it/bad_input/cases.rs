//! Requests that break the documented limits.

use std::time::Duration;

use herald_sdk::tonic::Code;
use herald_sdk::v1::{self, ErrorReason};

use crate::support::{Account, NewAccount, sms, span};

/// Sends that break one limit, or several, with the fields that must be named.
pub(super) fn broken_sends() -> Vec<(Vec<&'static str>, ErrorReason, v1::SendMessageRequest)> {
    use ErrorReason::{InvalidField, RecipientInvalid, SenderInvalid, TextNotEncodable, TooManyParts};
    let fine = || sms("+12025550100", "Hello");
    type Request = v1::SendMessageRequest;
    let mut cases: Vec<(Vec<&'static str>, ErrorReason, Request)> = Vec::new();
    for to in ["", "2025550100", "+1", "+1202555010", "+999123456789", "+1202555010x", "+12025550100\0"] {
        cases.push((vec!["to"], RecipientInvalid, Request { to: to.into(), ..fine() }));
    }
    for sender in ["TwelveLetter", "12", "1234567890123456", "Né日", "a\nb"] {
        cases.push((vec!["sender"], SenderInvalid, Request { sender: sender.into(), ..fine() }));
    }
    let mut invalid = |field: &'static str, broken: Request| cases.push((vec![field], InvalidField, broken));
    invalid("text", Request { text: String::new(), ..fine() });
    invalid("text", Request { data: vec![1], ..fine() });
    invalid("text", Request { text: "a\0b".into(), ..fine() });
    for key in ["a".repeat(129), "a b".into(), "é".into(), "a\nb".into()] {
        invalid("idempotency_key", Request { idempotency_key: key, ..fine() });
    }
    for reference in ["a".repeat(129), "a\nb".into()] {
        invalid("reference", Request { reference, ..fine() });
    }
    for (name, value) in
        [("Upper", "v"), ("", "v"), (&"a".repeat(65), "v"), ("é", "v"), ("a", &"v".repeat(257))]
    {
        invalid("metadata", Request { metadata: [(name.to_owned(), value.to_owned())].into(), ..fine() });
    }
    let many = (0..21).map(|number| (format!("n{number}"), String::new())).collect();
    invalid("metadata", Request { metadata: many, ..fine() });
    invalid("encoding", Request { encoding: 99, ..fine() });
    invalid("encoding", Request { encoding: v1::Encoding::Binary.into(), ..fine() });
    invalid(
        "encoding",
        Request { encoding: v1::Encoding::Gsm7.into(), text: String::new(), data: vec![1], ..fine() },
    );
    invalid("max_parts", Request { max_parts: 256, ..fine() });
    invalid("max_parts", Request { max_parts: -1, ..fine() });
    invalid("max_price_micros", Request { max_price_micros: -1, ..fine() });
    for (seconds, nanos) in
        [(0, 0), (0, 999_999_999), (-1, 0), (7 * 86_400 + 1, 0), (i64::MAX, 0), (1, i32::MAX)]
    {
        let validity_period = Some(prost_types::Duration { seconds, nanos });
        invalid("validity_period", Request { validity_period, ..fine() });
    }
    invalid("on_unknown", Request { on_unknown: 99, ..fine() });
    let gsm = Request { encoding: v1::Encoding::Gsm7.into(), text: "日".into(), ..fine() };
    cases.push((vec!["text"], TextNotEncodable, gsm));
    cases.push((vec!["text"], TooManyParts, Request { text: "a".repeat(40_000), ..fine() }));
    // Several at once are all told at once.
    let several = Request {
        to: "nobody".into(),
        reference: "a".repeat(129),
        max_parts: 256,
        max_price_micros: -1,
        idempotency_key: "a b".into(),
        ..fine()
    };
    cases.push((
        vec!["to", "idempotency_key", "reference", "max_parts", "max_price_micros"],
        InvalidField,
        several,
    ));
    cases
}

/// Clients that break one limit each, with the field that must be named.
pub(super) fn broken_clients() -> Vec<(&'static str, v1::Client)> {
    let fine = || NewAccount::default().client;
    let seconds = |seconds| Some(span(Duration::from_secs(seconds)));
    type Client = v1::Client;
    vec![
        ("client.name", Client { name: String::new(), ..fine() }),
        ("client.name", Client { name: "a".repeat(129), ..fine() }),
        ("client.name", Client { name: "a\nb".into(), ..fine() }),
        ("client.id", Client { id: "0198e7a2-5c1e-7b90-9a41-0c6f2d3b8e55".into(), ..fine() }),
        ("client.state", Client { state: v1::client::State::Suspended.into(), ..fine() }),
        ("client.currency", Client { currency: "usd".into(), ..fine() }),
        ("client.currency", Client { currency: "EURO".into(), ..fine() }),
        ("client.capture_on", Client { capture_on: 99, ..fine() }),
        ("client.settle_unreported", Client { settle_unreported: 99, ..fine() }),
        ("client.on_unknown", Client { on_unknown: 99, ..fine() }),
        ("client.report_timeout", Client { report_timeout: seconds(0), ..fine() }),
        ("client.report_timeout", Client { report_timeout: seconds(31 * 86_400), ..fine() }),
        ("client.resend_after", Client { resend_after: seconds(8 * 86_400), ..fine() }),
        ("client.parts_per_second", Client { parts_per_second: -1, ..fine() }),
        ("client.parts_per_second", Client { parts_per_second: 1_000_001, ..fine() }),
        ("client.burst_parts", Client { burst_parts: -1, ..fine() }),
        ("client.max_parts", Client { max_parts: 256, ..fine() }),
        ("client.max_parts", Client { max_parts: -1, ..fine() }),
        ("client.low_balance_micros", Client { low_balance_micros: -1, ..fine() }),
        ("client.default_sender", Client { default_sender: "TwelveLetter".into(), ..fine() }),
    ]
}

/// API keys, likewise.
pub(super) fn broken_keys(account: &Account) -> Vec<(&'static str, v1::CreateApiKeyRequest)> {
    let scopes = |scopes: &[v1::Scope]| scopes.iter().map(|scope| i32::from(*scope)).collect::<Vec<_>>();
    type Key = v1::CreateApiKeyRequest;
    let fine = || Key {
        client_id: account.id.clone(),
        name: "key".into(),
        scopes: scopes(&[v1::Scope::Read]),
        ..Default::default()
    };
    vec![
        ("client_id", Key { client_id: "7".into(), ..fine() }),
        ("name", Key { name: String::new(), ..fine() }),
        ("name", Key { name: "a".repeat(129), ..fine() }),
        ("scopes", Key { scopes: Vec::new(), ..fine() }),
        ("scopes", Key { scopes: vec![99], ..fine() }),
        ("scopes", Key { scopes: vec![0], ..fine() }),
        ("scopes", Key { scopes: scopes(&[v1::Scope::Admin]), ..fine() }),
        ("scopes", Key { client_id: String::new(), ..fine() }),
        ("expire_time", Key { expire_time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }), ..fine() }),
        (
            "expire_time",
            Key { expire_time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }), ..fine() },
        ),
        ("allowed_ranges", Key { allowed_ranges: vec!["192.0.2.1".into()], ..fine() }),
        ("allowed_ranges", Key { allowed_ranges: vec!["192.0.2.0/24".into(); 21], ..fine() }),
    ]
}

/// Top-ups, likewise; empty = no field is to blame.
pub(super) fn broken_top_ups(account: &Account) -> Vec<(&'static str, ErrorReason, Code, v1::TopUpRequest)> {
    use ErrorReason::{CurrencyMismatch, IdempotencyKeyRequired, InvalidField, ResourceNotFound};
    type TopUp = v1::TopUpRequest;
    let fine = || TopUp {
        client_id: account.id.clone(),
        amount_micros: 1,
        idempotency_key: "broken".into(),
        ..Default::default()
    };
    let invalid = Code::InvalidArgument;
    let absent = "0198e7a2-5c1e-7b90-9a41-0c6f2d3b8e55";
    vec![
        ("client_id", InvalidField, invalid, TopUp { client_id: "7".into(), ..fine() }),
        ("amount_micros", InvalidField, invalid, TopUp { amount_micros: 0, ..fine() }),
        ("amount_micros", InvalidField, invalid, TopUp { amount_micros: -1, ..fine() }),
        ("amount_micros", InvalidField, invalid, TopUp { amount_micros: i64::MAX, ..fine() }),
        ("currency", InvalidField, invalid, TopUp { currency: "dollars".into(), ..fine() }),
        ("idempotency_key", InvalidField, invalid, TopUp { idempotency_key: "a b".into(), ..fine() }),
        (
            "idempotency_key",
            IdempotencyKeyRequired,
            invalid,
            TopUp { idempotency_key: String::new(), ..fine() },
        ),
        ("note", InvalidField, invalid, TopUp { note: "a".repeat(257), ..fine() }),
        ("", CurrencyMismatch, Code::FailedPrecondition, TopUp { currency: "EUR".into(), ..fine() }),
        ("", ResourceNotFound, Code::NotFound, TopUp { client_id: absent.into(), ..fine() }),
    ]
}
