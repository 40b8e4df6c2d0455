//! Submit and report, as every provider adapter must do them.

use std::time::Duration;

use async_trait::async_trait;
use message::encoding::Encoding;
use message::encoding::national::Shifts;
use message::failure::Failure;
use message::parts::{Content, ReferenceBits};
use message::phone::PhoneNumber;
use message::report::{AttemptRef, ProviderReport};
use tokio::sync::oneshot;

/// One attempt, ready to send.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Names this attempt; a provider that can echo a reference gets it.
    pub attempt_ref: AttemptRef,
    pub to: PhoneNumber,
    /// Empty = the provider account's default.
    pub sender: String,
    pub content: Content,
    /// Frozen at accept, like `reference_bits` and `part_count`.
    pub encoding: Encoding,
    /// The national tables of a GSM-7 text.
    pub shifts: Shifts,
    /// Message class 0: shown at once and not kept (3GPP TS 23.038 section 4).
    pub is_flash: bool,
    pub reference_bits: ReferenceBits,
    /// From 1 to 255.
    pub part_count: u16,
    /// How long the provider may go on trying, when the client limits it.
    pub validity: Option<Duration>,
}

/// The provider took the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The provider's references: one for the whole message, or one per part in order. Never empty.
    pub refs: Vec<String>,
}

/// The four ways an attempt is not accepted; they decide retry, refund and alert.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The provider refused this message. Permanent when `is_permanent`, else worth another attempt.
    #[error("provider refused the message")]
    Rejected { is_permanent: bool, failure: Failure },
    /// The provider asks to slow down: nothing was taken and no attempt is spent.
    #[error("provider throttles, retry after {retry_after:?}")]
    Throttled { retry_after: Duration },
    /// No byte of the message left this process: nothing was taken and another try is safe.
    #[error("provider is unavailable: {detail}")]
    Unavailable { detail: String },
    /// The first byte may have left and no answer says what became of it.
    #[error("outcome unknown: {detail}")]
    Unknown { detail: String },
}

/// Reports that a provider delivers together. They must be durable before `stored` is told, and only then
/// may the adapter acknowledge them to the provider; a dropped `stored` means: keep and deliver again.
#[derive(Debug)]
pub struct ReportBatch {
    pub reports: Vec<ProviderReport>,
    pub stored: oneshot::Sender<()>,
}

/// One upstream account.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// The account's name, unique in the installation: it is part of every stored reference.
    fn name(&self) -> &str;

    /// How many submissions may be in flight at once.
    fn window(&self) -> usize;

    /// Sends one attempt. Called at most once per attempt. Dropping the future after its first poll leaves
    /// the outcome unknown. Takes at most the adapter's own time-out, which is well under the caller's lease;
    /// what has not been answered by then is [`SubmitError::Unknown`].
    async fn submit(&self, submission: &Submission) -> Result<Accepted, SubmitError>;

    /// Waits for the next reports. `None` = the adapter was closed. One consumer at a time. Cancel-safe: a
    /// dropped wait loses no report.
    async fn next_reports(&self) -> Option<ReportBatch>;
}
