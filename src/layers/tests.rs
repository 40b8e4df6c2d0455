//! The whole stack around a service that answers what a test says.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use delivery::port::AdminStore;
use store_sqlite::{Clock, SqliteStore};
use tonic::transport::server::TcpConnectInfo;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{ServiceExt, service_fn};

use crate::auth::Strangers;
use crate::status;

use super::*;

const OPEN: &str = "/grpc.health.v1.Health/Check";
/// What a stranger may ask for at once; more comes only after an hour.
const BURST: u32 = 3;
const OURS: &str = "/herald.v1.MessagingService/SendMessage";

/// Calls `path` through the stack; the service inside answers `answer`.
async fn call(
    path: &str,
    headers: &[(&'static str, &str)],
    answer: fn() -> Status,
) -> (Status, Response<Body>) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("herald.db"), Clock::Database).await.unwrap();
    store.migrate().await.unwrap();
    let service = around(Arc::new(store), answer);
    let response = service.oneshot(request(path, headers)).await.unwrap();
    let status = Status::from_header_map(response.headers()).unwrap_or_else(|| Status::ok(""));
    (status, response)
}

/// The stack around `answer`, behind the trusted proxies of 10.0.0.0/8.
fn around(store: Arc<SqliteStore>, answer: fn() -> Status) -> impl Inner {
    let strangers = Arc::new(Strangers::each(Duration::from_secs(3_600), BURST));
    let authenticator = Arc::new(Authenticator::new(store, [7; 32], 4, strangers));
    let inside = service_fn(move |_: Request<Body>| async move { Ok::<_, Infallible>(answer().into_http()) });
    ServiceBuilder::new().layer(stack(authenticator, &["10.0.0.0/8".parse().unwrap()])).service(inside)
}

fn request(path: &str, headers: &[(&'static str, &str)]) -> Request<Body> {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[tokio::test]
async fn a_call_without_a_key_stops_here_and_health_needs_none() {
    let (status, _) = call(OURS, &[], || Status::ok("")).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "API_KEY_MISSING"));
    let (status, _) = call(OURS, &[("authorization", "Bearer hk_nothing")], || Status::ok("")).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "API_KEY_INVALID"));
    let (status, _) = call(OPEN, &[], || Status::ok("")).await;
    assert_eq!(status.code(), Code::Ok);
}

#[tokio::test]
async fn every_answer_echoes_the_request_id_and_errors_carry_it() {
    let (status, response) = call(OURS, &[("x-request-id", "order-17")], || Status::ok("")).await;
    assert_eq!(response.headers()["x-request-id"], "order-17");
    assert_eq!(status.get_details_request_info().unwrap().request_id, "order-17");
    let (_, response) = call(OPEN, &[("x-request-id", "two words")], || Status::ok("")).await;
    assert_ne!(response.headers()["x-request-id"], "two words");
}

#[tokio::test]
async fn bare_errors_leave_with_a_reason() {
    type Answer = fn() -> Status;
    let cases: [(Answer, Code, &str); 6] = [
        (|| Status::unimplemented("x"), Code::Unimplemented, "UNIMPLEMENTED"),
        (|| Status::out_of_range("message length too large"), Code::ResourceExhausted, "REQUEST_TOO_LARGE"),
        (|| Status::not_found("service"), Code::NotFound, "RESOURCE_NOT_FOUND"),
        (|| Status::internal("failed to decode Protobuf message: x"), Code::InvalidArgument, "INVALID_FIELD"),
        (|| Status::internal("the password is x"), Code::Internal, "INTERNAL"),
        (|| Status::unknown("boom"), Code::Internal, "INTERNAL"),
    ];
    for (answer, code, expected) in cases {
        let (status, _) = call(OPEN, &[], answer).await;
        assert_eq!((status.code(), reason(&status).as_str()), (code, expected));
        assert!(!status.message().contains("password"), "{}", status.message());
    }
}

#[tokio::test]
async fn an_internal_error_names_its_request_in_its_metadata() {
    let (status, _) = call(OPEN, &[("x-request-id", "r-1")], || Status::unknown("boom")).await;
    assert_eq!(status.get_details_error_info().unwrap().metadata["request_id"], "r-1");
}

