//! Streams against a server that breaks off as each test says: what goes up again, with which keys, and when it ends.

#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use herald_sdk::v1::{self, ErrorReason};
use herald_sdk::{Client, Config, Item};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tonic_types::{ErrorDetails, StatusExt};

/// One streaming method of the API.
trait Method: Send + Sync + 'static {
    const SERVICE: &'static str;
    type Request: prost::Message + Clone + Default + 'static;
    type Response: prost::Message + Clone + Default + 'static;

    /// What the server says on one connection.
    fn answer(
        script: Arc<Script<Self>>,
        connection: Connection,
        up: Streaming<Self::Request>,
    ) -> BoxStream<'static, Result<Self::Response, Status>>
    where
        Self: Sized;
}

/// How one connection goes.
#[derive(Clone)]
struct Connection {
    /// Frames that are answered before the end.
    answers: usize,
    /// How it ends; `None` = well, when the client says no more.
    end: Option<Status>,
}

/// The connections to come, and what came up on the earlier ones.
struct Script<M: Method> {
    connections: Mutex<VecDeque<Connection>>,
    asked: Mutex<Vec<Vec<M::Request>>>,
}

struct Server<M: Method>(Arc<Script<M>>, PhantomData<M>);

impl<M: Method> Clone for Server<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<M: Method> NamedService for Server<M> {
    const NAME: &'static str = M::SERVICE;
}

impl<M: Method> Service<http::Request<Body>> for Server<M> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<M::Response, M::Request>::default());
            Ok(grpc.streaming(server, request).await)
        })
    }
}

impl<M: Method> Service<Request<Streaming<M::Request>>> for Server<M> {
    type Response = Response<BoxStream<'static, Result<M::Response, Status>>>;
    type Error = Status;
    type Future = std::future::Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<M::Request>>) -> Self::Future {
        let connection = self.0.connections.lock().unwrap().pop_front();
        let connection = connection.expect("the script has a connection for every call");
        self.0.asked.lock().unwrap().push(Vec::new());
        std::future::ready(Ok(Response::new(M::answer(self.0.clone(), connection, request.into_inner()))))
    }
}

const WINDOW: i32 = 3;

struct StreamMessages;

impl Method for StreamMessages {
    const SERVICE: &'static str = "herald.v1.MessagingService";
    type Request = v1::StreamMessagesRequest;
    type Response = v1::StreamMessagesResponse;

    fn answer(
        script: Arc<Script<Self>>,
        connection: Connection,
        up: Streaming<Self::Request>,
    ) -> BoxStream<'static, Result<Self::Response, Status>> {
        use v1::stream_messages_response::Frame;
        let opened = Frame::Opened(v1::StreamOpened { max_in_flight: WINDOW });
        let opened = stream::iter([Ok(v1::StreamMessagesResponse { frame: Some(opened) })]);
        let state = (up, connection, 0);
        let acks = stream::unfold(state, move |(mut up, mut connection, index)| {
            let script = script.clone();
            async move {
                if connection.answers == 0
                    && let Some(end) = connection.end.take()
                {
                    return Some((Err(end), (up, connection, index)));
                }
                let asked = up.message().await.ok().flatten()?;
                script.asked.lock().unwrap().last_mut().unwrap().push(asked.clone());
                connection.answers = connection.answers.saturating_sub(1);
                let outcome = v1::send_outcome::Outcome::Accepted(v1::Accepted::default());
                let outcome = Some(v1::SendOutcome { outcome: Some(outcome) });
                let ack = v1::StreamAck { tag: asked.tag, index, outcome };
                let frame = v1::StreamMessagesResponse { frame: Some(Frame::Ack(ack)) };
                Some((Ok(frame), (up, connection, index + 1)))
            }
        });
        opened.chain(acks).boxed()
    }
}

struct WatchBalance;

impl Method for WatchBalance {
    const SERVICE: &'static str = "herald.v1.BillingService";
    type Request = v1::WatchBalanceRequest;
    type Response = v1::WatchBalanceResponse;

    fn answer(
        script: Arc<Script<Self>>,
        connection: Connection,
        mut up: Streaming<Self::Request>,
    ) -> BoxStream<'static, Result<Self::Response, Status>> {
        use v1::watch_balance_response::Frame;
        let number = script.asked.lock().unwrap().len() as i64;
        let frames = (0..connection.answers).map(move |_| {
            let balance = v1::Balance { available_micros: number, ..Default::default() };
            Ok(v1::WatchBalanceResponse { frame: Some(Frame::Balance(balance)) })
        });
        let asked = stream::once(async move {
            let request = up.message().await.unwrap().unwrap();
            script.asked.lock().unwrap().last_mut().unwrap().push(request);
        });
        let asked = asked.filter_map(async |()| None);
        asked.chain(stream::iter(frames.chain(connection.end.map(Err)))).boxed()
    }
}

/// Starts the server; a client of it.
fn start<M: Method>(connections: impl IntoIterator<Item = Connection>) -> (Client, Arc<Script<M>>) {
    let connections = Mutex::new(connections.into_iter().collect());
    let script = Arc::new(Script { connections, asked: Mutex::default() });
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let service = Server(script.clone(), PhantomData::<M>);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    let mut config = Config::new(format!("http://{address}"), "hk_a_b_c");
    config.retry.base_pause = Duration::from_millis(1);
    config.retry.max_attempts = 4;
    (Client::connect_lazy(config).unwrap(), script)
}

