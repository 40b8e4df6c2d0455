//! The simulator as its own process: submits come in and reports go out over [`crate::wire`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use provider::{Provider as _, ReportBatch};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, sleep_until};
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::journal::{JournalClosed, OpenError};
use crate::order::Order;
use crate::record::{Reply, Report};
use crate::simulator::Simulator;
use crate::wire::{self, ConnectionError, FromSimulator, ToSimulator};

/// Submits of one connection that are being played at once; reading stops above it.
const IN_FLIGHT: usize = 10_000;
/// A connection that leaves a batch without a word for so long is taken for dead.
const SILENCE: Duration = Duration::from_secs(60);
/// The longest answer time-out that a submit may name.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// After a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a server ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Journal(#[from] JournalClosed),
}

/// Plays until `shutdown`. All that the log was given is written when this returns; the reports that are
/// still due come after the next start with the same journal.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let simulator = Arc::new(Simulator::open(config).await?);
    let hub = Arc::new(Hub::default());
    let mut connections = JoinSet::new();
    let result = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = distribute(&simulator, &hub) => Ok(()),
        error = accept(listener, &simulator, &hub, &mut connections) => Err(error.into()),
    };
    connections.shutdown().await;
    simulator.close().await;
    result
}

/// Ends only when the log cannot be written: without it the simulator must not answer.
async fn accept(
    listener: TcpListener,
    simulator: &Arc<Simulator>,
    hub: &Arc<Hub>,
    connections: &mut JoinSet<Result<(), ConnectionError>>,
) -> JournalClosed {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(talk(stream, Arc::clone(simulator), Arc::clone(hub)));
                }
                Err(error) => {
                    tracing::warn!(%error, "the simulator cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => match ended {
                Ok(Err(ConnectionError::Journal(error))) => return error,
                Ok(Err(error)) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::info!(error, "a connection to the simulator ended");
                }
                Ok(Ok(())) => {}
                Err(error) => tracing::error!(%error, "a connection's task failed"),
            },
        }
    }
}

/// The live connections, each with its end of a channel for reports.
#[derive(Default)]
struct Hub {
    connections: Mutex<Vec<(u64, mpsc::UnboundedSender<ReportBatch>)>>,
    joined: Notify,
}

impl Hub {
    fn join(&self) -> mpsc::UnboundedReceiver<ReportBatch> {
        // The schedule hands out few batches at a time, which bounds this channel.
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut connections = self.lock();
        let number = connections.last().map_or(0, |(last, _)| last + 1);
        connections.push((number, sender));
        self.joined.notify_one();
        receiver
    }

    /// Gives the batch to a live connection, each in its turn, or gives it back if there is none.
    fn offer(&self, turn: usize, mut batch: ReportBatch) -> Result<(), ReportBatch> {
        let mut connections = self.lock();
        connections.retain(|(_, sender)| !sender.is_closed());
        for step in 0..connections.len() {
            let index = turn.wrapping_add(step) % connections.len();
            match connections[index].1.send(batch) {
                Ok(()) => return Ok(()),
                Err(refused) => batch = refused.0,
            }
        }
        Err(batch)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u64, mpsc::UnboundedSender<ReportBatch>)>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brings each batch to a connection.
async fn distribute(simulator: &Simulator, hub: &Hub) {
    let mut turn = 0_usize;
    while let Some(mut batch) = simulator.next_reports().await {
        while let Err(refused) = hub.offer(turn, batch) {
            batch = refused;
            hub.joined.notified().await;
        }
        turn = turn.wrapping_add(1);
    }
}

/// One connection, until it ends. Its unanswered batches are dropped with it, and so delivered again.
async fn talk(stream: TcpStream, simulator: Arc<Simulator>, hub: Arc<Hub>) -> Result<(), ConnectionError> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let (frames, mut lines) = mpsc::unbounded_channel();
    let batches = hub.join();
    tokio::select! {
        result = wire::write_lines(write, &mut lines, |()| true) => result.map_err(Into::into),
        result = converse(FramedRead::new(read, wire::codec()), &simulator, batches, frames) => result,
    }
}

async fn converse(
    mut lines: FramedRead<tokio::net::tcp::OwnedReadHalf, tokio_util::codec::LinesCodec>,
    simulator: &Simulator,
    mut batches: mpsc::UnboundedReceiver<ReportBatch>,
    frames: mpsc::UnboundedSender<((), String)>,
) -> Result<(), ConnectionError> {
    let mut playing = FuturesUnordered::new();
    let mut unanswered: HashMap<u64, (oneshot::Sender<()>, Instant)> = HashMap::new();
    let mut next_batch = 1;
    let mut watch = tokio::time::interval(SILENCE / 4);
    watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The writer ends the connection when it fails, so a frame that cannot be queued needs no word here.
    let send = |frame: &FromSimulator| drop(frames.send(((), wire::line(frame))));
    loop {
        tokio::select! {
            line = lines.next(), if playing.len() < IN_FLIGHT => {
                let Some(line) = line else { return Ok(()) };
                match serde_json::from_str(&line.map_err(ConnectionError::Line)?)? {
                    ToSimulator::Submit { id, order, answer_timeout_micros } => {
                        let wait = Duration::from_micros(answer_timeout_micros);
                        playing.push(play(simulator, id, checked(order, wait)?, wait));
                    }
                    // A batch that was given up meanwhile is unknown here, and comes again anyway.
                    ToSimulator::Stored { batch } => {
                        if let Some((stored, _)) = unanswered.remove(&batch) {
                            let _ = stored.send(());
                        }
                    }
                    ToSimulator::NotStored { batch } => drop(unanswered.remove(&batch)),
                }
            }
            Some(answer) = playing.next() => {
                if let Some(frame) = answer? {
                    send(&frame);
                }
            }
            Some(batch) = batches.recv() => {
                let reports = batch.reports.into_iter().map(Report::from).collect();
                unanswered.insert(next_batch, (batch.stored, Instant::now()));
                send(&FromSimulator::Reports { batch: next_batch, reports });
                next_batch += 1;
            }
            _ = watch.tick() => {
                let silent = unanswered.iter().find(|(_, (_, since))| since.elapsed() > SILENCE);
                if let Some((batch, _)) = silent {
                    return Err(ConnectionError::Silent { batch: *batch });
                }
            }
        }
    }
}

/// What the wire must not be trusted with.
fn checked(order: Order, wait: Duration) -> Result<Order, ConnectionError> {
    if !(1..=255).contains(&order.part_count) {
        return Err(ConnectionError::Range { field: "part_count" });
    }
    if wait > LONGEST_WAIT {
        return Err(ConnectionError::Range { field: "answer_timeout_micros" });
    }
    Ok(order)
}

/// Plays one submit; nothing to send when the answer is withheld.
async fn play(
    simulator: &Simulator,
    id: u64,
    order: Order,
    wait: Duration,
) -> Result<Option<FromSimulator>, JournalClosed> {
    let taken = simulator.take(order, wait).await?;
    if taken.reply == Reply::Withheld {
        return Ok(None);
    }
    sleep_until(taken.at).await;
    Ok(Some(FromSimulator::Answer { id, reply: taken.reply }))
}
