//! The sweeper: fires due timers, so that nothing which was accepted is ever forgotten.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::change::{Learned, Mover};
use crate::dispatch::Backoff;
use crate::port::{Due, PurgeLimits, Restock, StoreError};

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
    if planted!(NoSweeper) {
        return Ok(changed);
    }
    loop {
        let timers = crash_point!("settle.due", mover.store.due_timers(BATCH)).await?;
        if timers.is_empty() {
            return Ok(changed);
        }
        // After the timers: what was offered between the two is offered twice, and nothing is left out by both.
        let not_offered =
            crash_point!("settle.place", mover.store.restock()).await?.and_then(|restock| restock.before);
        let learned: Vec<Learned> = timers
            .iter()
            .map(|timer| Learned::Timer {
                key: timer.key,
                is_lost: not_offered.is_some_and(|before| *timer < before),
            })
            .collect();
        let moved = mover.apply_each(&learned).await?.changed;
        changed += moved;
        // A full page that moved nothing would come back for ever.
        if moved == 0 || learned.len() < BATCH as usize {
            return Ok(changed);
        }
    }
}

/// Offers the backlog whenever the queue has begun anew, until `stop`.
pub async fn restock(mover: Mover, stop: CancellationToken) {
    loop {
        let epoch = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            epoch = crash_point!("restock.begun", mover.queue.begun()) => epoch,
        };
        let mut backoff = Backoff::default();
        loop {
            let offered = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                offered = offer_backlog(&mover, &epoch) => offered,
            };
            match offered {
                Ok(0) => break,
                Ok(offered) => {
                    tracing::info!("the queue has begun anew: {offered} messages that are due were offered");
                    break;
                }
                Err(error) => {
                    tracing::warn!(error = ?error, "the backlog was not offered, trying again");
                    backoff.pause(&stop).await;
                }
            }
        }
    }
}

/// Offers every claimable due message to the queue of this epoch, together with the other nodes: each page is one node's. What
/// a node takes and does not offer because it dies is left to the sweeper. Answers how many this one offered.
pub async fn offer_backlog(mover: &Mover, epoch: &str) -> Result<usize, StoreError> {
    let store = mover.store.as_ref();
    let (mut before, mut offered) = (None, 0);
    let (mut has_begun, mut is_alone) = (false, false);
    loop {
        let started = Instant::now();
        let noted = crash_point!("restock.place", store.restock()).await?;
        match &noted {
            Some(noted) if noted.epoch == epoch => match noted.before {
                None => return Ok(offered),
                place => before = place,
            },
            // Another queue has begun meanwhile, as each process has its own without NATS. Its place is not ours to move.
            _ => is_alone = has_begun,
        }
        let mut page = crash_point!("restock.page", store.backlog(before, BATCH)).await?;
        let next = page.last().map(Due::timer);
        if !is_alone {
            let becomes = Restock { epoch: epoch.to_owned(), before: next };
            if !crash_point!("restock.note", store.note_restock(noted.as_ref(), &becomes)).await? {
                continue;
            }
            has_begun = true;
        }
        before = next;
        if page.is_empty() {
            return Ok(offered);
        }
        // The oldest of a page first.
        page.reverse();
        offered += page.len();
        let offering = mover.lanes.offer(mover.queue.as_ref(), "backlog", page);
        crash_point!("restock.offer", offering).await;
        // At most half of what store and queue can do, so that new messages have the rest.
        tokio::time::sleep(started.elapsed()).await;
    }
}

async fn purge(mover: &Mover) -> Result<(), StoreError> {
    let now = crash_point!("purge.now", mover.store.now()).await?;
    let limits = PurgeLimits {
        reports_before: now - mover.timing.report_lifetime,
        refs_before: now - mover.timing.ref_lifetime,
    };
    let purged = crash_point!("purge.commit", mover.store.purge(&limits, PURGE_BATCH)).await?;
    if purged.unmatched_reports > 0 {
        metrics::counter!("herald_reports_unmatched_total").increment(purged.unmatched_reports);
        tracing::warn!(
            "{} provider reports never matched a message and were removed",
            purged.unmatched_reports
        );
    }
    Ok(())
}
