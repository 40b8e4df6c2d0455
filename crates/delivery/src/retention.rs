//! Retention: what is older than the operator wants to keep is archived, then removed. The books are checked and a
//! checkpoint is written first, so that nothing is forgotten which they still need.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use message::Timestamp;
use message::event::Event;
use message::id::{AuditEntryId, ClientId, MessageId};
use message::status::LockState;
use tokio_util::sync::CancellationToken;

use crate::model::{AuditEntry, Message, Retention};
use crate::port::{ClientFilter, Store, StoreError};
use crate::reconcile;
use crate::statement::first_at_or_after;
use crate::timing::Timing;

/// Clients, and rows of one kind, read at once.
const PAGE: i64 = 500;
/// Rows of one kind that are looked at for one client in one round: the rest has time until the next.
const ROUND: usize = 100_000;

/// Where rows go before they are removed.
#[async_trait]
pub trait Archive: Send + Sync + 'static {
    /// Durable when it returns. A row may be written twice, if a crash came between this and its removal.
    async fn events(&self, client: ClientId, events: &[Event]) -> Result<(), ArchiveError>;

    async fn messages(&self, client: ClientId, messages: &[Message]) -> Result<(), ArchiveError>;

    async fn audit_entries(&self, entries: &[AuditEntry]) -> Result<(), ArchiveError>;
}

/// The archive cannot be written: nothing is removed.
#[derive(Debug, thiserror::Error)]
#[error("the archive cannot be written")]
pub struct ArchiveError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What a round came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub events: u64,
    pub messages: u64,
    pub audit_entries: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// Applies the settings at every interval until `stop`.
pub async fn run(
    store: Arc<dyn Store>,
    archive: Option<Arc<dyn Archive>>,
    timing: Arc<Timing>,
    stop: CancellationToken,
) {
    let mut interval = tokio::time::interval(timing.retention_interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = interval.tick() => {}
        }
        match apply(store.as_ref(), archive.as_deref(), &timing).await {
            Ok(Removed { events: 0, messages: 0, audit_entries: 0 }) => {}
            Ok(removed) => tracing::info!(
                "retention removed {} events, {} messages, {} audit entries",
                removed.events,
                removed.messages,
                removed.audit_entries
            ),
            Err(error) => {
                tracing::error!(error = ?error, "retention could not be applied; the next round comes")
            }
        }
    }
}

/// One round.
pub async fn apply(
    store: &dyn Store,
    archive: Option<&dyn Archive>,
    timing: &Timing,
) -> Result<Removed, RetentionError> {
    let retention = crash_point!("retention.settings", store.retention()).await?;
    let mut removed = Removed::default();
    if retention == Retention::default() {
        return Ok(removed);
    }
    let now = crash_point!("retention.now", store.now()).await?;
    if let Some(keep) = retention.audit_entries {
        removed.audit_entries = trim_audit_entries(store, archive, now - keep).await?;
    }
    let (filter, mut after) = (ClientFilter::default(), None);
    loop {
        let clients =
            crash_point!("retention.clients", store.clients(&filter, after, PAGE, PAGE)).await?.items;
        let Some(last) = clients.last() else { break };
        after = Some(last.id);
        for client in clients {
            if !is_clean(store, timing, client.id).await? {
                tracing::warn!(client.id = %client.id, "the books of client {} are not clean: nothing is removed", client.id);
                continue;
            }
            if let Some(keep) = retention.events {
                removed.events += trim_events(store, archive, client.id, now - keep).await?;
            }
            if let Some(keep) = retention.messages {
                removed.messages += remove_messages(store, archive, client.id, now - keep).await?;
            }
        }
    }
    metrics::counter!("herald_retention_removed_total", "kind" => "events").increment(removed.events);
    metrics::counter!("herald_retention_removed_total", "kind" => "messages").increment(removed.messages);
    metrics::counter!("herald_retention_removed_total", "kind" => "audit_entries")
        .increment(removed.audit_entries);
    Ok(removed)
}

