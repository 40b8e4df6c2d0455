//! One writer for what the parts of a node learn of messages. Transactions that move one client's messages take turns under
//! its lock, each with its own commit: what is learned while one of them runs goes into the next, outcomes and reports alike.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::change::{Learned, Moved, Mover};
use crate::port::StoreError;

/// The most items of one transaction, and so of one caller: an outcome and a report for each message of a full accepting
/// transaction. Accepting has every second turn under a client's lock, so with fewer a backlog would grow for as long as a client
/// sends all it can.
pub(crate) const BATCH: usize = 1_000;
/// Callers that wait for their turn without being held up.
const CALLERS: usize = 16;

/// A handle to the writer; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Writer(mpsc::Sender<Job>);

#[derive(Debug)]
struct Job {
    learned: Arc<[Learned]>,
    answer: oneshot::Sender<Result<Moved, StoreError>>,
}

impl Writer {
    /// Starts a task that applies what is given to the handles.
    pub fn start(mover: Mover) -> Self {
        let (jobs, waiting) = mpsc::channel(CALLERS);
        tokio::spawn(write(mover, waiting));
        Self(jobs)
    }

    /// As [`Mover::apply_each`], in one transaction with what others bring meanwhile. It is applied even if the caller goes away.
    pub async fn apply_each(&self, learned: Arc<[Learned]>) -> Result<Moved, StoreError> {
        let (answer, answered) = oneshot::channel();
        // A send fails with the writer, and so does the answer then.
        let _ = self.0.send(Job { learned, answer }).await;
        answered.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the writer has ended".into())))
    }
}

async fn write(mover: Mover, mut waiting: mpsc::Receiver<Job>) {
    let mut left = None;
    loop {
        let first = match left.take() {
            Some(job) => job,
            None => match waiting.recv().await {
                Some(job) => job,
                None => return,
            },
        };
        let mut items = first.learned.len();
        let mut jobs = vec![first];
        while let Ok(job) = waiting.try_recv() {
            if items + job.learned.len() > BATCH {
                left = Some(job);
                break;
            }
            items += job.learned.len();
            jobs.push(job);
        }
        apply(&mover, jobs).await;
    }
}

async fn apply(mover: &Mover, jobs: Vec<Job>) {
    if jobs.len() > 1 {
        let together: Vec<Learned> = jobs.iter().flat_map(|job| job.learned.iter().cloned()).collect();
        match mover.apply_each(&together).await {
            Ok(moved) => {
                for job in jobs {
                    let _ = job.answer.send(Ok(moved));
                }
                return;
            }
            Err(error) => tracing::warn!(error = ?error, "what several learned was not written together"),
        }
    }
    for job in jobs {
        let moved = mover.apply_each(&job.learned).await;
        let _ = job.answer.send(moved);
    }
}
