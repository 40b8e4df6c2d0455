//! The provider adapter for a simulator in another process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use provider::{Accepted, Provider, ReportBatch, Submission, SubmitError};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;

use crate::order::Order;
use crate::record::Reply;
use crate::wire::{self, ConnectionError, FromSimulator, ToSimulator};

/// Batches that wait for the consumer, at most. The simulator sends fewer.
const BATCHES: usize = 64;

/// How to reach a simulator process.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// The provider account's name.
    pub name: String,
    /// `host:port`.
    pub address: String,
    /// How many submissions may be in flight at once.
    pub window: usize,
    /// After this time without an answer the outcome is unknown. At most an hour.
    pub answer_timeout: Duration,
    pub connect_timeout: Duration,
    /// The pause after the first failed connection; it doubles up to `longest_pause`.
    pub first_pause: Duration,
    pub longest_pause: Duration,
}

impl RemoteConfig {
    pub fn new(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            window: 1_000,
            answer_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(2),
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(5),
        }
    }
}

/// A simulator process as a provider account. It connects at the first use and again after each loss.
pub struct RemoteSimulator {
    config: RemoteConfig,
    is_started: AtomicBool,
    next_id: AtomicU64,
    link: watch::Sender<Link>,
    batches: mpsc::Sender<ReportBatch>,
    reports: tokio::sync::Mutex<mpsc::Receiver<ReportBatch>>,
    stop: CancellationToken,
}

/// Where the connection stands.
#[derive(Clone)]
enum Link {
    Connecting,
    Up(Line),
    Down,
}

/// One live connection.
#[derive(Clone)]
struct Line {
    /// The id of a submit, or none for another frame; and the frame.
    frames: mpsc::UnboundedSender<(Option<u64>, String)>,
    pending: Arc<Pending>,
}

/// Submits without an answer on one connection.
#[derive(Default)]
struct Pending(Mutex<HashMap<u64, Waiting>>);

struct Waiting {
    answer: oneshot::Sender<Result<Reply, Lost>>,
    /// Its first byte may have left.
    is_written: bool,
}

/// The connection ended first.
#[derive(Clone, Copy, Debug)]
struct Lost {
    is_written: bool,
}

impl Pending {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the submit is about to be written. `false` = nobody waits for it, so it must not be.
    fn is_leaving(&self, id: u64) -> bool {
        self.lock().get_mut(&id).is_some_and(|waiting| {
            waiting.is_written = true;
            true
        })
    }

    fn answer(&self, id: u64, reply: Reply) {
        // An answer after the time-out finds nobody: a report tells what became of the message.
        if let Some(waiting) = self.lock().remove(&id) {
            let _ = waiting.answer.send(Ok(reply));
        }
    }

    fn lose_all(&self) {
        for (_, Waiting { answer, is_written }) in self.lock().drain() {
            let _ = answer.send(Err(Lost { is_written }));
        }
    }
}

/// Removes the entry of a submit whose caller no longer waits.
struct Place {
    pending: Arc<Pending>,
    id: u64,
}

impl Place {
    /// Gives up. Says whether the first byte may have left.
    fn leave(&self) -> bool {
        self.pending.lock().remove(&self.id).is_none_or(|waiting| waiting.is_written)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pending.lock().remove(&self.id);
    }
}

impl RemoteSimulator {
    /// Connects to nothing yet.
    pub fn new(config: RemoteConfig) -> Self {
        let (batches, reports) = mpsc::channel(BATCHES);
        Self {
            config,
            is_started: AtomicBool::new(false),
            next_id: AtomicU64::new(1),
            link: watch::Sender::new(Link::Connecting),
            batches,
            reports: tokio::sync::Mutex::new(reports),
            stop: CancellationToken::new(),
        }
    }

    /// Ends the connection for good: submits are unavailable, [`Provider::next_reports`] gives `None`.
    pub fn close(&self) {
        self.stop.cancel();
    }

    /// Starts the task that keeps the connection, once.
    fn start(&self) {
        if !self.is_started.swap(true, Ordering::Relaxed) {
            let keeper = Keeper {
                config: self.config.clone(),
                link: self.link.clone(),
                batches: self.batches.clone(),
            };
            let stop = self.stop.clone();
            tokio::spawn(async move {
                let link = keeper.link.clone();
                // The connection's pending submits are settled when its future is dropped.
                stop.run_until_cancelled_owned(keeper.run()).await;
                link.send_replace(Link::Down);
            });
        }
    }

    /// The live connection; waits for one that is being made.
    async fn line(&self) -> Result<Line, SubmitError> {
        let unavailable = |detail: &str| SubmitError::Unavailable { detail: detail.to_owned() };
        if self.stop.is_cancelled() {
            return Err(unavailable("the adapter was closed"));
        }
        self.start();
        let mut link = self.link.subscribe();
        let settled = link.wait_for(|link| !matches!(link, Link::Connecting));
        match timeout(self.config.connect_timeout, settled).await {
            Ok(Ok(link)) => match &*link {
                Link::Up(line) => Ok(line.clone()),
                Link::Connecting | Link::Down => Err(unavailable("no connection to the simulator")),
            },
            Ok(Err(_)) | Err(_) => Err(unavailable("no connection to the simulator in time")),
        }
    }
}

