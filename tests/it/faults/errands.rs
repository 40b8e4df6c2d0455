//! The calls that a stream of sends does not make: each is made again and again, through every crash, and its answer
//! must be what it would be without one.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use herald_sdk::tonic::{Code, Status as CallStatus};
use herald_sdk::v1::message::Status;
use herald_sdk::v1::send_outcome::Outcome;
use herald_sdk::{Client, Error, Receipt, new_idempotency_key, v1};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::push_reports::{Pusher, provider_key, report};
use crate::support::{Account, Herald, NewAccount, PATIENCE, every_message, nothing_held, sms, soon, span};

/// Before a call is made again.
const PAUSE: Duration = Duration::from_millis(50);
/// At the magic recipient of this number every attempt fails.
const FAILS: &str = "+12025550120";
/// Reports never come from here.
const UNREPORTED: &str = "+12025550140";
const DELIVERED: &str = "+12025550100";

pub(super) struct Errands {
    running: JoinSet<(&'static str, u32)>,
    /// Canceled when nothing breaks any more.
    calm: CancellationToken,
    accounts: Vec<Account>,
}

/// Ends with its name and how often it was run.
type Errand = Pin<Box<dyn Future<Output = (&'static str, u32)>>>;

impl Errands {
    /// `connect` makes a client that never tires; `impatient` one that gives every error at once.
    pub(super) async fn start(
        herald: &Herald,
        connect: impl Fn(&str) -> Client,
        impatient: impl Fn(&str) -> Client,
    ) -> Self {
        let mut errands =
            Self { running: JoinSet::new(), calm: CancellationToken::new(), accounts: Vec::new() };
        let calm = || errands.calm.clone();
        let operator = connect(herald.operator_key());
        let mut unreported = NewAccount::default();
        unreported.client.report_timeout = Some(span(Duration::from_secs(15)));
        let mut slow = NewAccount::default();
        (slow.client.parts_per_second, slow.client.burst_parts) = (1, 1);
        let mut accounts = Vec::new();
        for new in [
            NewAccount::default(),
            NewAccount::default(),
            unreported,
            NewAccount::default(),
            slow,
            NewAccount::default(),
        ] {
            let account = herald.unsettled_account(new).await;
            accounts.push(Account { client: connect(&account.key), ..account });
        }
        let client = |index: usize| accounts[index].client.clone();
        let pusher = Pusher::new(herald, &provider_key(herald).await.1);
        let first = outgrow(&client(5), &operator, &accounts[5].id).await;
        // What persists in a call lends it what it asks, which no task of several threads may: each errand has one thread.
        let threads = tokio::runtime::Handle::current();
        let mut running = JoinSet::new();
        let mut run = |errand: Box<dyn FnOnce() -> Errand + Send>| {
            let threads = threads.clone();
            running.spawn_blocking(move || threads.block_on(errand()));
        };
        let (of, till) = (client(0), calm());
        run(Box::new(|| Box::pin(cancel(of, till))));
        // Each takes long to fail.
        for _ in 0..3 {
            let (of, by, till) = (client(1), operator.clone(), calm());
            run(Box::new(|| Box::pin(replay(of, by, till))));
        }
        let (of, till) = (client(2), calm());
        run(Box::new(|| Box::pin(push(of, pusher, till))));
        let (of, till) = (client(3), calm());
        run(Box::new(|| Box::pin(race(of, till))));
        let (of, till) = (impatient(&accounts[4].key), calm());
        run(Box::new(|| Box::pin(exceed(of, till))));
        let (of, till) = (client(5), calm());
        run(Box::new(|| Box::pin(repeat(of, first, till))));
        (errands.running, errands.accounts) = (running, accounts);
        errands
    }

    /// Fails with the errand that has failed.
    pub(super) fn check(&mut self) {
        if let Some(Err(error)) = self.running.try_join_next() {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    /// Nothing breaks any more: each errand was run, and all that they sent comes to an end.
    pub(super) async fn end(mut self) -> Vec<Account> {
        self.calm.cancel();
        while let Some(ended) = soon("the last errand", self.running.join_next()).await {
            let (name, count) = ended.expect("no errand fails");
            println!("{name}: {count} times");
            assert!(count > 0, "{name} never came to its end");
        }
        for account in &self.accounts {
            nothing_held(&account.client).await;
        }
        self.accounts
    }
}

/// Makes the call until it is answered; a refusal that is no outage fails the test.
async fn persist<T>(what: &str, mut call: impl AsyncFnMut() -> Result<T, Error>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => {
                assert!(is_outage(&error), "{what}: {error}");
                assert!(Instant::now() < give_up, "{what}: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The server is not there, or too busy to tell; or the connection broke, which has many codes and no details.
fn is_outage(error: &Error) -> bool {
    let may_pass = [Code::Unavailable, Code::DeadlineExceeded, Code::Aborted, Code::Cancelled];
    may_pass.contains(&error.code()) || error.reason().is_none()
}

async fn send(client: &Client, request: &v1::SendMessageRequest) -> Receipt {
    persist("a send", async || client.send(request.clone()).await).await
}

fn keyed(to: &str) -> v1::SendMessageRequest {
    v1::SendMessageRequest { idempotency_key: new_idempotency_key(), ..sms(to, "Hello") }
}

/// A scheduled message is canceled, and again.
async fn cancel(client: Client, calm: CancellationToken) -> (&'static str, u32) {
    let mut count = 0;
    while !calm.is_cancelled() {
        let at = SystemTime::now() + Duration::from_secs(3_600);
        let request = v1::SendMessageRequest { schedule_time: Some(at.into()), ..keyed(DELIVERED) };
        let message_id = send(&client, &request).await.message.id;
        let asked = v1::CancelMessageRequest { message_id };
        for _ in 0..2 {
            let answer = persist("a cancel", async || {
                Ok(client.raw().messaging().cancel_message(asked.clone()).await?.into_inner())
            });
            let message = answer.await.message.expect("the answer has the message");
            assert_eq!(message.status(), Status::Canceled);
        }
        count += 1;
    }
    ("cancel", count)
}

/// A dead letter is sent again, and again: it is one message more.
async fn replay(client: Client, operator: Client, calm: CancellationToken) -> (&'static str, u32) {
    let mut count = 0;
    while !calm.is_cancelled() {
        let letter = send(&client, &keyed(FAILS)).await.message.id;
        // After a crash in an attempt nobody knows, and it is no dead letter.
        let ended = until_one_of(&client, &letter, &[Status::FailedPerm, Status::Unknown]).await;
        if ended.status() == Status::Unknown {
            continue;
        }
        let request =
            v1::ReplayDeadLettersRequest { message_ids: vec![letter.clone()], ..Default::default() };
        let (first, again) = (replay_once(&operator, &request).await, replay_once(&operator, &request).await);
        assert_eq!(first, again, "{letter} was sent again twice");
        count += 1;
    }
    let messages = every_message(&client).await;
    let replays: Vec<&str> =
        messages.iter().map(|message| message.replay_of.as_str()).filter(|of| !of.is_empty()).collect();
    let letters: BTreeSet<&str> = replays.iter().copied().collect();
    assert_eq!(replays.len(), letters.len(), "a letter was sent again twice");
    ("replay", count)
}

async fn replay_once(operator: &Client, request: &v1::ReplayDeadLettersRequest) -> String {
    persist("a replay", async || {
        let answer = operator.raw().admin().replay_dead_letters(request.clone()).await?.into_inner();
        match answer.outcomes.into_iter().next().and_then(|outcome| outcome.outcome) {
            Some(Outcome::Accepted(accepted)) => Ok(accepted.message_id),
            // What fails of one item is told in its place.
            Some(Outcome::Error(error)) => Err(error.into()),
            None => panic!("no outcome"),
        }
    })
    .await
}

/// The report of a message that has none yet is pushed, and again.
async fn push(client: Client, mut pusher: Pusher, calm: CancellationToken) -> (&'static str, u32) {
    let mut count = 0;
    while !calm.is_cancelled() {
        let sent = send(&client, &keyed(UNREPORTED)).await.message.id;
        let message = until_one_of(&client, &sent, &[Status::Sent, Status::Unknown]).await;
        // A crash has taken the answer with the provider's reference, which nobody else knows.
        if message.provider_message_id.is_empty() {
            continue;
        }
        let pushed = [report(&message.provider_message_id, Status::Delivered)];
        for _ in 0..2 {
            persist_push(&mut pusher, &pushed).await;
        }
        until_one_of(&client, &sent, &[Status::Delivered]).await;
        count += 1;
    }
    ("push", count)
}

async fn persist_push(pusher: &mut Pusher, pushed: &[v1::ProviderReport]) {
    let give_up = Instant::now() + PATIENCE;
    while let Err(status) = pusher.push(pushed).await {
        let error = Error::from(status);
        assert!(is_outage(&error) && Instant::now() < give_up, "a push: {error}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Two sends with one key at once are one message.
async fn race(client: Client, calm: CancellationToken) -> (&'static str, u32) {
    let mut count = 0;
    while !calm.is_cancelled() {
        let request = keyed(DELIVERED);
        let (first, second) = tokio::join!(send(&client, &request), send(&client, &request));
        assert_eq!(first.message.id, second.message.id);
        count += 1;
    }
    ("race", count)
}

/// Above its rate a client is refused, except what it repeats.
async fn exceed(client: Client, calm: CancellationToken) -> (&'static str, u32) {
    let mut count = 0;
    while !calm.is_cancelled() {
        let request = keyed(DELIVERED);
        match client.send(request.clone()).await {
            Ok(receipt) => {
                let again = persist("a repeated send", async || client.send(request.clone()).await).await;
                assert_eq!((again.replayed, again.message.id), (true, receipt.message.id));
                count += 1;
            }
            Err(error) if error.code() == Code::ResourceExhausted => tokio::time::sleep(PAUSE).await,
            Err(error) => {
                assert!(is_outage(&error), "{error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    ("exceed", count)
}

/// Makes a message that the client's settings would not allow any more.
async fn outgrow(client: &Client, operator: &Client, id: &str) -> (v1::SendMessageRequest, String) {
    let request = v1::SendMessageRequest { text: "long ".repeat(60), ..keyed(DELIVERED) };
    let first = send(client, &request).await;
    assert!(first.message.part_count > 1);
    let changed = v1::UpdateClientRequest {
        client: Some(v1::Client { id: id.to_owned(), max_parts: 1, ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["max_parts".into()] }),
    };
    operator.raw().admin().update_client(changed).await.expect("the client is changed");
    (request, first.message.id)
}

/// What was accepted is answered again, whatever the settings are by now.
async fn repeat(
    client: Client,
    (request, first): (v1::SendMessageRequest, String),
    calm: CancellationToken,
) -> (&'static str, u32) {
    let mut count = 0;
    while !calm.is_cancelled() {
        let again = send(&client, &request).await;
        assert_eq!((again.replayed, &again.message.id), (true, &first));
        count += 1;
        tokio::time::sleep(PAUSE).await;
    }
    ("repeat", count)
}

async fn until_one_of(client: &Client, id: &str, statuses: &[Status]) -> v1::Message {
    persist("a status", async || {
        let message = client.get_message(id).await?;
        let reached = statuses.contains(&message.status());
        if reached {
            Ok(message)
        } else {
            Err(CallStatus::unavailable(message.status().as_str_name()).into())
        }
    })
    .await
}