/// Checks the books, and writes a checkpoint if they are clean.
async fn is_clean(store: &dyn Store, timing: &Timing, client: ClientId) -> Result<bool, StoreError> {
    let Some((audit, checkpoint)) = reconcile::audit(store, timing, client).await? else { return Ok(false) };
    if audit.is_broken {
        return Ok(false);
    }
    crash_point!("retention.checkpoint", store.write_checkpoint(client, checkpoint)).await?;
    Ok(true)
}

async fn trim_events(
    store: &dyn Store,
    archive: Option<&dyn Archive>,
    client: ClientId,
    before: Timestamp,
) -> Result<u64, RetentionError> {
    let ends = crash_point!("retention.ends", store.events(client, 0, 0)).await?;
    let first_kept = first_at_or_after(store, client, &ends, before).await?;
    let mut oldest = ends.oldest_seq;
    let last = first_kept.min(oldest.saturating_add(ROUND as i64));
    while oldest < last {
        let page = store.events(client, oldest - 1, PAGE.min(last - oldest));
        let page = crash_point!("retention.events", page).await?.events;
        let Some(through) = page.last().map(|event| event.seq) else { break };
        if let Some(archive) = archive {
            crash_point!("retention.archive_events", archive.events(client, &page)).await?;
        }
        let now_oldest = crash_point!("retention.trim_events", store.trim_events(client, through)).await?;
        // The checkpoint was written a moment ago; if it holds the trim back all the same, so be it.
        if now_oldest <= oldest {
            break;
        }
        oldest = now_oldest;
    }
    Ok(u64::try_from(oldest - ends.oldest_seq).unwrap_or(0))
}

/// Messages that are final and settled since before `before`.
async fn remove_messages(
    store: &dyn Store,
    archive: Option<&dyn Archive>,
    client: ClientId,
    before: Timestamp,
) -> Result<u64, RetentionError> {
    let (mut after, mut removed, mut looked_at): (Option<MessageId>, u64, usize) = (None, 0, 0);
    while looked_at < ROUND {
        let page = store.old_messages(client, before, after, PAGE);
        let page = crash_point!("retention.messages", page).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.record.key.id);
        looked_at += page.len();
        let is_over = |message: &Message| {
            let state = &message.state;
            state.status.is_final() && state.lock != LockState::Held && state.status_at < before
        };
        let over: Vec<Message> = page.into_iter().filter(is_over).collect();
        if over.is_empty() {
            continue;
        }
        if let Some(archive) = archive {
            crash_point!("retention.archive_messages", archive.messages(client, &over)).await?;
        }
        let ids: Vec<MessageId> = over.iter().map(|message| message.record.key.id).collect();
        let gone = crash_point!("retention.remove_messages", store.remove_messages(client, &ids)).await?;
        removed += gone;
    }
    Ok(removed)
}

async fn trim_audit_entries(
    store: &dyn Store,
    archive: Option<&dyn Archive>,
    before: Timestamp,
) -> Result<u64, RetentionError> {
    let mut removed = 0;
    loop {
        let page = crash_point!("retention.entries", store.old_audit_entries(before, PAGE)).await?;
        if page.is_empty() {
            return Ok(removed);
        }
        if let Some(archive) = archive {
            crash_point!("retention.archive_entries", archive.audit_entries(&page)).await?;
        }
        let ids: Vec<AuditEntryId> = page.iter().map(|entry| entry.id).collect();
        let gone = crash_point!("retention.remove_entries", store.remove_audit_entries(&ids)).await?;
        removed += gone;
        if gone == 0 {
            return Ok(removed);
        }
    }
}

/// The shortest time that events and messages may be kept.
pub const KEEP_MIN: Duration = Duration::from_secs(7 * 24 * 3_600);
/// The shortest time that audit entries may be kept.
pub const KEEP_AUDIT_MIN: Duration = Duration::from_secs(30 * 24 * 3_600);
/// The longest that is not for ever.
pub const KEEP_MAX: Duration = Duration::from_secs(3_652 * 24 * 3_600);
