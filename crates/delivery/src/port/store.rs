//! The store as the hot path uses it: transactions cut by phase, claims, the report inbox, timers.

use std::time::Duration;

use async_trait::async_trait;
use message::report::ProviderReport;
use message::time::Timestamp;

use super::Due;
use crate::model::{MessageKey, MessageRecord};
use crate::plan::{Loaded, Plan, Wanted, Written};

/// Why a store verb failed. Driver text stays in `source` and is logged, never answered.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The transaction lost against another (serialisation, deadlock, a compare-and-set that missed). Nothing
    /// was written; the same work may be tried again from the start.
    #[error("the transaction lost against another")]
    Conflict,
    /// The store cannot be reached or is out of connections. Nothing was written.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke during commit: the transaction may or may not stand.
    #[error("the fate of the commit is not known")]
    Uncertain(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row or statement was refused, or a stored value does not read back: a bug or damage. Nothing was written.
    #[error("the store refused")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// The same for each of several that failed together; its cause was logged where they did.
    pub(crate) fn echo(&self) -> Self {
        match self {
            Self::Conflict => Self::Conflict,
            Self::Unavailable(cause) => Self::Unavailable(cause.to_string().into()),
            Self::Uncertain(cause) => Self::Uncertain(cause.to_string().into()),
            Self::Refused(cause) => Self::Refused(cause.to_string().into()),
        }
    }
}

/// One transaction: `load` once, decide, `write` once, `commit`. Dropped before its commit it leaves nothing.
#[async_trait]
pub trait Transaction: Send {
    /// Locks and reads all that the rules need: clients ascending, then messages ascending, then unlocked rows.
    /// `Loaded::now` is read from the database in the first statement and never goes back within a store.
    async fn load(&mut self, wanted: &Wanted) -> Result<Loaded, StoreError>;

    /// Writes the plan; visible to others after `commit` only. A `StateChange` whose `fence_before` differs
    /// from the row's, or that resolves a lock which is not HELD, is [`StoreError::Conflict`].
    async fn write(&mut self, plan: &Plan) -> Result<Written, StoreError>;

    /// Durable when it returns: the transaction survives the loss of every process and of power.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// The hot path's verbs.
#[async_trait]
pub trait WorkStore: Send + Sync + 'static {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError>;

    /// Claims those of `claim.keys` that are QUEUED or FAILED_TEMP, due, and within their validity:
    /// status = SENDING, `fence` + 1, `attempt` + 1, lease and provider set, in one statement that is durable
    /// when it returns. The rest are left out of the answer. No event, no client lock, no timer change.
    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, StoreError>;

    /// Puts reports into the durable inbox, each once by (provider, provider reference, attempt reference,
    /// state, part, done date), and marks their references as reported, in one transaction.
    async fn store_reports(
        &self,
        provider: &str,
        reports: &[ProviderReport],
    ) -> Result<StoredReports, StoreError>;

    /// Pending inbox rows after `after` whose message is known (by attempt reference, or by a bound provider
    /// reference), in ascending order of id. Unlocked: whoever applies them checks again under the locks.
    async fn pending_reports(&self, after: i64, limit: i64) -> Result<Vec<PendingReport>, StoreError>;

    /// The timers that are at or before the database's now, earliest first.
    async fn due_timers(&self, limit: i64) -> Result<Vec<Timer>, StoreError>;

    /// Claimable messages that are due, those with the latest timers first, before the one given: the backlog that
    /// a queue which begins anew must be offered.
    async fn backlog(&self, before: Option<Timer>, limit: i64) -> Result<Vec<Due>, StoreError>;

    /// How far the last queue that began anew has been offered the backlog. `None` = there was none.
    async fn restock(&self) -> Result<Option<Restock>, StoreError>;

    /// Replaces it. `false` = it is not what it was, and stays so.
    async fn note_restock(&self, was: Option<&Restock>, becomes: &Restock) -> Result<bool, StoreError>;
}

/// When the sweeper looks at a message. In the order in which they fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    pub at: Timestamp,
    pub key: MessageKey,
}

/// How far a queue that began anew has been offered the backlog. Its nodes do that together, from the latest timer down:
/// whenever one fires meanwhile it moves up, so no message is come across twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restock {
    /// The queue's.
    pub epoch: String,
    /// Messages with earlier timers are still to be offered; `None` = no more are.
    pub before: Option<Timer>,
}

/// A request to claim messages for one provider.
#[derive(Clone, Debug)]
pub struct Claim {
    pub keys: Vec<MessageKey>,
    pub provider: String,
    pub lease: Duration,
}

/// A claimed message, ready to submit.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub record: MessageRecord,
    pub fence: i64,
    pub attempt: i32,
    /// The time of the claim, by the database.
    pub claimed_at: Timestamp,
}

/// What became of reports put into the inbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredReports {
    pub new: usize,
    pub duplicate: usize,
}

/// A report that waits to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingReport {
    /// Its row in the inbox.
    pub id: i64,
    pub provider: String,
    pub report: ProviderReport,
    pub target: ReportTarget,
    pub stored_at: Timestamp,
}

/// The message and attempt that a report speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportTarget {
    pub key: MessageKey,
    pub attempt: i32,
    /// The part that the provider's reference is bound to; 0 = the whole message.
    pub part: u16,
}
