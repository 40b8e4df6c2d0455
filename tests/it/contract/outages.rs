//! Errors of any RPC that need a server in trouble: one that stops, one that has too much to do, one without its database.
//! PostgreSQL can be locked and taken away from outside.

use std::str::FromStr;
use std::time::Duration;

use futures_util::future::join_all;
use herald_sdk::tonic::{Request, Status, Streaming};
use herald_sdk::v1::{self, ErrorReason};
use prost::bytes::Bytes;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection};
use tokio::task::JoinHandle;

use super::told::{assert_call_told, assert_told, errors_in, reason_of};
use crate::isolation::{rows as isolated, things};
use crate::support::raw::{self, Caller};
use crate::support::{Account, Herald, Mode, NewAccount, Setup, in_both_modes, sms, until};

in_both_modes! {
    a_server_that_stops_says_so_on_every_stream,
}

async fn a_server_that_stops_says_so_on_every_stream(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let raw = account.client.raw();
    let events = raw.events().subscribe_events(v1::SubscribeEventsRequest::default()).await;
    let reports = v1::SubscribeDeliveryReportsRequest::default();
    let reports = raw.messaging().subscribe_delivery_reports(reports).await;
    let balance = raw.billing().watch_balance(v1::WatchBalanceRequest::default()).await;
    let open = Request::new(futures_util::stream::pending());
    let acks = raw.messaging().stream_messages(open).await;
    let ends = [
        ("EventService/SubscribeEvents", end_of(events)),
        ("MessagingService/SubscribeDeliveryReports", end_of(reports)),
        ("BillingService/WatchBalance", end_of(balance)),
        ("MessagingService/StreamMessages", end_of(acks)),
    ];
    herald.stop().await;
    for (method, end) in ends {
        let ended = end.await.expect("no panic").expect_err("a stream ends with an error");
        assert_told(method, &ended, ErrorReason::ShuttingDown);
    }
    herald.start_server().await;
    herald.finish().await;
}

