//! Every RPC answers the errors that its comment documents, as their reasons document them. The comments are read from
//! the descriptors: an error that is documented and not provoked here fails, and so does one that is provoked here and not
//! documented.

mod outages;
mod rows;
mod told;
mod world;

use std::collections::BTreeSet;

use herald_sdk::tonic::Status;
use herald_sdk::v1::{ErrorReason, Scope};
use prost::bytes::Bytes;
use prost_reflect::DynamicMessage;
use serde_json::{Value, json};

use crate::docs::described::{OF_ANY, Place, REASONS, RPCS};
use crate::isolation::{rows as isolated, things};
use crate::support::raw::{self, Caller};
use crate::support::{Herald, Mode, NewAccount, Setup, in_both_modes, new_key};
use rows::{Row, Who, rows};
use told::{assert_call_told, assert_told};
use world::{ABSENT, World};

pub(crate) use told::errors_in;
pub(crate) use world::provider_key;

in_both_modes! {
    every_documented_error_comes_as_it_is_documented,
    every_rpc_answers_its_rightful_caller,
}

/// Documented, and not provoked here: a commit whose fate is not known cannot be had on purpose but by a magic recipient,
/// which a letter does not have.
const NOT_PROVOKED: [(&str, Place, ErrorReason); 1] =
    [("AdminService/ReplayDeadLetters", Place::Item, ErrorReason::OutcomeUncertain)];

/// What any RPC may answer, and what a path that is none answers.
const OF_ANY_PROVOKED: [ErrorReason; 10] = [
    // Of a caller: here on one method, by `isolation` on every.
    ErrorReason::ApiKeyMissing,
    ErrorReason::ApiKeyInvalid,
    ErrorReason::ScopeMissing,
    ErrorReason::ActingNotAllowed,
    ErrorReason::Internal,
    ErrorReason::Unimplemented,
    // By `outages`.
    ErrorReason::ShuttingDown,
    ErrorReason::DependencyUnavailable,
    ErrorReason::DeadlineExceeded,
    ErrorReason::Overloaded,
];

async fn every_documented_error_comes_as_it_is_documented(mode: Mode) {
    let mut world = World::new(mode).await;
    let mut wrong = Vec::new();
    for row in rows() {
        let caller = world.caller(row.who);
        let (errors, answers, told) = errors_of(&caller, &row, &world).await;
        let is = |error: &&Status| told::reason_of(error) == Some(row.reason);
        match errors.iter().find(is) {
            // What a stream ends with comes after its metadata.
            Some(error) if row.place == Place::Call && answers == 0 => {
                assert_call_told(row.method, error, row.reason);
            }
            Some(error) => assert_told(row.method, error, row.reason),
            None => wrong.push(format!("{} {:?}: {told}", row.method, row.reason)),
        }
    }
    assert!(wrong.is_empty(), "what is documented does not come:\n{}", wrong.join("\n"));
    errors_of_any(&world).await;
    world.herald.finish().await;
}

/// The errors at the row's place; how many answers came; and all of it for a person.
async fn errors_of(caller: &Caller, row: &Row, world: &World) -> (Vec<Status>, usize, String) {
    let method = raw::method(row.method);
    // A subscription never ends by itself.
    let most = if method.is_server_streaming() && !method.is_client_streaming() { 1 } else { usize::MAX };
    let (answers, ended) = caller.answers(&raw::path(&method), world.request(row), most).await;
    let answers: Vec<DynamicMessage> = answers
        .into_iter()
        .map(|answer| DynamicMessage::decode(method.output(), answer).expect("the answer decodes"))
        .collect();
    let told = format!("{ended:?} after {}", json!(answers));
    let errors = match row.place {
        Place::Call => ended.err().into_iter().collect(),
        Place::Item => answers.iter().flat_map(errors_in).collect(),
    };
    (errors, answers.len(), told)
}

