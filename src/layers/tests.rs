//! The whole stack around a service that answers what a test says.

#![allow(clippy::unwrap_used)]

use delivery::port::AdminStore;
use store_sqlite::{Clock, SqliteStore};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{ServiceExt, service_fn};

use crate::status;

use super::*;

const OPEN: &str = "/grpc.health.v1.Health/Check";
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
    let authenticator = Arc::new(Authenticator::new(Arc::new(store), [7; 32], 4));
    let inside = service_fn(move |_: Request<Body>| async move { Ok::<_, Infallible>(answer().into_http()) });
    let service = ServiceBuilder::new().layer(stack(authenticator)).service(inside);
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = service.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = Status::from_header_map(response.headers()).unwrap_or_else(|| Status::ok(""));
    (status, response)
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
    let wait = || status::overloaded(std::time::Duration::from_secs(3));
    let (status, response) = call(OPEN, &[], wait).await;
    assert_eq!(reason(&status), "OVERLOADED");
    assert_eq!(response.headers()["retry-after"], "3");
    assert!(status.get_details_retry_info().is_some());
}
