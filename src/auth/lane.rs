//! Work that strangers can cause: a few at once, and a bounded number that waits.

use tokio::sync::{Semaphore, SemaphorePermit};

pub(super) struct Lane {
    at_once: Semaphore,
    /// Those at work and those that wait.
    inside: Semaphore,
}

/// Held while the work goes on.
pub(super) struct Place<'a> {
    _at_work: SemaphorePermit<'a>,
    _inside: SemaphorePermit<'a>,
}

impl Lane {
    pub(super) const fn new(at_once: usize, waiting: usize) -> Self {
        Self { at_once: Semaphore::const_new(at_once), inside: Semaphore::const_new(at_once + waiting) }
    }

    /// Waits for a place; `None` = too many wait already.
    pub(super) async fn enter(&self) -> Option<Place<'_>> {
        let inside = self.inside.try_acquire().ok()?;
        let at_work = self.at_once.acquire().await.ok()?;
        Some(Place { _at_work: at_work, _inside: inside })
    }

    /// From now on nobody gets a place.
    #[cfg(test)]
    pub(super) fn close(&self) {
        self.at_once.close();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_few_work_a_few_wait_and_the_rest_is_sent_away() {
        let lane = Lane::new(1, 1);
        let at_work = lane.enter().now_or_never().flatten();
        assert!(at_work.is_some());
        let mut waits = Box::pin(lane.enter());
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(matches!(lane.enter().now_or_never(), Some(None)), "a third came in");
        drop(at_work);
        assert!(waits.now_or_never().flatten().is_some());
        assert!(lane.enter().now_or_never().flatten().is_some(), "a place was lost");
    }
}
