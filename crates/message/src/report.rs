//! What a provider says of a message after taking it (its DLR), normalised.

use std::fmt;
use std::str::FromStr;

use crate::failure::Failure;
use crate::id::{ClientId, MalformedId, MessageId};
use crate::words;

words! {
    /// The state in a provider report. SMPP v3.4 section 5.2.28 names are given where they exist.
    pub enum ReportState {
        /// ACCEPTD: in a carrier's buffer. Not final.
        Accepted = "ACCEPTED",
        /// ENROUTE: on its way. Not final.
        EnRoute = "EN_ROUTE",
        /// DELIVRD. Final.
        Delivered = "DELIVERED",
        /// UNDELIV, EXPIRED, DELETED, REJECTD: will not be delivered. Final.
        Failed = "FAILED",
        /// UNKNOWN: the carrier cannot say. A remark that changes nothing.
        Remark = "REMARK",
    }
}

impl ReportState {
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed)
    }
}

/// Names one attempt to a provider that echoes references: (client, message, attempt).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptRef {
    pub client: ClientId,
    pub message: MessageId,
    /// From 1.
    pub attempt: i32,
}

impl fmt::Display for AttemptRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.client, self.message, self.attempt)
    }
}

impl FromStr for AttemptRef {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let mut fields = text.split('/');
        let mut next = || fields.next().ok_or(MalformedId);
        let (client, message, attempt) = (next()?.parse()?, next()?.parse()?, next()?);
        let attempt = attempt.parse().ok().filter(|n| *n > 0).ok_or(MalformedId)?;
        if fields.next().is_some() {
            return Err(MalformedId);
        }
        Ok(Self { client, message, attempt })
    }
}

/// One provider report, ready for the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderReport {
    /// The provider's reference of what it took; empty if it echoes only ours.
    pub provider_ref: String,
    /// Our reference of the attempt, when the provider echoes it.
    pub attempt_ref: Option<AttemptRef>,
    pub state: ReportState,
    /// The part it speaks of, from 1; 0 = all that the reference stands for.
    pub part: u16,
    /// The provider's date as it came (no zone, so never ordered by); with the fields above it tells a
    /// repeated report from a second one.
    pub done_date: String,
    /// Set when `state` is [`ReportState::Failed`].
    pub failure: Option<Failure>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::id::Entropy;
    use crate::time::Timestamp;

    #[test]
    fn an_attempt_reference_reads_back_and_junk_does_not() {
        let at = Timestamp::from_micros(1_000_000);
        let reference = AttemptRef {
            client: ClientId::new(at, Entropy([1; 10])),
            message: MessageId::new(at, Entropy([2; 10])),
            attempt: 3,
        };
        let text = reference.to_string();
        assert_eq!(text.parse(), Ok(reference));
        for junk in [format!("{text}/1"), text.replace("/3", "/0"), text.replace("/3", ""), "a/b/c".into()] {
            assert_eq!(junk.parse::<AttemptRef>(), Err(MalformedId), "{junk}");
        }
    }
}
