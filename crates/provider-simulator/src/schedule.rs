//! The reports on their way: one task, one heap, batches of what is due together.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use provider::ReportBatch;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::journal::Writer;
use crate::record::{Record, Scheduled};

/// Reports in one batch, at most.
pub(crate) const BATCH: usize = 500;
/// Batches handed out and not yet stored, at most.
const OUTSTANDING: usize = 8;
/// Reports due within this time of each other leave together (scaled, at least 1 ms).
const GRID: Duration = Duration::from_millis(10);
/// How long a batch that was not stored waits (scaled, at least 1 ms).
const REDELIVERY: Duration = Duration::from_millis(200);

/// The wall clock as it was at start, moved on by the timers' clock: it never jumps, and stands still when a
/// test stops time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    start_micros: i64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_micros: message::time::micros(since_epoch) }
    }

    /// Microseconds since the Unix epoch.
    pub(crate) fn now(&self) -> i64 {
        self.start_micros.saturating_add(message::time::micros(self.start.elapsed()))
    }

    /// The timers' instant of a wall time; the start when it is earlier.
    fn instant(&self, micros: i64) -> Instant {
        let since = u64::try_from(micros.saturating_sub(self.start_micros)).unwrap_or(0);
        // A due time beyond a year can only come from a damaged journal, and must not overflow.
        self.start + Duration::from_micros(since).min(Duration::from_hours(24 * 366))
    }
}

/// What the schedule needs.
pub(crate) struct Schedule {
    pub(crate) clock: Clock,
    pub(crate) time_scale: f64,
    pub(crate) incoming: mpsc::UnboundedReceiver<Vec<Scheduled>>,
    pub(crate) batches: mpsc::Sender<ReportBatch>,
    pub(crate) journal: Option<Writer>,
    pub(crate) stop: CancellationToken,
}

/// What became of a batch.
struct Handed {
    reports: Vec<Scheduled>,
    is_stored: bool,
}

/// Ordered by due time, then by id: the order in which they were planned.
struct Entry(Scheduled);

impl Entry {
    fn key(&self) -> (i64, u64) {
        (self.0.due, self.0.id)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Schedule {
    /// Hands out what is due until stopped.
    pub(crate) async fn run(mut self) {
        let mut waiting: BinaryHeap<Reverse<Entry>> = BinaryHeap::new();
        let mut outstanding = FuturesUnordered::new();
        loop {
            let next = waiting.peek().map(|Reverse(entry)| self.departure(entry.0.due));
            let is_due = next.is_some_and(|next| next <= Instant::now());
            let has_room = outstanding.len() < OUTSTANDING;
            tokio::select! {
                () = self.stop.cancelled() => break,
                incoming = self.incoming.recv() => match incoming {
                    Some(reports) => waiting.extend(reports.into_iter().map(|report| Reverse(Entry(report)))),
                    None => return,
                },
                Some(Handed { reports, is_stored }) = outstanding.next() => {
                    if is_stored {
                        self.note_stored(&reports);
                    } else {
                        waiting.extend(self.postponed(reports));
                    }
                }
                permit = self.batches.reserve(), if is_due && has_room => match permit {
                    Ok(permit) => {
                        let reports = self.take_due(&mut waiting);
                        let (stored, answer) = oneshot::channel();
                        permit.send(ReportBatch {
                            reports: reports.iter().map(|report| report.report.clone().into()).collect(),
                            stored,
                        });
                        outstanding.push(async move { Handed { reports, is_stored: answer.await.is_ok() } });
                    }
                    Err(_) => return,
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() && !is_due => {}
            }
        }
        // What was stored before the stop is noted, in whatever order the two were seen here.
        while let Some(Some(Handed { reports, is_stored })) = outstanding.next().now_or_never() {
            if is_stored {
                self.note_stored(&reports);
            }
        }
    }

    fn scaled_micros(&self, span: Duration) -> i64 {
        message::time::micros(span.div_f64(self.time_scale)).max(1_000)
    }

    /// The end of the grid cell that a due time lies in.
    fn departure(&self, due: i64) -> Instant {
        let grid = self.scaled_micros(GRID);
        let into_cell = due.rem_euclid(grid);
        let wait = if into_cell == 0 { 0 } else { grid - into_cell };
        self.clock.instant(due.saturating_add(wait))
    }

    fn take_due(&self, waiting: &mut BinaryHeap<Reverse<Entry>>) -> Vec<Scheduled> {
        let now = Instant::now();
        let mut due = Vec::new();
        while due.len() < BATCH
            && let Some(Reverse(entry)) = waiting.peek()
            && self.departure(entry.0.due) <= now
            && let Some(Reverse(Entry(report))) = waiting.pop()
        {
            due.push(report);
        }
        due
    }

    fn postponed(&self, reports: Vec<Scheduled>) -> impl Iterator<Item = Reverse<Entry>> {
        let due = self.clock.now().saturating_add(self.scaled_micros(REDELIVERY));
        reports.into_iter().map(move |report| Reverse(Entry(Scheduled { due, ..report })))
    }

    fn note_stored(&self, reports: &[Scheduled]) {
        if let Some(journal) = &self.journal {
            let ids = reports.iter().map(|report| report.id).collect();
            if journal.note(&Record::Stored { at: self.clock.now(), reports: ids }).is_err() {
                tracing::warn!("stored reports were not noted: they will come again after a restart");
            }
        }
    }
}