#[tokio::test]
async fn what_our_handlers_say_passes_with_its_metadata() {
    let wait = || status::overloaded(Duration::from_secs(3));
    let (status, response) = call(OPEN, &[], wait).await;
    assert_eq!(reason(&status), "OVERLOADED");
    assert_eq!(response.headers()["retry-after"], "3");
    assert!(status.get_details_retry_info().is_some());
}

/// The stack over a store without keys.
async fn empty() -> (tempfile::TempDir, impl Inner) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("herald.db"), Clock::Database).await.unwrap();
    store.migrate().await.unwrap();
    (folder, around(Arc::new(store), || Status::ok("")))
}

/// The answers to `calls` equal requests that come one after the other through the proxy 10.0.0.1.
async fn flood(
    service: &impl Inner,
    path: &str,
    headers: &[(&'static str, &str)],
    calls: u32,
) -> Vec<Response<Body>> {
    let mut answers = Vec::new();
    for _ in 0..calls {
        let mut request = request(path, headers);
        let peer = Some(([10, 0, 0, 1], 4711).into());
        request.extensions_mut().insert(TcpConnectInfo { local_addr: None, remote_addr: peer });
        answers.push(service.clone().oneshot(request).await.unwrap());
    }
    answers
}

fn reasons(answers: &[Response<Body>]) -> Vec<String> {
    let status = |answer: &Response<Body>| Status::from_header_map(answer.headers());
    answers.iter().map(|answer| status(answer).map(|status| reason(&status)).unwrap_or_default()).collect()
}

#[tokio::test]
async fn whatever_a_call_without_a_good_key_shows_it_is_counted() {
    let shown: [&[(&'static str, &str)]; 6] = [
        &[],
        &[("x-api-key", "")],
        &[("x-api-key", "hk_é")],
        &[("authorization", "Bearer hk_nothing")],
        &[("authorization", "Basic aGVyYWxk")],
        &[("authorization", "é")],
    ];
    for headers in shown {
        let (_folder, service) = empty().await;
        let answers = flood(&service, OURS, headers, BURST + 1).await;
        assert_eq!(reasons(&answers)[BURST as usize], "RATE_LIMITED", "{headers:?}");
    }
}

#[tokio::test]
async fn strangers_have_their_burst_and_are_then_told_when_to_come_back() {
    let (_folder, service) = empty().await;
    // A key that is no key, and no key, take from one allowance.
    let wrong = flood(&service, OURS, &[("x-api-key", "hk_nothing")], BURST - 1).await;
    assert_eq!(reasons(&wrong), ["API_KEY_INVALID", "API_KEY_INVALID"]);
    let keyless = flood(&service, OURS, &[], 2).await;
    assert_eq!(reasons(&keyless), ["API_KEY_MISSING", "RATE_LIMITED"]);
    let wrong = flood(&service, OURS, &[("x-api-key", "hk_nothing")], 1).await;
    assert_eq!(reasons(&wrong), ["RATE_LIMITED"]);
    for refused in [&keyless[1], &wrong[0]] {
        let status = Status::from_header_map(refused.headers()).unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        let details = status.get_error_details();
        let wait = details.retry_info().unwrap().retry_delay.unwrap();
        assert!((3_500..=3_600).contains(&wait.as_secs()), "{wait:?}");
        assert_eq!(details.quota_failure().unwrap().violations[0].subject, "address");
        assert!(details.request_info().is_some());
        let header: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((wait.as_secs()..=wait.as_secs() + 1).contains(&header));
    }
    // The proxy's own probes go on, up to the same limit; and other sources have their own.
    let probes = flood(&service, OPEN, &[], BURST + 1).await;
    assert_eq!(reasons(&probes), ["", "", "", "RATE_LIMITED"]);
    let mut elsewhere = Vec::new();
    for address in ["198.51.100.7", "198.51.100.8", "198.51.100.9"] {
        elsewhere.extend(flood(&service, OPEN, &[("x-forwarded-for", address)], 1).await);
    }
    // One of them may, by chance, share the place.
    assert!(reasons(&elsewhere).contains(&String::new()));
}
