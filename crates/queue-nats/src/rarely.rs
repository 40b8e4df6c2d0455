//! Failures that may come by the thousand are logged once in a while, with their count.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const PAUSE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct Rarely(Mutex<(u64, Option<Instant>)>);

impl Rarely {
    /// Counts `more`. `Some` = it is time to log: how many there were since the last time.
    pub(crate) fn count(&self, more: u64) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, last) = &mut *state;
        *count += more;
        if last.is_some_and(|last| last.elapsed() < PAUSE) {
            return None;
        }
        *last = Some(Instant::now());
        Some(std::mem::take(count))
    }
}