/// Reads the stream to its end.
fn end_of<T: Send + 'static>(
    opened: Result<herald_sdk::tonic::Response<Streaming<T>>, Status>,
) -> JoinHandle<Result<(), Status>> {
    let mut stream = opened.expect("the stream is open").into_inner();
    tokio::spawn(async move {
        while stream.message().await?.is_some() {}
        Ok(())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_its_database_says_that_it_is_unavailable_and_nothing_else() {
    let mut herald = Herald::start(Mode::Engines, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let things = things(&herald, &account).await;
    let mut beside = away_from(&herald).await;
    take_away(&mut beside, &herald).await;
    let answers = isolated::rows().map(async |(row, method)| {
        let key = if row.scope == "ADMIN" { herald.operator_key() } else { &account.key };
        let caller = Caller::new(&herald).with_key(key);
        let request = raw::request(&method, (row.request)(&things));
        // The first frame of a stream; or both of the answer to one message.
        let most = if method.is_client_streaming() { usize::MAX } else { 1 };
        let (answers, ended) = caller.answers(&raw::path(&method), request, most).await;
        let items = answers.into_iter().flat_map(|answer| items(&method, answer)).collect::<Vec<_>>();
        (row.method, items, ended)
    });
    let mut unavailable = 0;
    for (method, items, ended) in join_all(answers).await {
        // What a node knows by itself it still tells.
        for error in ended.err().into_iter().chain(items) {
            assert_eq!(reason_of(&error), Some(ErrorReason::DependencyUnavailable), "{method}: {error:?}");
            assert_told(method, &error, ErrorReason::DependencyUnavailable);
            unavailable += 1;
        }
    }
    assert!(unavailable > 30, "{unavailable} methods noticed");
    bring_back(&mut beside, &herald).await;
    until("the server's recovery", async || account.client.balance().await.ok()).await;
    herald.finish().await;
}

fn items(method: &prost_reflect::MethodDescriptor, answer: Bytes) -> Vec<Status> {
    errors_in(&prost_reflect::DynamicMessage::decode(method.output(), answer).expect("the answer decodes"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_takes_longer_than_its_deadline_is_told_so() {
    let mut herald = Herald::start(Mode::Engines, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let caller = Caller::new(&herald).with_key(&account.key);
    account.client.balance().await.expect("the key is known");
    let mut locked = inside(&herald).await;
    locked.execute("BEGIN; LOCK TABLE client_heads IN ACCESS EXCLUSIVE MODE").await.expect("the lock");
    let method = raw::method("BillingService/GetBalance");
    let hasty = caller.with("grpc-timeout", "1000m");
    // A caller may give up a moment before it hears the server.
    let told = until("the server's own answer", async || {
        let ended = hasty.call(&raw::path(&method), Bytes::new()).await.expect_err("the table is locked");
        reason_of(&ended).map(|_| ended)
    })
    .await;
    assert_call_told("BillingService/GetBalance", &told, ErrorReason::DeadlineExceeded);
    locked.execute("ROLLBACK").await.expect("the lock is given back");
    herald.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_too_much_waiting_says_so() {
    /// More than wait for one writer of batches.
    const WAITING: usize = 10;
    let mut herald = Herald::start(Mode::Engines, Setup::default()).await;
    // Without credit, so that what waits comes to nothing.
    let account = herald.account(NewAccount::with_credit(0)).await;
    let mut messaging = herald.impatient_client(&account.key).raw().messaging();
    let mut locked = inside(&herald).await;
    locked.execute("BEGIN; SELECT * FROM client_heads FOR UPDATE").await.expect("the lock");
    let batch =
        v1::SendMessagesRequest { messages: vec![sms("+12025550100", "a"); 1_000], ..Default::default() };
    let waiting = (0..WAITING).map(|_| spawn_batch(&account, batch.clone())).collect::<Vec<_>>();
    let told = until("a refused send", async || {
        let send = messaging.send_message(sms("+12025550100", "a"));
        let refused = tokio::time::timeout(Duration::from_millis(200), send).await;
        // One that is not refused waits too.
        refused.ok().map(|answer| answer.expect_err("there is no credit"))
    })
    .await;
    assert_call_told("MessagingService/SendMessage", &told, ErrorReason::Overloaded);
    locked.execute("ROLLBACK").await.expect("the lock is given back");
    for batch in waiting {
        let outcomes = batch.await.expect("no panic").expect("a batch is answered").outcomes;
        assert_eq!(outcomes.len(), 1_000);
    }
    herald.finish().await;
}

fn spawn_batch(
    account: &Account,
    batch: v1::SendMessagesRequest,
) -> JoinHandle<Result<v1::SendMessagesResponse, Status>> {
    let mut messaging = account.client.raw().messaging();
    tokio::spawn(async move { messaging.send_messages(batch).await.map(|answer| answer.into_inner()) })
}

// ---- the database, from outside

/// A connection to the server's database.
async fn inside(herald: &Herald) -> PgConnection {
    let options = PgConnectOptions::from_str(herald.database().url()).expect("a URL");
    options.connect().await.expect("the database can be reached")
}

/// One to the same PostgreSQL, but not to the server's database.
async fn away_from(herald: &Herald) -> PgConnection {
    let options = PgConnectOptions::from_str(herald.database().url()).expect("a URL");
    options.database("postgres").connect().await.expect("the database can be reached")
}

/// Gives the database another name, and ends whoever uses it.
async fn take_away(beside: &mut PgConnection, herald: &Herald) {
    let name = name_of(herald);
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    let rename = format!("ALTER DATABASE {name} RENAME TO {name}_away");
    // The server comes back as long as it can.
    for _ in 0..1_000 {
        beside.execute(AssertSqlSafe(end.clone())).await.expect("a statement");
        if beside.execute(AssertSqlSafe(rename.clone())).await.is_ok() {
            return;
        }
    }
    panic!("the database could not be taken away");
}

async fn bring_back(beside: &mut PgConnection, herald: &Herald) {
    let name = name_of(herald);
    let rename = format!("ALTER DATABASE {name}_away RENAME TO {name}");
    beside.execute(AssertSqlSafe(rename)).await.expect("nobody uses it");
}

fn name_of(herald: &Herald) -> String {
    herald.database().url().rsplit('/').next().expect("a URL names its database").to_owned()
}