/// Those that any RPC may answer, on one each, and the one of a method that is not there.
async fn errors_of_any(world: &World) {
    let herald = &world.herald;
    let caller = Caller::new(herald);
    let reader = new_key(herald, &world.own.id, &[Scope::Read]).await;
    let balance = "BillingService/GetBalance";
    let refused = async |caller: Caller, name: &str, request: Value, reason: ErrorReason| {
        let method = raw::method(name);
        let answer = caller.call(&raw::path(&method), raw::request(&method, request)).await;
        assert_call_told(name, &answer.expect_err(name), reason);
    };
    refused(caller.clone(), balance, json!({}), ErrorReason::ApiKeyMissing).await;
    refused(caller.clone().with_key("hk_test_x_y"), balance, json!({}), ErrorReason::ApiKeyInvalid).await;
    refused(caller.clone().with_key(&reader), balance, json!({}), ErrorReason::ScopeMissing).await;
    let acting = world.caller(Who::Own).with("herald-client-id", ABSENT);
    refused(acting, balance, json!({}), ErrorReason::ActingNotAllowed).await;
    let operator = world.caller(Who::Operator).with("herald-client-id", &world.damaged_of);
    let damaged = json!({"message_id": world.damaged});
    refused(operator, "MessagingService/GetMessage", damaged, ErrorReason::Internal).await;
    let nowhere = "/herald.v1.MessagingService/SendMassage";
    let answer = world.caller(Who::Own).call(nowhere, Bytes::new()).await;
    assert_call_told(nowhere, &answer.expect_err(nowhere), ErrorReason::Unimplemented);
    // Documented where a request may well be so large; no method takes it.
    let acting = world.caller(Who::Operator).with("herald-client-id", &world.own.id);
    for method in raw::methods() {
        let huge = acting.answers(&raw::path(&method), world::huge(), usize::MAX).await;
        let refused = huge.1.expect_err(method.full_name());
        assert_told(&raw::short_name(&method), &refused, ErrorReason::RequestTooLarge);
    }
}

async fn every_rpc_answers_its_rightful_caller(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let own = herald.account(NewAccount::default()).await;
    let things = things(&herald, &own).await;
    let mut answered = BTreeSet::new();
    for (row, method) in isolated::rows() {
        let key = if row.scope == "ADMIN" { herald.operator_key() } else { &own.key };
        let request = raw::request(&method, (row.request)(&things));
        let answer = Caller::new(&herald).with_key(key).call(&raw::path(&method), request).await;
        assert!(answer.is_ok(), "{}: {answer:?}", row.method);
        answered.insert(raw::short_name(&method));
    }
    let key = provider_key(&herald).await;
    let ingest = raw::method("ReportService/IngestDeliveryReports");
    let request = raw::request(&ingest, rows::report("simulator"));
    let answer = Caller::new(&herald).with("x-provider-key", &key).call(&raw::path(&ingest), request).await;
    assert!(answer.is_ok(), "{answer:?}");
    answered.insert(raw::short_name(&ingest));
    assert_eq!(answered, raw::methods().iter().map(raw::short_name).collect());
    herald.finish().await;
}

#[test]
fn what_is_documented_is_provoked_and_what_is_provoked_is_documented() {
    let documented: BTreeSet<(String, Place, &str)> = RPCS
        .iter()
        .flat_map(|rpc| {
            let name = raw::short_name(&rpc.method);
            rpc.errors.iter().map(move |(place, reason)| (name.clone(), *place, *reason))
        })
        .collect();
    let mut provoked: BTreeSet<(String, Place, &str)> =
        rows().iter().map(|row| (row.method.to_owned(), row.place, told::name(row.reason))).collect();
    for (method, place, reason) in NOT_PROVOKED {
        let is_new = provoked.insert((method.to_owned(), place, told::name(reason)));
        assert!(is_new, "{method} does answer {reason:?}");
    }
    let missing: Vec<_> = documented.difference(&provoked).collect();
    let surplus: Vec<_> = provoked.difference(&documented).collect();
    assert!(missing.is_empty(), "documented, and not provoked: {missing:?}");
    assert!(surplus.is_empty(), "provoked, and not documented: {surplus:?}");
}

#[test]
fn every_reason_is_provoked() {
    let of_any: BTreeSet<&str> = OF_ANY_PROVOKED.iter().map(|reason| told::name(*reason)).collect();
    let lacking: Vec<_> = OF_ANY.difference(&of_any).collect();
    assert!(lacking.is_empty(), "errors of any RPC that none provokes: {lacking:?}");
    let of_rows: BTreeSet<&str> = rows().iter().map(|row| told::name(row.reason)).collect();
    let all: BTreeSet<&str> = REASONS.iter().map(|reason| reason.name).collect();
    assert_eq!(&of_any | &of_rows, all);
}
