//! The load: messages on a schedule, and what becomes of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use herald_sdk::{Client, Error, v1};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::deliveries::Deliveries;
use super::{By, Window, callers};

/// Latencies up to two minutes, in microseconds, with three digits.
const LONGEST_MICROS: u64 = 120_000_000;

/// When messages are due.
pub struct Schedule {
    pace: Pace,
    begin: Instant,
    end: Instant,
}

enum Pace {
    /// As soon as a caller is free.
    Closed,
    /// At fixed times, whether a caller is free or not.
    Open { per_second: f64, next: AtomicU64 },
}

/// Everything a run needs.
pub struct Load {
    /// Each with a key, and on a connection that some share.
    pub senders: Vec<Client>,
    pub by: By,
    /// Messages of one call, by batch.
    pub batch: usize,
    /// Messages that may be unanswered at once.
    pub in_flight: usize,
    pub request: v1::SendMessageRequest,
    pub schedule: Arc<Schedule>,
    pub deliveries: Arc<Deliveries>,
    pub window: Window,
}

/// What became of the messages.
pub struct Outcome {
    /// From when a message was due to its receipt, in microseconds; messages that were due in the window.
    pub latency: Histogram<u64>,
    /// Receipts that came in the window.
    pub accepted: u64,
    pub accepted_outside: u64,
    /// By reason; messages that were due in the window.
    pub errors: BTreeMap<String, u64>,
    pub first_error: Option<Error>,
    pub sent: u64,
    /// Messages that were due but not sent, because nobody was free to send them.
    pub unsent: u64,
}

/// A histogram that holds every latency that can occur.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_MICROS, 3).expect("the bounds are valid")
}

/// Adds a span to a histogram.
pub fn record(histogram: &mut Histogram<u64>, span: Duration) {
    histogram.saturating_record(
        u64::try_from(span.as_micros()).unwrap_or(LONGEST_MICROS).clamp(1, LONGEST_MICROS),
    );
}

impl Schedule {
    pub fn new(per_second: Option<u32>, begin: Instant, end: Instant) -> Self {
        let pace = match per_second {
            Some(rate) => Pace::Open { per_second: f64::from(rate), next: AtomicU64::new(0) },
            None => Pace::Closed,
        };
        Self { pace, begin, end }
    }

    /// Waits until the next message is due and answers that moment, which may lie in the past; `None` = the end.
    pub async fn next(&self) -> Option<Instant> {
        let due = match &self.pace {
            Pace::Closed => Instant::now(),
            Pace::Open { per_second, next } => {
                let index = next.fetch_add(1, Ordering::Relaxed);
                self.begin + Duration::from_secs_f64(index as f64 / per_second)
            }
        };
        if due >= self.end {
            return None;
        }
        // The timer's tick is a millisecond: who is late or on time does not wait for the next.
        if due > Instant::now() {
            sleep_until(due).await;
        }
        // What was due but could not be sent in time is counted as unsent, not sent late for ever.
        (Instant::now() < self.end).then_some(due)
    }

    /// Messages due in all; `None` = as many as are possible.
    pub fn planned(&self) -> Option<u64> {
        match self.pace {
            Pace::Closed => None,
            Pace::Open { per_second, .. } => {
                Some(((self.end - self.begin).as_secs_f64() * per_second).ceil() as u64)
            }
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.pace, Pace::Open { .. })
    }
}

impl Load {
    /// Runs to the end of the schedule.
    pub async fn run(self) -> Outcome {
        let load = Arc::new(self);
        let mut running = JoinSet::new();
        match load.by {
            By::Unary => {
                for caller in 0..load.in_flight {
                    running.spawn(callers::unary(load.clone(), caller));
                }
            }
            By::Batch => {
                for caller in 0..(load.in_flight / load.batch).max(1) {
                    running.spawn(callers::batch(load.clone(), caller));
                }
            }
            By::Stream => {
                let places = Arc::new(Semaphore::new(load.in_flight));
                for sender in 0..load.senders.len() {
                    running.spawn(callers::stream(load.clone(), places.clone(), sender));
                }
            }
        }
        let mut total = Outcome::new();
        while let Some(ended) = running.join_next().await {
            total.add(ended.expect("a caller does not panic"));
        }
        total.unsent = load.schedule.planned().unwrap_or(total.sent).saturating_sub(total.sent);
        total
    }
}

impl Outcome {
    pub fn new() -> Self {
        Self {
            latency: histogram(),
            accepted: 0,
            accepted_outside: 0,
            errors: BTreeMap::new(),
            first_error: None,
            sent: 0,
            unsent: 0,
        }
    }

    pub fn accepted_in_all(&self) -> u64 {
        self.accepted + self.accepted_outside
    }

    pub fn accept(&mut self, window: Window, due: Instant, now: Instant) {
        if window.contains(now) {
            self.accepted += 1;
        } else {
            self.accepted_outside += 1;
        }
        if window.contains(due) {
            record(&mut self.latency, now - due);
        }
    }

    pub fn refuse(&mut self, window: Window, due: Instant, error: Error) {
        if window.contains(due) {
            let name = if error.reason_name().is_empty() {
                format!("{:?}", error.code())
            } else {
                error.reason_name().into()
            };
            *self.errors.entry(name).or_default() += 1;
        }
        self.first_error.get_or_insert(error);
    }

    pub fn add(&mut self, other: Self) {
        self.latency.add(other.latency).expect("both have the same bounds");
        self.accepted += other.accepted;
        self.accepted_outside += other.accepted_outside;
        self.sent += other.sent;
        for (reason, count) in other.errors {
            *self.errors.entry(reason).or_default() += count;
        }
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_open_schedule_keeps_its_times_however_late_it_is_asked() {
        let begin =
            Instant::now().checked_sub(Duration::from_secs(1)).expect("the machine is up for a second");
        let schedule = Schedule::new(Some(100), begin, begin + Duration::from_secs(60));
        for index in 0..5 {
            assert_eq!(schedule.next().await, Some(begin + Duration::from_millis(10) * index));
        }
        assert_eq!(schedule.planned(), Some(6_000));
    }

    #[tokio::test]
    async fn nothing_is_due_after_the_end() {
        let begin =
            Instant::now().checked_sub(Duration::from_secs(1)).expect("the machine is up for a second");
        for rate in [Some(100), None] {
            assert_eq!(Schedule::new(rate, begin, begin + Duration::from_millis(500)).next().await, None);
        }
    }

    #[test]
    fn latency_counts_from_when_the_message_was_due() {
        let start = Instant::now();
        let window = Window { start, end: start + Duration::from_secs(1) };
        let mut outcome = Outcome::new();
        outcome.accept(window, start, start + Duration::from_millis(200));
        // Due in the window, answered after it: its latency counts, its receipt not.
        outcome.accept(window, start, start + Duration::from_millis(1_500));
        assert_eq!((outcome.accepted, outcome.accepted_outside), (1, 1));
        assert_eq!(outcome.latency.len(), 2);
        assert!(outcome.latency.max() >= 1_500_000);
    }
}
