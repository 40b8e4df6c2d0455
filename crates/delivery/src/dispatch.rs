//! Dispatch: take due ids, claim them, submit them, write the outcomes.

use std::sync::Arc;
use std::time::Duration;

use message::report::AttemptRef;
use provider::{Accepted, Provider, Submission, SubmitError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::change::{Learned, Mover};
use crate::health::{BREAK_AFTER, Health};
use crate::model::MessageKey;
use crate::port::{Claim, Claimed, StoreError, Ticket};
use crate::transition::Outcome;
use crate::writer::{self, Writer};

/// The most messages of one claim.
const BATCH: usize = 500;
/// Of the lease, what must be left when the first byte is sent: for the provider's answer and the commit of the outcome.
const LEASE_MARGIN: f64 = 0.5;
/// Longest pause of a lane, and of a store that does not answer.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Works one lane: one provider's messages.
pub struct Dispatcher {
    mover: Mover,
    writer: Writer,
    provider: Arc<dyn Provider>,
    window: Arc<Semaphore>,
    window_size: usize,
    health: Arc<Health>,
    early_reports: Arc<Notify>,
}

struct Done {
    learned: Learned,
    ticket: Box<dyn Ticket>,
    /// After this the claim has expired, and the outcome would be void.
    until: Instant,
}

impl Dispatcher {
    /// `health` is told of every submit; `early_reports` is notified when a bound reference has reports waiting.
    pub fn new(
        mover: Mover,
        writer: Writer,
        provider: Arc<dyn Provider>,
        health: Arc<Health>,
        early_reports: Arc<Notify>,
    ) -> Self {
        let window_size = provider.window().clamp(1, Semaphore::MAX_PERMITS);
        let window = Arc::new(Semaphore::new(window_size));
        Self { mover, writer, provider, window, window_size, health, early_reports }
    }

    /// Works until `stop`; then takes nothing more, lets what is in flight end, writes its outcomes, and returns.
    /// A caller that cannot wait drops this future: what was in flight becomes UNKNOWN by its lease.
    pub async fn run(self, stop: CancellationToken) {
        let (outcomes, written) = mpsc::channel(self.window_size.min(8 * BATCH));
        let writer = tokio::spawn(write_outcomes(self.writer.clone(), written, self.early_reports.clone()));
        let flights = TaskTracker::new();
        let mut backoff = Backoff::default();
        let mut turn = 0;
        while let Some((tickets, permit)) = self.take(turn, &stop).await {
            turn += 1;
            match self.launch(tickets, permit, &flights, &outcomes).await {
                Ok(()) => backoff = Backoff::default(),
                Err(error) => {
                    tracing::warn!(error = ?error, "claim failed, the lane pauses");
                    backoff.pause(&stop).await;
                }
            }
            self.pause_if_broken(&stop).await;
        }
        flights.close();
        flights.wait().await;
        drop(outcomes);
        if let Err(error) = writer.await {
            tracing::error!(%error, "the outcome writer ended badly");
        }
    }

    /// Ids for the provider's free window, with the permits that reserve it. `None` = stop.
    async fn take(
        &self,
        turn: usize,
        stop: &CancellationToken,
    ) -> Option<(Vec<Box<dyn Ticket>>, OwnedSemaphorePermit)> {
        let taken = async {
            let mut permit = self.window.clone().acquire_owned().await.ok()?;
            let more = self.window.available_permits().min(BATCH - 1);
            if let Ok(rest) = self.window.clone().try_acquire_many_owned(u32::try_from(more).unwrap_or(0)) {
                permit.merge(rest);
            }
            let queue = self.mover.queue.as_ref();
            let taken = self.mover.lanes.take(queue, turn, permit.num_permits());
            let tickets = crash_point!("claim.take", taken).await;
            Some((tickets, permit))
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            taken = taken => taken,
        }
    }

    async fn launch(
        &self,
        tickets: Vec<Box<dyn Ticket>>,
        mut permit: OwnedSemaphorePermit,
        flights: &TaskTracker,
        outcomes: &mpsc::Sender<Done>,
    ) -> Result<(), StoreError> {
        // The lease is counted from before the claim, so that this side never believes in it longer than
        // the database does.
        let lease = self.mover.timing.lease;
        let claimed_from = Instant::now();
        let claim = Claim {
            keys: tickets.iter().map(|ticket| ticket.key()).collect(),
            provider: self.provider.name().to_owned(),
            lease,
        };
        let claimed = crash_point!("claim.commit", self.mover.store.claim(&claim)).await?;
        metrics::histogram!("herald_claim_batch_size").record(claimed.len() as f64);
        let mut claimed: std::collections::HashMap<MessageKey, Claimed> =
            claimed.into_iter().map(|claimed| (claimed.record.key, claimed)).collect();
        for ticket in tickets {
            let Some(claimed) = claimed.remove(&ticket.key()) else {
                // Taken by another, ended, or not due: the store knows, and the queue may forget it.
                crash_point!("claim.forget", ticket.done()).await;
                continue;
            };
            let flight = Flight {
                provider: self.provider.clone(),
                health: self.health.clone(),
                submit_by: claimed_from + lease.mul_f64(1.0 - LEASE_MARGIN),
                until: claimed_from + lease,
            };
            let place = permit.split(1);
            let outcomes = outcomes.clone();
            flights.spawn(async move {
                let learned = flight.submit(claimed).await;
                drop(place);
                // The writer outlives every flight.
                let _ = outcomes.send(Done { learned, ticket, until: flight.until }).await;
            });
        }
        Ok(())
    }

    /// After several connect failures in a row the lane waits, longer each time, with one try in between.
    async fn pause_if_broken(&self, stop: &CancellationToken) {
        let failures = self.health.unavailable_in_a_row();
        if failures >= BREAK_AFTER {
            let doublings = (failures - BREAK_AFTER).min(8);
            let pause = (self.mover.timing.unavailable_pause / 4 * 2u32.pow(doublings)).min(PAUSE_MAX);
            metrics::counter!("herald_lane_pauses_total").increment(1);
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
        }
    }
}

struct Flight {
    provider: Arc<dyn Provider>,
    health: Arc<Health>,
    submit_by: Instant,
    until: Instant,
}

impl Flight {
    async fn submit(&self, claimed: Claimed) -> Learned {
        let key = claimed.record.key;
        let (attempt, fence) = (claimed.attempt, claimed.fence);
        if Instant::now() >= self.submit_by {
            // Too late to send and still write the outcome within the lease. Nothing has left yet, so it is put
            // back; that says nothing of the provider.
            metrics::counter!("herald_submits_total", "outcome" => "too_late").increment(1);
            return Learned::Outcome { key, attempt, fence, outcome: Outcome::Unavailable };
        }
        let submission = submission_of(claimed);
        let flight = self.health.begin();
        let outcome = crash_point!("submit.answer", self.provider.submit(&submission)).await;
        let outcome = outcome_of(outcome);
        flight.end(&outcome);
        metrics::counter!("herald_submits_total", "outcome" => label(&outcome)).increment(1);
        Learned::Outcome { key, attempt, fence, outcome }
    }
}

fn submission_of(claimed: Claimed) -> Submission {
    let record = claimed.record;
    Submission {
        attempt_ref: AttemptRef {
            client: record.key.client,
            message: record.key.id,
            attempt: claimed.attempt,
        },
        to: record.to,
        sender: record.sender,
        content: record.content,
        encoding: record.encoding,
        shifts: record.shifts,
        is_flash: record.is_flash,
        reference_bits: record.reference_bits,
        part_count: record.part_count,
        validity: Some(record.expire_at.since(claimed.claimed_at)),
    }
}

fn outcome_of(result: Result<Accepted, SubmitError>) -> Outcome {
    match result {
        // An adapter that gives no reference has broken its contract; the provider has the message all the same.
        Ok(Accepted { refs }) => Outcome::Accepted { refs },
        Err(SubmitError::Rejected { is_permanent, failure }) => Outcome::Rejected { is_permanent, failure },
        Err(SubmitError::Throttled { retry_after }) => Outcome::Throttled { retry_after },
        Err(SubmitError::Unavailable { .. }) => Outcome::Unavailable,
        Err(SubmitError::Unknown { detail }) => Outcome::Unknown { detail },
    }
}

fn label(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted { .. } => "accepted",
        Outcome::Rejected { is_permanent: true, .. } => "rejected",
        Outcome::Rejected { is_permanent: false, .. } => "failed",
        Outcome::Throttled { .. } => "throttled",
        Outcome::Unavailable => "unavailable",
        Outcome::Unknown { .. } => "unknown",
    }
}

