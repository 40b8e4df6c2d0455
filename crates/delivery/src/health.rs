//! How a provider does, as the node that submits to it sees it: what is in flight, and the outcomes of the last minute.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::transition::Outcome;

/// Submits in a row that failed before their first byte, after which a provider counts as down.
pub const BREAK_AFTER: u32 = 5;
/// Seconds that are remembered.
const SECONDS: usize = 60;

/// The state of one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Unused,
    Up,
    /// Some submits of the last minute were throttled, failed for now or have an unknown outcome.
    Degraded,
    /// Several submits in a row failed before their first byte.
    Down,
}

/// What is known of one provider.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    pub state: State,
    pub in_flight: u32,
    /// Over the last minute.
    pub submits_per_second: f64,
    /// Of those that have an outcome; 1 without any.
    pub success_ratio: f64,
    /// Of the last minute.
    pub throttled: u32,
    pub failed_for_now: u32,
    pub unknown: u32,
    pub unavailable_in_a_row: u32,
}

/// Gathers what a provider answers.
pub struct Health {
    seen: Mutex<Seen>,
}

struct Seen {
    started: Instant,
    /// The second, counted from `started`, that the newest slot stands for.
    second: u64,
    slots: [Counts; SECONDS],
    in_flight: u32,
    unavailable_in_a_row: u32,
    is_used: bool,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    begun: u32,
    accepted: u32,
    refused: u32,
    failed_for_now: u32,
    throttled: u32,
    unavailable: u32,
    unknown: u32,
}

/// A submit under way. Dropped without its end, its outcome counts as unknown.
pub struct Flight {
    health: Arc<Health>,
    is_ended: bool,
}

impl Default for Health {
    fn default() -> Self {
        let seen = Seen {
            started: Instant::now(),
            second: 0,
            slots: [Counts::default(); SECONDS],
            in_flight: 0,
            unavailable_in_a_row: 0,
            is_used: false,
        };
        Self { seen: Mutex::new(seen) }
    }
}

impl Health {
    /// A submit begins.
    pub fn begin(self: &Arc<Self>) -> Flight {
        let mut seen = self.seen();
        seen.now().begun += 1;
        seen.in_flight += 1;
        seen.is_used = true;
        Flight { health: self.clone(), is_ended: false }
    }

    pub fn unavailable_in_a_row(&self) -> u32 {
        self.seen().unavailable_in_a_row
    }

    pub fn read(&self) -> Reading {
        let mut seen = self.seen();
        seen.now();
        let sum = seen.slots.iter().fold(Counts::default(), |sum, slot| sum.plus(slot));
        let ended =
            sum.accepted + sum.refused + sum.failed_for_now + sum.throttled + sum.unavailable + sum.unknown;
        let state = if !seen.is_used {
            State::Unused
        } else if seen.unavailable_in_a_row >= BREAK_AFTER {
            State::Down
        } else if sum.failed_for_now + sum.throttled + sum.unavailable + sum.unknown > 0 {
            State::Degraded
        } else {
            State::Up
        };
        let window = seen.started.elapsed().as_secs_f64().clamp(1.0, SECONDS as f64);
        Reading {
            state,
            in_flight: seen.in_flight,
            submits_per_second: f64::from(sum.begun) / window,
            success_ratio: if ended == 0 { 1.0 } else { f64::from(sum.accepted) / f64::from(ended) },
            throttled: sum.throttled,
            failed_for_now: sum.failed_for_now,
            unknown: sum.unknown,
            unavailable_in_a_row: seen.unavailable_in_a_row,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// It has an outcome.
    pub fn end(mut self, outcome: &Outcome) {
        self.is_ended = true;
        let mut seen = self.health.seen();
        let counts = seen.now();
        match outcome {
            Outcome::Accepted { .. } => counts.accepted += 1,
            Outcome::Rejected { is_permanent: true, .. } => counts.refused += 1,
            Outcome::Rejected { is_permanent: false, .. } => counts.failed_for_now += 1,
            Outcome::Throttled { .. } => counts.throttled += 1,
            Outcome::Unavailable => counts.unavailable += 1,
            Outcome::Unknown { .. } => counts.unknown += 1,
        }
        let is_unavailable = *outcome == Outcome::Unavailable;
        seen.unavailable_in_a_row = if is_unavailable { seen.unavailable_in_a_row + 1 } else { 0 };
        seen.in_flight = seen.in_flight.saturating_sub(1);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.is_ended {
            let mut seen = self.health.seen();
            seen.now().unknown += 1;
            seen.in_flight = seen.in_flight.saturating_sub(1);
        }
    }
}

impl Seen {
    /// The slot of this second; slots that it replaces are emptied.
    fn now(&mut self) -> &mut Counts {
        let second = self.started.elapsed().as_secs();
        let passed = second.saturating_sub(self.second).min(SECONDS as u64);
        for back in 0..passed {
            self.slots[slot_of(second - back)] = Counts::default();
        }
        self.second = second;
        &mut self.slots[slot_of(second)]
    }
}

fn slot_of(second: u64) -> usize {
    usize::try_from(second % SECONDS as u64).unwrap_or(0)
}

impl Counts {
    fn plus(self, other: &Self) -> Self {
        Self {
            begun: self.begun + other.begun,
            accepted: self.accepted + other.accepted,
            refused: self.refused + other.refused,
            failed_for_now: self.failed_for_now + other.failed_for_now,
            throttled: self.throttled + other.throttled,
            unavailable: self.unavailable + other.unavailable,
            unknown: self.unknown + other.unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn accepted() -> Outcome {
        Outcome::Accepted { refs: vec!["r".into()] }
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_is_unused_then_up_then_degraded_for_a_minute() {
        let health = Arc::new(Health::default());
        assert_eq!(health.read().state, State::Unused);
        health.begin().end(&accepted());
        assert_eq!(health.read().state, State::Up);
        health.begin().end(&Outcome::Throttled { retry_after: Duration::from_secs(1) });
        let reading = health.read();
        assert_eq!((reading.state, reading.throttled, reading.success_ratio), (State::Degraded, 1, 0.5));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(health.read().state, State::Degraded);
        tokio::time::advance(Duration::from_secs(2)).await;
        let reading = health.read();
        assert_eq!((reading.state, reading.success_ratio, reading.submits_per_second), (State::Up, 1.0, 0.0));
    }

    #[tokio::test(start_paused = true)]
    async fn several_connect_failures_in_a_row_are_down_until_one_answers() {
        let health = Arc::new(Health::default());
        for _ in 0..BREAK_AFTER {
            assert_ne!(health.read().state, State::Down);
            health.begin().end(&Outcome::Unavailable);
        }
        assert_eq!(health.read().state, State::Down);
        health.begin().end(&accepted());
        assert_eq!((health.read().state, health.unavailable_in_a_row()), (State::Degraded, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_flight_is_unknown_and_in_flight_no_more() {
        let health = Arc::new(Health::default());
        let flight = health.begin();
        assert_eq!(health.read().in_flight, 1);
        drop(flight);
        let reading = health.read();
        assert_eq!((reading.in_flight, reading.unknown), (0, 1));
    }
}
