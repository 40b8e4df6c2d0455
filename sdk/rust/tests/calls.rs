//! Calls against a server that answers what each test says: what is repeated, with which key, and for how long.

#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use herald_sdk::v1::{self, ErrorReason};
use herald_sdk::{Client, Config};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;
use tonic_types::{ErrorDetails, StatusExt};

/// One method of the API.
trait Method: Send + Sync + 'static {
    const SERVICE: &'static str;
    type Request: prost::Message + Clone + Default + 'static;
    type Response: prost::Message + Clone + Default + 'static;
}

struct SendMessage;

impl Method for SendMessage {
    const SERVICE: &'static str = "herald.v1.MessagingService";
    type Request = v1::SendMessageRequest;
    type Response = v1::SendMessageResponse;
}

struct SendMessages;

impl Method for SendMessages {
    const SERVICE: &'static str = "herald.v1.MessagingService";
    type Request = v1::SendMessagesRequest;
    type Response = v1::SendMessagesResponse;
}

struct CancelMessage;

impl Method for CancelMessage {
    const SERVICE: &'static str = "herald.v1.MessagingService";
    type Request = v1::CancelMessageRequest;
    type Response = v1::CancelMessageResponse;
}

struct CreateApiKey;

impl Method for CreateApiKey {
    const SERVICE: &'static str = "herald.v1.AdminService";
    type Request = v1::CreateApiKeyRequest;
    type Response = v1::CreateApiKeyResponse;
}

struct CreateClient;

impl Method for CreateClient {
    const SERVICE: &'static str = "herald.v1.AdminService";
    type Request = v1::CreateClientRequest;
    type Response = v1::CreateClientResponse;
}

/// A server of one method: gives its answers in turn, and keeps what it was asked.
struct Server<M: Method>(Arc<Script<M>>);

struct Script<M: Method> {
    answers: Mutex<VecDeque<Result<M::Response, Status>>>,
    asked: Mutex<Vec<(MetadataMap, M::Request)>>,
    method: PhantomData<M>,
}

impl<M: Method> Clone for Server<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Method> NamedService for Server<M> {
    const NAME: &'static str = M::SERVICE;
}

impl<M: Method> Service<http::Request<Body>> for Server<M> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<M::Response, M::Request>::default());
            Ok(grpc.unary(server, request).await)
        })
    }
}

impl<M: Method> Service<Request<M::Request>> for Server<M> {
    type Response = Response<M::Response>;
    type Error = Status;
    type Future = Ready<Result<Response<M::Response>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<M::Request>) -> Self::Future {
        let (metadata, _, message) = request.into_parts();
        self.0.asked.lock().unwrap().push((metadata, message));
        let answer = self.0.answers.lock().unwrap().pop_front();
        ready(answer.expect("the script has an answer for every call").map(Response::new))
    }
}

/// Starts the server; a client of it.
async fn start<M: Method>(answers: Vec<Result<M::Response, Status>>) -> (Client, Arc<Script<M>>) {
    let (answers, asked) = (Mutex::new(answers.into()), Mutex::default());
    let script = Arc::new(Script { answers, asked, method: PhantomData });
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let server = tonic::transport::Server::builder().add_service(Server(script.clone()));
    tokio::spawn(server.serve_with_incoming(incoming));
    let mut config = Config::new(format!("http://{address}"), "hk_a_b_c");
    config.retry.base_pause = Duration::from_millis(1);
    (Client::connect_lazy(config).unwrap(), script)
}

fn status(code: Code, reason: &str, retry_after: Option<Duration>) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "herald", HashMap::<String, String>::new());
    details.set_retry_info(retry_after);
    Status::with_error_details(code, "as the test says", details)
}

fn uncertain() -> Status {
    status(Code::Unavailable, "OUTCOME_UNCERTAIN", None)
}

fn receipt() -> v1::SendMessageResponse {
    v1::SendMessageResponse {
        message: Some(v1::Message { id: "m1".into(), ..Default::default() }),
        replayed: false,
    }
}

