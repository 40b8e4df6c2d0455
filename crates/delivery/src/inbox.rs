//! Provider reports: durable in the inbox first, acknowledged then, applied after.

use std::sync::Arc;

use message::report::ProviderReport;
use provider::{Provider, ReportBatch};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::change::{Learned, Mover};
use crate::dispatch::Backoff;
use crate::port::{Store, StoreError, StoredReports};
use crate::writer::{self, Writer};

/// The most reports that are read at once: what the writer takes in a transaction.
const PAGE: i64 = writer::BATCH as i64;

/// Takes reports from the provider into the inbox until `stop`.
pub async fn receive(
    mover: Mover,
    provider: Arc<dyn Provider>,
    arrived: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::default();
    loop {
        let batch = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            batch = crash_point!("report.receive", provider.next_reports()) => batch,
        };
        let Some(ReportBatch { reports, stored }) = batch else { return };
        if planted!(MissingInbox) {
            let _ = stored.send(());
            // Long enough for a crash to come between the two.
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            let _ = store_each(&mover, provider.name(), &reports).await;
            arrived.notify_one();
            continue;
        }
        match store_each(&mover, provider.name(), &reports).await {
            Ok(counts) => {
                metrics::counter!("herald_reports_total", "kind" => "new").increment(counts.new as u64);
                metrics::counter!("herald_reports_total", "kind" => "duplicate")
                    .increment(counts.duplicate as u64);
                // The provider may have hung up; it will deliver them again, and they are duplicates then.
                let _ = stored.send(());
                arrived.notify_one();
                backoff = Backoff::default();
            }
            Err(error) => {
                // Not acknowledged, so the provider keeps them.
                drop(stored);
                tracing::warn!(error = ?error, "{} reports were not stored", reports.len());
                backoff.pause(&stop).await;
            }
        }
    }
}

/// Stores the reports; if the store refuses them together, each alone. One that is refused alone is logged and given
/// up: the provider would deliver it for ever, and its neighbours with it.
async fn store_each(
    mover: &Mover,
    provider: &str,
    reports: &[ProviderReport],
) -> Result<StoredReports, StoreError> {
    match store(mover, provider, reports).await {
        Err(StoreError::Refused(cause)) if reports.len() > 1 => {
            tracing::warn!(error = %cause, "{} reports were refused, each is tried alone", reports.len());
        }
        Err(StoreError::Refused(cause)) => return Ok(give_up(provider, cause.as_ref())),
        done => return done,
    }
    let mut sum = StoredReports::default();
    for report in reports {
        let counts = match store(mover, provider, std::slice::from_ref(report)).await {
            Err(StoreError::Refused(cause)) => give_up(provider, cause.as_ref()),
            done => done?,
        };
        sum.new += counts.new;
        sum.duplicate += counts.duplicate;
    }
    Ok(sum)
}

async fn store(
    mover: &Mover,
    provider: &str,
    reports: &[ProviderReport],
) -> Result<StoredReports, StoreError> {
    crash_point!("report.store", mover.store.store_reports(provider, reports)).await
}

fn give_up(provider: &str, cause: &(dyn std::error::Error + Send + Sync)) -> StoredReports {
    metrics::counter!("herald_reports_total", "kind" => "poison").increment(1);
    tracing::error!(error = %cause, provider, "a report cannot be stored and is given up");
    StoredReports::default()
}

/// Applies what waits in the inbox whenever `arrived` says so, until `stop`. The sweeper says so too, for
/// what a crash left behind.
pub async fn apply(store: Arc<dyn Store>, writer: Writer, arrived: Arc<Notify>, stop: CancellationToken) {
    let mut backoff = Backoff::default();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = arrived.notified() => {}
        }
        match write_pending(store.as_ref(), &writer).await {
            Ok(()) => backoff = Backoff::default(),
            Err(error) => {
                tracing::warn!(error = ?error, "reports were not applied, trying again");
                backoff.pause(&stop).await;
                arrived.notify_one();
            }
        }
    }
}

/// Applies every pending report whose message is known, each page in a transaction of its own.
pub async fn apply_pending(mover: &Mover) -> Result<(), StoreError> {
    let mut after = 0;
    while let Some(learned) = pending_after(mover.store.as_ref(), &mut after).await? {
        mover.apply_each(&learned).await?;
    }
    Ok(())
}

/// The same through the writer.
async fn write_pending(store: &dyn Store, writer: &Writer) -> Result<(), StoreError> {
    let mut after = 0;
    while let Some(learned) = pending_after(store, &mut after).await? {
        writer.apply_each(learned).await?;
    }
    Ok(())
}

/// The next page, if there is one; `after` goes on to its end.
async fn pending_after(store: &dyn Store, after: &mut i64) -> Result<Option<Arc<[Learned]>>, StoreError> {
    let pending = crash_point!("report.pending", store.pending_reports(*after, PAGE)).await?;
    let Some(last) = pending.last() else { return Ok(None) };
    *after = last.id;
    Ok(Some(pending.into_iter().map(Learned::Report).collect()))
}
