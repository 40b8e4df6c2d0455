//! The sweeper: fires due timers, so that nothing which was accepted is ever forgotten.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::change::{Learned, Mover};
use crate::port::{PurgeLimits, StoreError};

/// The most timers of one transaction.
const BATCH: i64 = 500;
/// Rows removed at once.
const PURGE_BATCH: i64 = 5_000;
/// Old rows are removed at every so many sweeps.
const PURGE_EVERY: u64 = 60;

/// Sweeps at every interval until `stop`. `reports` is notified each time, for reports that a crash left unapplied.
pub async fn run(mover: Mover, reports: Arc<Notify>, stop: CancellationToken) {
    let mut interval = tokio::time::interval(mover.timing.sweep_interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sweeps = 0u64;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = interval.tick() => {}
        }
        if let Err(error) = fire_due(&mover).await {
            tracing::warn!(error = ?error, "a sweep failed; the next one comes");
        }
        reports.notify_one();
        if sweeps.is_multiple_of(PURGE_EVERY)
            && let Err(error) = purge(&mover).await
        {
            tracing::warn!(error = ?error, "old rows were not removed");
        }
        sweeps += 1;
    }
}

/// Fires every timer that is due. Answers how many messages changed.
pub async fn fire_due(mover: &Mover) -> Result<usize, StoreError> {
    let mut changed = 0;
    loop {
        let keys = mover.store.due_timers(BATCH).await?;
        let learned: Vec<Learned> = keys.iter().map(|key| Learned::Timer { key: *key }).collect();
        if learned.is_empty() {
            return Ok(changed);
        }
        let moved = mover.apply_each(&learned).await?.changed;
        changed += moved;
        // A full page that moved nothing would come back for ever.
        if moved == 0 || learned.len() < BATCH as usize {
            return Ok(changed);
        }
    }
}

/// Offers every claimable due message to a queue that starts empty.
pub async fn offer_backlog(mover: &Mover) -> Result<usize, StoreError> {
    let (mut after, mut offered) = (None, 0);
    loop {
        let page = mover.store.backlog(after, BATCH).await?;
        let Some(last) = page.last() else { return Ok(offered) };
        after = Some((last.0, last.1));
        offered += page.len();
        let due = page.into_iter().map(|(_, key, priority)| (key, priority));
        mover.lanes.offer(mover.queue.as_ref(), due).await;
    }
}

async fn purge(mover: &Mover) -> Result<(), StoreError> {
    let now = mover.store.now().await?;
    let limits = PurgeLimits {
        reports_before: now - mover.timing.report_lifetime,
        refs_before: now - mover.timing.ref_lifetime,
    };
    let purged = mover.store.purge(&limits, PURGE_BATCH).await?;
    if purged.unmatched_reports > 0 {
        metrics::counter!("herald_reports_unmatched_total").increment(purged.unmatched_reports);
        tracing::warn!(
            "{} provider reports never matched a message and were removed",
            purged.unmatched_reports
        );
    }
    Ok(())
}