#[tokio::test]
async fn a_send_keeps_its_made_key_until_it_is_answered() {
    let answers = vec![Err(uncertain()), Err(uncertain()), Ok(receipt())];
    let (client, script) = start::<SendMessage>(answers).await;
    let sent = client.send(v1::SendMessageRequest { to: "+12025550100".into(), ..Default::default() }).await;
    assert_eq!(sent.unwrap().message.id, "m1");
    let asked = script.asked.lock().unwrap();
    let keys: Vec<_> = asked.iter().map(|(_, request)| request.idempotency_key.as_str()).collect();
    assert_eq!(keys.len(), 3);
    assert!(!keys[0].is_empty() && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[tokio::test]
async fn a_given_key_is_kept_and_two_sends_have_different_ones() {
    let (client, script) = start::<SendMessage>(vec![Ok(receipt()), Ok(receipt()), Ok(receipt())]).await;
    client
        .send(v1::SendMessageRequest { idempotency_key: "mine".into(), ..Default::default() })
        .await
        .unwrap();
    client.send(v1::SendMessageRequest::default()).await.unwrap();
    client.send(v1::SendMessageRequest::default()).await.unwrap();
    let asked = script.asked.lock().unwrap();
    assert_eq!(asked[0].1.idempotency_key, "mine");
    assert_ne!(asked[1].1.idempotency_key, asked[2].1.idempotency_key);
}

#[tokio::test]
async fn calls_tell_the_key_and_the_deadline() {
    let (client, script) = start::<SendMessage>(vec![Ok(receipt())]).await;
    client.send(v1::SendMessageRequest::default()).await.unwrap();
    let asked = script.asked.lock().unwrap();
    assert_eq!(asked[0].0.get("x-api-key").unwrap(), "hk_a_b_c");
    assert!(asked[0].0.contains_key("grpc-timeout"));
}

#[tokio::test]
async fn what_changes_something_without_a_key_is_never_repeated() {
    let (client, script) = start::<CreateApiKey>(vec![Err(uncertain())]).await;
    let error = client.create_api_key(v1::CreateApiKeyRequest::default()).await.unwrap_err();
    assert_eq!(error.reason(), Some(ErrorReason::OutcomeUncertain));
    assert_eq!(script.asked.lock().unwrap().len(), 1);
    let (client, script) = start::<CancelMessage>(vec![Err(uncertain())]).await;
    client.cancel_message("m1").await.unwrap_err();
    assert_eq!(script.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_client_is_made_under_one_key_however_often_it_is_asked_for() {
    let made =
        v1::CreateClientResponse { client: Some(v1::Client { id: "c1".into(), ..Default::default() }) };
    let (client, script) = start::<CreateClient>(vec![Err(uncertain()), Ok(made)]).await;
    assert_eq!(client.create_client(v1::CreateClientRequest::default()).await.unwrap().id, "c1");
    let asked = script.asked.lock().unwrap();
    assert!(!asked[0].1.idempotency_key.is_empty());
    assert_eq!(asked[0].1.idempotency_key, asked[1].1.idempotency_key);
}

#[tokio::test]
async fn a_batch_keeps_its_key_and_answers_each_message_by_itself() {
    use v1::send_outcome::Outcome;
    let refusal = tonic_types::pb::Status { code: Code::FailedPrecondition.into(), ..Default::default() };
    let outcomes = [Outcome::Accepted(v1::Accepted::default()), Outcome::Error(refusal)];
    let outcomes = outcomes.map(|outcome| v1::SendOutcome { outcome: Some(outcome) }).to_vec();
    let answer = v1::SendMessagesResponse { outcomes, accepted_count: 1, refused_count: 1 };
    let (client, script) =
        start::<SendMessages>(vec![Err(uncertain()), Ok(answer.clone()), Ok(answer)]).await;
    let batch = |count| v1::SendMessagesRequest {
        messages: vec![v1::SendMessageRequest::default(); count],
        ..Default::default()
    };
    let outcomes = client.send_many(batch(2)).await.unwrap();
    assert!(outcomes[0].is_ok());
    assert_eq!(outcomes[1].as_ref().unwrap_err().code(), Code::FailedPrecondition);
    // An answer that does not fit its request is none.
    assert_eq!(client.send_many(batch(3)).await.unwrap_err().code(), Code::Internal);
    let asked = script.asked.lock().unwrap();
    assert!(!asked[0].1.idempotency_key.is_empty());
    assert_eq!(asked[0].1.idempotency_key, asked[1].1.idempotency_key);
    assert_ne!(asked[0].1.idempotency_key, asked[2].1.idempotency_key);
}

#[tokio::test]
async fn a_refusal_is_not_repeated() {
    let refusal = status(Code::FailedPrecondition, "INSUFFICIENT_CREDIT", None);
    let (client, script) = start::<SendMessage>(vec![Err(refusal)]).await;
    let error = client.send(v1::SendMessageRequest::default()).await.unwrap_err();
    assert_eq!(error.reason(), Some(ErrorReason::InsufficientCredit));
    assert_eq!(script.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_call_waits_as_long_as_the_server_asks_for() {
    let wait = Duration::from_millis(300);
    let limited = status(Code::ResourceExhausted, "RATE_LIMITED", Some(wait));
    let (client, _) = start::<SendMessage>(vec![Err(limited), Ok(receipt())]).await;
    let begin = Instant::now();
    client.send(v1::SendMessageRequest::default()).await.unwrap();
    assert!(begin.elapsed() >= wait, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_wait_past_the_deadline_is_not_begun() {
    let limited = status(Code::ResourceExhausted, "RATE_LIMITED", Some(Duration::from_secs(3_600)));
    let (client, script) = start::<SendMessage>(vec![Err(limited)]).await;
    let error = client.send(v1::SendMessageRequest::default()).await.unwrap_err();
    assert_eq!(error.reason(), Some(ErrorReason::RateLimited));
    assert_eq!(script.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_after_all_attempts() {
    // Bound and dropped: nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = Config::new(format!("http://{address}"), "hk_a_b_c");
    config.retry.base_pause = Duration::from_millis(1);
    let error = Client::connect_lazy(config).unwrap().balance().await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::Unavailable, None));
}

#[tokio::test]
async fn an_answer_without_its_message_is_an_error_not_a_panic() {
    let (client, _) = start::<SendMessage>(vec![Ok(v1::SendMessageResponse::default())]).await;
    let error = client.send(v1::SendMessageRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::Internal);
}