impl Drop for RemoteSimulator {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[async_trait]
impl Provider for RemoteSimulator {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn window(&self) -> usize {
        self.config.window
    }

    async fn submit(&self, submission: &Submission) -> Result<Accepted, SubmitError> {
        let deadline = Instant::now() + self.config.answer_timeout;
        let line = self.line().await?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        line.pending.lock().insert(id, Waiting { answer, is_written: false });
        let place = Place { pending: Arc::clone(&line.pending), id };
        let left = deadline.saturating_duration_since(Instant::now());
        let frame = wire::line(&ToSimulator::Submit {
            id,
            order: Order::from(submission),
            answer_timeout_micros: u64::try_from(left.as_micros()).unwrap_or(u64::MAX),
        });
        if line.frames.send((Some(id), frame)).is_err() {
            return Err(lost(false, "the connection to the simulator was lost"));
        }
        match timeout_at(deadline, answered).await {
            Ok(Ok(Ok(reply))) => reply.into_outcome(),
            Ok(Ok(Err(Lost { is_written }))) => {
                Err(lost(is_written, "the connection to the simulator was lost"))
            }
            Ok(Err(_)) => Err(lost(true, "the connection to the simulator was dropped")),
            Err(_) => Err(lost(place.leave(), "no answer in time")),
        }
    }

    async fn next_reports(&self) -> Option<ReportBatch> {
        if self.stop.is_cancelled() {
            return None;
        }
        self.start();
        self.stop.run_until_cancelled(async { self.reports.lock().await.recv().await }).await.flatten()
    }
}

/// What a submit without an answer ends as.
fn lost(is_written: bool, detail: &str) -> SubmitError {
    let detail = detail.to_owned();
    if is_written { SubmitError::Unknown { detail } } else { SubmitError::Unavailable { detail } }
}

/// Keeps a connection up.
struct Keeper {
    config: RemoteConfig,
    link: watch::Sender<Link>,
    batches: mpsc::Sender<ReportBatch>,
}

impl Keeper {
    async fn run(self) {
        let mut pause = self.config.first_pause;
        loop {
            self.link.send_replace(Link::Connecting);
            let connected = timeout(self.config.connect_timeout, TcpStream::connect(&self.config.address));
            match connected.await {
                Ok(Ok(stream)) => {
                    pause = self.config.first_pause;
                    let ended = self.talk(stream).await;
                    self.link.send_replace(Link::Down);
                    let error = ended.as_ref().err().map(|error| error as &dyn std::error::Error);
                    tracing::warn!(error, provider = %self.config.name, "the connection to the simulator ended");
                }
                Ok(Err(error)) => {
                    self.link.send_replace(Link::Down);
                    tracing::warn!(%error, provider = %self.config.name, "the simulator cannot be reached");
                }
                Err(_) => {
                    self.link.send_replace(Link::Down);
                    tracing::warn!(provider = %self.config.name, "the simulator does not take the connection");
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(self.config.longest_pause);
        }
    }

    async fn talk(&self, stream: TcpStream) -> Result<(), ConnectionError> {
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        // Declared before the channel, so dropped after it: when the pending submits are settled, no new one
        // can enter the channel, and each that did is among them.
        let ending = Ending(Arc::default());
        let (frames, mut lines) = mpsc::unbounded_channel();
        let pending = Arc::clone(&ending.0);
        self.link.send_replace(Link::Up(Line { frames: frames.clone(), pending: Arc::clone(&pending) }));
        let leaving = |id: Option<u64>| id.is_none_or(|id| pending.is_leaving(id));
        tokio::select! {
            result = wire::write_lines(write, &mut lines, leaving) => result.map_err(Into::into),
            result = self.listen(FramedRead::new(read, wire::codec()), &pending, frames) => result,
        }
    }

    async fn listen(
        &self,
        mut lines: FramedRead<OwnedReadHalf, tokio_util::codec::LinesCodec>,
        pending: &Pending,
        frames: mpsc::UnboundedSender<(Option<u64>, String)>,
    ) -> Result<(), ConnectionError> {
        let mut storing = FuturesUnordered::new();
        loop {
            tokio::select! {
                line = lines.next() => {
                    let Some(line) = line else { return Ok(()) };
                    match serde_json::from_str(&line.map_err(ConnectionError::Line)?)? {
                        FromSimulator::Answer { id, reply } => pending.answer(id, reply),
                        FromSimulator::Reports { batch, reports } => {
                            let (stored, told) = oneshot::channel();
                            let reports = reports.into_iter().map(Into::into).collect();
                            self.batches
                                .try_send(ReportBatch { reports, stored })
                                .map_err(|_| ConnectionError::TooManyBatches)?;
                            storing.push(async move { (batch, told.await.is_ok()) });
                        }
                    }
                }
                Some((batch, is_stored)) = storing.next() => {
                    let frame = if is_stored {
                        ToSimulator::Stored { batch }
                    } else {
                        ToSimulator::NotStored { batch }
                    };
                    // The writer ends the connection when it fails.
                    let _ = frames.send((None, wire::line(&frame)));
                }
            }
        }
    }
}

/// Settles what is pending however the connection ends, even by being dropped.
struct Ending(Arc<Pending>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.lose_all();
    }
}
