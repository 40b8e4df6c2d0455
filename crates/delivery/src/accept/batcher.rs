//! Group commit: whatever waits is accepted in one transaction, and each caller gets its own answer.

use std::sync::Arc;
use std::time::Duration;

use message::id::{ClientId, MessageId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::decide::{self, Decision, Submission};
use super::{AcceptError, Receipt};
use crate::book::Book;
use crate::lane::Lanes;
use crate::plan::Wanted;
use crate::port::{Bell, Due, Limiter, Queue, Store, StoreError};
use crate::timing::Timing;

/// The most submissions of one transaction.
const BATCH: usize = 500;
/// How many may wait; past that callers are told to come back.
const WAITING: usize = 8_192;
/// Tries of a batch that loses against another node's transaction.
const TRIES: u32 = 5;

/// Hands submissions to the batch writers.
#[derive(Clone)]
pub struct Acceptor {
    writers: Arc<[mpsc::Sender<Waiting>]>,
    key_lifetime: Duration,
}

/// The answer to a submission, to come.
pub struct Answer(oneshot::Receiver<Result<Receipt, AcceptError>>);

/// Where an answer goes.
type Caller = oneshot::Sender<Result<Receipt, AcceptError>>;

struct Waiting {
    submission: Submission,
    answer: Caller,
}

/// What a batch writer works with.
#[derive(Clone)]
pub struct Ports {
    pub store: Arc<dyn Store>,
    pub queue: Arc<dyn Queue>,
    pub bell: Arc<dyn Bell>,
    /// Is given copies of what was committed under a key.
    pub limiter: Arc<dyn Limiter>,
    pub timing: Arc<Timing>,
    /// Where new messages are offered.
    pub lanes: Lanes,
}

impl Acceptor {
    /// Starts `writers` batch writers; clients are spread over them by id. A writer ends when `stop` is
    /// canceled and nothing waits any more.
    pub fn start(ports: &Ports, writers: usize, stop: &CancellationToken) -> Self {
        let start_one = |_| {
            let (sender, receiver) = mpsc::channel(WAITING);
            tokio::spawn(run(ports.clone(), receiver, stop.clone()));
            sender
        };
        let key_lifetime = ports.timing.key_lifetime;
        Self { writers: (0..writers.max(1)).map(start_one).collect(), key_lifetime }
    }

    /// How long an idempotency key is remembered.
    pub fn key_lifetime(&self) -> Duration {
        self.key_lifetime
    }

    /// Hands one submission over. What a client hands over in turn is decided in that order. The transaction runs in
    /// the writer's task, so a caller that leaves cancels nothing.
    pub fn accept(&self, submission: Submission) -> Result<Answer, AcceptError> {
        let client = submission.prepared.client;
        let spread = usize::from(client.as_uuid().as_bytes()[15]) % self.writers.len();
        let (answer, answered) = oneshot::channel();
        self.writers[spread].try_send(Waiting { submission, answer }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => {
                AcceptError::Overloaded { retry_after: Duration::from_millis(250) }
            }
            mpsc::error::TrySendError::Closed(_) => AcceptError::ShuttingDown,
        })?;
        Ok(Answer(answered))
    }
}

impl Answer {
    /// When it is committed, or refused.
    pub async fn wait(self) -> Result<Receipt, AcceptError> {
        // A writer that dies in mid-transaction leaves the outcome open.
        self.0.await.unwrap_or(Err(AcceptError::Uncertain(None)))
    }
}

async fn run(ports: Ports, mut waiting: mpsc::Receiver<Waiting>, stop: CancellationToken) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut aftermath: Option<JoinHandle<()>> = None;
    loop {
        let taken = tokio::select! {
            biased;
            taken = waiting.recv_many(&mut batch, BATCH) => taken,
            () = stop.cancelled(), if !waiting.is_closed() => {
                waiting.close();
                continue;
            }
        };
        if taken == 0 {
            break;
        }
        metrics::histogram!("herald_accept_batch_size").record(taken as f64);
        let left = accept_batch(&ports, std::mem::take(&mut batch)).await;
        // While one batch is offered the next is decided, and no more than that.
        end(aftermath.take()).await;
        let ports = ports.clone();
        aftermath = Some(tokio::spawn(async move { left.run(&ports).await }));
    }
    end(aftermath).await;
}

async fn end(aftermath: Option<JoinHandle<()>>) {
    if let Some(aftermath) = aftermath {
        let _ = aftermath.await;
    }
}

/// What is left to do when a batch is committed and its callers have their answers.
#[derive(Default)]
struct Aftermath {
    offers: Vec<Due>,
    /// Callers whose first answer is read again.
    replays: Vec<(ClientId, MessageId, Caller)>,
}

