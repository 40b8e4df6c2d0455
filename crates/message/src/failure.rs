//! Why a message (not a call) failed.

use crate::words;

words! {
    /// The reason in a client's words; a provider's own code stands beside it in [`Failure`].
    pub enum FailureReason {
        /// The provider refused it and gave no finer reason.
        ProviderRejected = "PROVIDER_REJECTED",
        RecipientInvalid = "RECIPIENT_INVALID",
        RecipientUnreachable = "RECIPIENT_UNREACHABLE",
        RecipientBlocked = "RECIPIENT_BLOCKED",
        SenderRejected = "SENDER_REJECTED",
        ContentRejected = "CONTENT_REJECTED",
        /// No provider could be reached.
        ProviderUnavailable = "PROVIDER_UNAVAILABLE",
        /// The provider asked to slow down.
        ProviderThrottled = "PROVIDER_THROTTLED",
        /// Every attempt of the retry schedule failed.
        RetriesExhausted = "RETRIES_EXHAUSTED",
        /// The validity period ended.
        ValidityExpired = "VALIDITY_EXPIRED",
        /// The time limit for a report passed; the money was settled by policy.
        ReportTimeout = "REPORT_TIMEOUT",
        /// An attempt began and its outcome is not known.
        OutcomeUnknown = "OUTCOME_UNKNOWN",
    }
}

/// A failure as told to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: FailureReason,
    /// What the provider said, for a person; never message text or a number. At most 200 bytes.
    pub detail: String,
    /// The provider's own code, as it came. At most 32 bytes.
    pub provider_code: String,
}

impl Failure {
    pub fn new(reason: FailureReason) -> Self {
        Self { reason, detail: String::new(), provider_code: String::new() }
    }

    /// Adds what a provider said, cut to the documented lengths at a character boundary.
    pub fn with(mut self, detail: &str, provider_code: &str) -> Self {
        detail.clone_into(&mut self.detail);
        provider_code.clone_into(&mut self.provider_code);
        self.detail.truncate(self.detail.floor_char_boundary(200));
        self.provider_code.truncate(self.provider_code.floor_char_boundary(32));
        self
    }
}
