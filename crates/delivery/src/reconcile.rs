//! The reconciler: checks each client's books from its last checkpoint, and moves the checkpoint when they are
//! clean. It repairs nothing.

use std::sync::Arc;
use std::time::Duration;

use message::id::{AuditEntryId, ClientId, Entropy};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::model::{AuditEntry, Client, ClientState};
use crate::port::{Books, Checkpoint, ClientFilter, Store, StoreError};
use crate::timing::Timing;

/// Clients read at once.
const PAGE: i64 = 100;
/// After a client the reconciler rests so many times as long as that took. It reads every open message of a client, so with
/// a long backlog it would else keep the database from working it off.
const REST: u32 = 4;

/// What an audit of one client found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    pub client: ClientId,
    /// Head minus checkpoint plus events, micros.
    pub balance_drift: i64,
    /// Held minus the sum of HELD locks, micros.
    pub held_drift: i64,
    pub last_seq: i64,
    /// Empty = clean.
    pub violations: Vec<String>,
    /// The money itself is in doubt; lateness alone is not.
    pub is_broken: bool,
}

/// Checks one client's books. Pure.
pub fn examine(client: ClientId, books: &Books) -> Audit {
    let from = books.checkpoint;
    let balance_drift = books.available - (from.available + books.available_delta);
    let held_by_log = from.held + books.held_delta;
    let held_drift = books.held - books.held_lock_sum;
    let mut violations = Vec::new();
    let mut check = |is_fine: bool, what: String| {
        if !is_fine {
            violations.push(what);
        }
    };
    check(balance_drift == 0, format!("available differs from the log by {balance_drift} micros"));
    check(
        books.held == held_by_log,
        format!("held differs from the log by {} micros", books.held - held_by_log),
    );
    check(held_drift == 0, format!("held differs from the HELD locks by {held_drift} micros"));
    check(books.available >= 0 && books.held >= 0, "a balance is negative".to_owned());
    let expected = books.last_seq - from.seq;
    let is_contiguous = books.event_count == expected
        && (expected == 0
            || (books.first_event_seq == from.seq + 1 && books.last_event_seq == books.last_seq));
    check(is_contiguous, format!("the log has {} events where seq says {expected}", books.event_count));
    let counts = [
        (books.broken_running_balances, "events whose balances do not follow from the one before"),
        (books.final_but_held, "messages with a final status whose credit is still held"),
        (books.holds_without_lock, "holds in the log without a lock of that amount"),
        (books.double_resolutions, "messages whose credit was resolved twice"),
    ];
    for (count, what) in counts {
        check(count == 0, format!("{count} {what}"));
    }
    let is_broken = !violations.is_empty();
    if books.overdue > 0 {
        violations.push(format!("{} open messages past their limits", books.overdue));
    }
    Audit { client, balance_drift, held_drift, last_seq: books.last_seq, violations, is_broken }
}

/// Audits one client; `None` = no such client.
pub async fn audit(
    store: &dyn Store,
    timing: &Timing,
    client: ClientId,
) -> Result<Option<(Audit, Checkpoint)>, StoreError> {
    // A sweeper that is late by a few intervals, or was not running for a while, is not a breach.
    let grace = timing.sweep_interval * 10 + timing.lease;
    let stale_before = store.now().await? - grace;
    let Some(books) = store.books(client, stale_before).await? else { return Ok(None) };
    let checkpoint = Checkpoint { seq: books.last_seq, available: books.available, held: books.held };
    Ok(Some((examine(client, &books), checkpoint)))
}

/// Audits every client at every interval until `stop`. A client whose books are broken may not send until an
/// operator has looked.
pub async fn run(store: Arc<dyn Store>, timing: Arc<Timing>, stop: CancellationToken) {
    let mut interval = tokio::time::interval(timing.reconcile_interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick is at once; what a restart left behind gets one interval to be swept.
    interval.tick().await;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = interval.tick() => {}
        }
        if let Err(error) = check_all(store.as_ref(), &timing, &stop).await {
            tracing::warn!(error = ?error, "the reconciler could not finish; the next round comes");
        }
    }
}

async fn check_all(store: &dyn Store, timing: &Timing, stop: &CancellationToken) -> Result<(), StoreError> {
    let (mut after, mut drift, mut broken) = (None, 0i64, 0u32);
    let mut rest = Duration::ZERO;
    loop {
        let clients = store.clients(&ClientFilter::default(), after, PAGE, PAGE).await?.items;
        let Some(last) = clients.last() else { break };
        after = Some(last.id);
        for client in clients {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(rest) => {}
            }
            let started = Instant::now();
            let Some((audit, checkpoint)) = audit(store, timing, client.id).await? else { continue };
            rest = started.elapsed() * REST;
            drift = drift
                .saturating_add(audit.balance_drift.saturating_abs() + audit.held_drift.saturating_abs());
            let violations = audit.violations.join("; ");
            if !audit.is_broken {
                if !violations.is_empty() {
                    tracing::warn!(client.id = %client.id, "client {}: {violations}", client.id);
                }
                store.write_checkpoint(client.id, checkpoint).await?;
                continue;
            }
            broken += 1;
            tracing::error!(client.id = %client.id, "the books of client {} are broken: {violations}", client.id);
            if client.state == ClientState::Active {
                suspend(store, client, &violations).await?;
            }
        }
    }
    metrics::gauge!("herald_ledger_drift_micros").set(drift as f64);
    metrics::gauge!("herald_ledger_broken_clients").set(f64::from(broken));
    Ok(())
}

/// The server's own deed, in the audit log like an operator's.
async fn suspend(store: &dyn Store, client: Client, violations: &str) -> Result<(), StoreError> {
    let at = store.now().await?;
    let note = format!("reconciler: {violations}");
    let entry = AuditEntry {
        id: AuditEntryId::new(at, entropy_of(client.id, client.revision)),
        at,
        key_id: String::new(),
        client: Some(client.id),
        action: "AdminService.SuspendClient".to_owned(),
        target: String::new(),
        before: String::new(),
        after: String::new(),
        note: note.clone(),
        request_id: String::new(),
    };
    let client = Client { state: ClientState::Suspended, suspend_reason: note, ..client };
    match store.update_client(&client, &entry).await {
        // An operator changed it at the same moment: the next round looks again.
        Ok(_) | Err(StoreError::Conflict) => Ok(()),
        Err(error) => Err(error),
    }
}

/// There is no randomness here: the client and its revision make the entry's id unique.
fn entropy_of(client: ClientId, revision: i64) -> Entropy {
    let mut entropy = [0; 10];
    entropy.copy_from_slice(&client.as_uuid().as_bytes()[6..]);
    for (byte, of_revision) in entropy.iter_mut().zip(revision.to_le_bytes()) {
        *byte ^= of_revision;
    }
    Entropy(entropy)
}