async fn accept_batch(ports: &Ports, batch: Vec<Waiting>) -> Aftermath {
    let mut left = Aftermath::default();
    let (submissions, answers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|waiting| (waiting.submission, waiting.answer)).unzip();
    match commit_batch(ports, &submissions).await {
        Ok(decisions) => {
            for ((answer, decision), submission) in answers.into_iter().zip(decisions).zip(&submissions) {
                left.answer(answer, decision, submission);
            }
        }
        // A poison item must not fail its neighbours: each is tried alone.
        Err(StoreError::Refused(cause)) if submissions.len() > 1 => {
            tracing::warn!(error = %cause, "a batch was refused, its {} items are tried alone", submissions.len());
            for (answer, submission) in answers.into_iter().zip(&submissions) {
                match commit_batch(ports, std::slice::from_ref(submission)).await {
                    Ok(decisions) => {
                        let decision = decisions.into_iter().next();
                        let decision = decision.unwrap_or(Decision::Refused(AcceptError::Uncertain(None)));
                        left.answer(answer, decision, submission);
                    }
                    Err(error) => drop(answer.send(Err(refusal(error)))),
                }
            }
        }
        Err(error) => {
            tracing::warn!(error = ?error, "a batch of {} was not accepted", submissions.len());
            for answer in answers {
                let _ = answer.send(Err(refusal(error.echo())));
            }
        }
    }
    left
}

impl Aftermath {
    fn answer(&mut self, answer: Caller, decision: Decision, submission: &Submission) {
        match decision {
            Decision::Accepted(message) => {
                if message.state.status.is_claimable() {
                    self.offers.extend(Due::of(message.record.key, &message.state, message.record.priority));
                }
                let _ = answer.send(Ok(Receipt { message: *message, is_replay: false }));
            }
            Decision::Refused(error) => drop(answer.send(Err(error))),
            Decision::Replay(id) => self.replays.push((submission.prepared.client, id, answer)),
        }
    }

    /// What is lost between the commit and here is offered by the sweeper.
    async fn run(self, ports: &Ports) {
        let offering = async {
            crash_point!("accept.offer", ports.lanes.offer(ports.queue.as_ref(), "new", self.offers)).await;
        };
        let replaying = async {
            for (client, id, answer) in self.replays {
                let message = crash_point!("accept.receipt", ports.store.message(client, id)).await;
                // The record outlives the key, so an absent one is damage, not an answer.
                let receipt = match message.map_err(AcceptError::Store) {
                    Ok(Some(message)) => {
                        Ok(Receipt { message: decide::receipt_of(message), is_replay: true })
                    }
                    Ok(None) => Err(AcceptError::Uncertain(None)),
                    Err(error) => Err(error),
                };
                let _ = answer.send(receipt);
            }
        };
        tokio::join!(offering, replaying);
    }
}

/// Whose points the batch passes.
#[cfg(feature = "faults")]
fn flow(batch: &[Submission]) -> &'static str {
    if batch.iter().any(|submission| submission.dead_letter().is_some()) { "replay" } else { "accept" }
}

fn refusal(error: StoreError) -> AcceptError {
    match error {
        StoreError::Uncertain(_) => AcceptError::Uncertain(Some(error)),
        error => AcceptError::Store(error),
    }
}

/// As many decisions as submissions.
async fn commit_batch(ports: &Ports, batch: &[Submission]) -> Result<Vec<Decision>, StoreError> {
    let mut tries = 1;
    loop {
        match commit_once(ports, batch).await {
            Err(StoreError::Conflict) if tries < TRIES => tries += 1,
            done => return done,
        }
    }
}

/// One transaction: lock and read, decide, write, commit; then the bell and the copies.
async fn commit_once(ports: &Ports, batch: &[Submission]) -> Result<Vec<Decision>, StoreError> {
    let wanted = Wanted {
        clients: batch.iter().map(|submission| submission.prepared.client).collect(),
        keys: batch.iter().filter_map(Submission::idempotency_key).collect(),
        dead_letters: batch.iter().filter_map(Submission::dead_letter).collect(),
        ..Wanted::default()
    };
    let mut tx = crash_point!(flow(batch) => "begin", ports.store.begin()).await?;
    let mut loaded = crash_point!(flow(batch) => "load", tx.load(&wanted)).await?;
    let mut book = Book::open(&mut loaded);
    let decisions = decide::decide(&ports.timing, &mut loaded, &mut book, batch);
    let (plan, rings) = book.close();
    if !plan.is_empty() {
        if planted!(RedisDecides) {
            ports.limiter.remember(&plan.keys, ports.timing.key_lifetime);
        }
        crash_point!(flow(batch) => "write", tx.write(&plan)).await?;
        if planted!(AckBeforeCommit) {
            // Long enough for a crash to come between the answer and the commit.
            tokio::spawn(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                tx.commit().await
            });
            return Ok(decisions);
        }
        crash_point!(flow(batch) => "commit", tx.commit()).await?;
        crash_point!(flow(batch) => "ring", ports.bell.ring(&rings)).await;
        ports.limiter.remember(&plan.keys, ports.timing.key_lifetime);
    }
    Ok(decisions)
}
