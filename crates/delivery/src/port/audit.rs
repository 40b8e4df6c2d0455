//! What the reconciler reads, checkpoints, and the removal of what is no longer needed.

use async_trait::async_trait;
use message::id::{AuditEntryId, ClientId, MessageId};
use message::time::Timestamp;

use super::StoreError;
use crate::model::{AuditEntry, Message};

/// The reconciler's verbs.
#[async_trait]
pub trait AuditStore: Send + Sync + 'static {
    /// The client's books since its last checkpoint, all as of ONE snapshot. Open messages whose timer is
    /// missing or older than `stale_before` are counted as overdue. `None` = no such client.
    async fn books(&self, client: ClientId, stale_before: Timestamp) -> Result<Option<Books>, StoreError>;

    /// Moves the client's checkpoint forward; one that is not ahead of the stored one changes nothing.
    async fn write_checkpoint(&self, client: ClientId, checkpoint: Checkpoint) -> Result<(), StoreError>;

    /// Removes the client's events through `seq`, but never past its checkpoint, and moves `oldest_seq`. Nobody reads them
    /// from then on; a store may free their room later.
    /// Answers the new `oldest_seq`.
    async fn trim_events(&self, client: ClientId, through: i64) -> Result<i64, StoreError>;

    /// The client's messages older than `created_before`, in the order in which they were accepted, after the one
    /// given: what retention looks at.
    async fn old_messages(
        &self,
        client: ClientId,
        created_before: Timestamp,
        after: Option<MessageId>,
        limit: i64,
    ) -> Result<Vec<Message>, StoreError>;

    /// Removes those of `ids` whose status is final and whose credit is not HELD, with their states, locks and dead
    /// letters. Answers how many.
    async fn remove_messages(&self, client: ClientId, ids: &[MessageId]) -> Result<u64, StoreError>;

    /// Audit entries older than `before`, oldest first.
    async fn old_audit_entries(&self, before: Timestamp, limit: i64) -> Result<Vec<AuditEntry>, StoreError>;

    async fn remove_audit_entries(&self, ids: &[AuditEntryId]) -> Result<u64, StoreError>;

    /// Housekeeping: removes up to `limit` rows of each kind that are older than the limits, and keys past their
    /// lifetime; makes room for what is to come, in a store that must.
    async fn purge(&self, limits: &PurgeLimits, limit: i64) -> Result<Purged, StoreError>;
}

/// Balances as of a `seq`: everything before it may be forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    pub seq: i64,
    pub available: i64,
    pub held: i64,
}

/// One client's books as one snapshot shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    pub checkpoint: Checkpoint,
    /// From the head.
    pub available: i64,
    pub held: i64,
    pub last_seq: i64,
    /// Events after the checkpoint: how many, the smallest and largest `seq`, and the sums of their deltas.
    pub event_count: i64,
    pub first_event_seq: i64,
    pub last_event_seq: i64,
    pub available_delta: i64,
    pub held_delta: i64,
    /// Events after the checkpoint whose balances after differ from the running sum of deltas.
    pub broken_running_balances: i64,
    /// Credit locks that are HELD, and their sum.
    pub held_locks: i64,
    pub held_lock_sum: i64,
    /// Messages after whose final status the lock is still HELD.
    pub final_but_held: i64,
    /// Of the HOLD events after the checkpoint: those whose message has no lock of that amount.
    pub holds_without_lock: i64,
    /// Messages with more than one CAPTURE or RELEASE event after the checkpoint.
    pub double_resolutions: i64,
    /// Messages that must be looked at (open, or HELD) without a timer, or whose timer is older than asked.
    pub overdue: i64,
}

/// Rows older than these are removed.
#[derive(Clone, Copy, Debug)]
pub struct PurgeLimits {
    /// Inbox rows, applied or never matched.
    pub reports_before: Timestamp,
    pub refs_before: Timestamp,
}

/// How many rows were removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    pub reports: u64,
    /// Of `reports`: those that never matched a message.
    pub unmatched_reports: u64,
    pub refs: u64,
}