/// Writes whatever outcomes wait in one transaction, then tells the queue.
async fn write_outcomes(writer: Writer, mut done: mpsc::Receiver<Done>, early_reports: Arc<Notify>) {
    let mut batch = Vec::with_capacity(writer::BATCH);
    while done.recv_many(&mut batch, writer::BATCH).await > 0 {
        let until = batch.iter().map(|done| done.until).max().unwrap_or_else(Instant::now);
        let (learned, tickets): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|done| (done.learned, done.ticket)).unzip();
        if write_batch(&writer, learned.into(), until, &early_reports).await {
            for ticket in tickets {
                crash_point!("record.done", ticket.done()).await;
            }
        }
    }
}

/// Tries again while a claim of the batch may still hold. `false` = given up: the leases decide.
async fn write_batch(
    writer: &Writer,
    learned: Arc<[Learned]>,
    until: Instant,
    early_reports: &Notify,
) -> bool {
    let never = CancellationToken::new();
    let mut backoff = Backoff::default();
    loop {
        match writer.apply_each(learned.clone()).await {
            Ok(moved) => {
                if moved.has_early_reports {
                    early_reports.notify_one();
                }
                return true;
            }
            Err(error) if Instant::now() < until => {
                tracing::warn!(error = ?error, "outcomes were not written, trying again");
                backoff.pause(&never).await;
            }
            Err(error) => {
                tracing::error!(error = ?error, "{} outcomes were not written within their leases", learned.len());
                return false;
            }
        }
    }
}

/// Waits that double from 50 ms.
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(Duration::from_millis(50))
    }
}

impl Backoff {
    /// Waits, or returns early on `stop`.
    pub(crate) async fn pause(&mut self, stop: &CancellationToken) {
        tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(self.0) => {} }
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}