fn status(code: Code, reason: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "herald", HashMap::<String, String>::new());
    Status::with_error_details(code, "as the test says", details)
}

fn cut_after(answers: usize) -> Connection {
    Connection { answers, end: Some(status(Code::Unavailable, "SHUTTING_DOWN")) }
}

fn whole() -> Connection {
    Connection { answers: 0, end: None }
}

/// So many messages, of which every other has a key of its own; and a count of those that were taken.
fn messages(count: usize) -> (impl stream::Stream<Item = v1::SendMessageRequest> + Send, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    let messages = (0..count).map(move |number| {
        counter.fetch_add(1, Ordering::SeqCst);
        let key = if number % 2 == 0 { format!("mine-{number}") } else { String::new() };
        v1::SendMessageRequest { idempotency_key: key, text: number.to_string(), ..Default::default() }
    });
    (stream::iter(messages), taken)
}

fn keys(asked: &[v1::StreamMessagesRequest]) -> Vec<String> {
    asked.iter().map(|frame| frame.message.clone().unwrap().idempotency_key).collect()
}

#[tokio::test]
async fn each_message_is_acknowledged_once_with_its_key_and_the_end_is_told() {
    let (client, script) = start::<StreamMessages>([whole()]);
    let mut volume = client.send_stream(messages(10).0);
    let mut told = Vec::new();
    while let Some(next) = volume.next().await {
        let next = next.unwrap();
        assert!(next.outcome.is_ok());
        told.push((next.index, next.idempotency_key));
    }
    assert!(volume.next().await.is_none());
    let asked = keys(&script.asked.lock().unwrap()[0]);
    let expected: Vec<(u64, String)> = (0..).zip(asked).collect();
    assert_eq!(told, expected);
    assert_eq!(told[4].1, "mine-4");
    assert!(!told[5].1.is_empty() && told[5].1 != told[7].1, "a key is made where there is none");
}

#[tokio::test]
async fn after_a_cut_what_was_not_acknowledged_goes_up_again_with_the_same_keys() {
    let (client, script) = start::<StreamMessages>([cut_after(4), cut_after(0), whole()]);
    let mut volume = client.send_stream(messages(10).0);
    let mut indexes = Vec::new();
    while let Some(next) = volume.next().await {
        indexes.push(next.unwrap().index);
    }
    indexes.sort_unstable();
    assert!(indexes.into_iter().eq(0..10), "each once");
    assert_eq!(volume.connections(), 3);
    let asked = script.asked.lock().unwrap();
    let (first, last) = (keys(&asked[0]), keys(&asked[2]));
    assert_eq!((first.len(), asked[1].len(), last.len()), (4, 0, 6));
    let texts: Vec<_> = asked[2].iter().map(|frame| frame.message.clone().unwrap().text).collect();
    assert_eq!(texts, ["4", "5", "6", "7", "8", "9"]);
    assert!(first.iter().all(|key| !last.contains(key)));
    assert_eq!(last[0], "mine-4");
}

#[tokio::test]
async fn no_more_is_taken_from_the_source_than_the_server_allows() {
    let (client, _script) = start::<StreamMessages>([whole()]);
    let (source, taken) = messages(50);
    let mut volume = client.send_stream(source);
    let mut acknowledged = 0;
    while let Some(next) = volume.next().await {
        next.unwrap();
        acknowledged += 1;
        let taken = taken.load(Ordering::SeqCst);
        assert!(taken <= acknowledged - 1 + WINDOW as usize, "{taken} taken, {acknowledged} acknowledged");
    }
    assert_eq!(acknowledged, 50);
}

#[tokio::test]
async fn an_error_that_does_not_pass_ends_it_and_the_rest_can_be_had() {
    let refused = Connection { answers: 2, end: Some(status(Code::Unauthenticated, "API_KEY_INVALID")) };
    let (client, _script) = start::<StreamMessages>([refused]);
    let mut volume = client.send_stream(messages(10).0);
    for _ in 0..2 {
        volume.next().await.unwrap().unwrap();
    }
    let error = volume.next().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(ErrorReason::ApiKeyInvalid));
    assert!(volume.next().await.is_none());
    let left: Vec<_> = volume.unacknowledged().map(|message| message.text.as_str()).collect();
    assert!(!left.is_empty() && left[0] == "2", "{left:?}");
    assert!(volume.unacknowledged().all(|message| !message.idempotency_key.is_empty()));
}

#[tokio::test]
async fn it_gives_up_when_no_connection_brings_an_acknowledgement() {
    let (client, script) = start::<StreamMessages>(vec![cut_after(0); 4]);
    let mut volume = client.send_stream(messages(2).0);
    let error = volume.next().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(ErrorReason::ShuttingDown));
    assert_eq!(script.asked.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn a_watched_balance_goes_on_after_a_cut_with_the_same_mark() {
    let (client, script) = start::<WatchBalance>([cut_after(1), cut_after(0), cut_after(2)]);
    let mut balances = client.watch_balance(v1::WatchBalanceRequest { low_balance_micros: 7 });
    let mut seen = Vec::new();
    for _ in 0..3 {
        if let Item::Entry(balance) = balances.next().await.unwrap().unwrap().item {
            seen.push(balance.available_micros);
        }
    }
    assert_eq!(seen, [1, 3, 3], "the number of the connection");
    assert_eq!(balances.connections(), 2, "those that brought a frame");
    let asked = script.asked.lock().unwrap();
    assert!(asked.iter().flatten().all(|request| request.low_balance_micros == 7));
}
