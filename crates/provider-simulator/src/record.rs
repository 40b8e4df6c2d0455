//! The lines of a journal, and the parts that they share with the frames of the wire.

use std::time::Duration;

use message::failure::{Failure, FailureReason};
use message::report::{AttemptRef, ProviderReport, ReportState};
use provider::{Accepted, SubmitError};
use serde::{Deserialize, Serialize};

use crate::order::Order;

/// One line of a journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    Submit(SubmitRecord),
    /// These reports are durable on the other side.
    Stored {
        /// Microseconds since the Unix epoch, by the simulator's own clock.
        at: i64,
        reports: Vec<u64>,
    },
}

/// One submit: written before its answer is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SubmitRecord {
    /// Microseconds since the Unix epoch, by the simulator's own clock.
    pub(crate) at: i64,
    #[serde(flatten)]
    pub(crate) order: Order,
    pub(crate) answer: Reply,
    /// What is still to be reported.
    pub(crate) reports: Vec<Scheduled>,
}

/// One report on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scheduled {
    /// Unique in the journal.
    pub(crate) id: u64,
    /// Microseconds since the Unix epoch, by the simulator's own clock.
    pub(crate) due: i64,
    #[serde(flatten)]
    pub(crate) report: Report,
}

/// A provider report in a form that can be written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub provider_ref: String,
    #[serde(with = "as_text::optional", default, skip_serializing_if = "Option::is_none")]
    pub attempt_ref: Option<AttemptRef>,
    #[serde(with = "as_text")]
    pub state: ReportState,
    /// From 1 in a message of several parts, each of which has a reference of its own; else 0.
    pub part: u16,
    pub done_date: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureText>,
}

impl From<Report> for ProviderReport {
    fn from(report: Report) -> Self {
        Self {
            provider_ref: report.provider_ref,
            attempt_ref: report.attempt_ref,
            state: report.state,
            part: report.part,
            done_date: report.done_date,
            failure: report.failure.map(Failure::from),
        }
    }
}

impl From<ProviderReport> for Report {
    fn from(report: ProviderReport) -> Self {
        Self {
            provider_ref: report.provider_ref,
            attempt_ref: report.attempt_ref,
            state: report.state,
            part: report.part,
            done_date: report.done_date,
            failure: report.failure.map(FailureText::from),
        }
    }
}

/// A failure in a form that can be written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureText {
    #[serde(with = "as_text")]
    pub reason: FailureReason,
    pub detail: String,
    pub provider_code: String,
}

impl From<Failure> for FailureText {
    fn from(failure: Failure) -> Self {
        Self { reason: failure.reason, detail: failure.detail, provider_code: failure.provider_code }
    }
}

impl From<FailureText> for Failure {
    fn from(text: FailureText) -> Self {
        Self::new(text.reason).with(&text.detail, &text.provider_code)
    }
}

/// What a submit is told, in a form that can be written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reply {
    /// One reference per part, in order.
    Accepted {
        refs: Vec<String>,
    },
    Rejected {
        is_permanent: bool,
        failure: FailureText,
    },
    Throttled {
        retry_after_micros: u64,
    },
    Unavailable,
    /// Taken, and nothing is said. Never on the wire.
    Withheld,
}

impl Reply {
    /// Whether the simulator took the message.
    pub const fn is_taken(&self) -> bool {
        matches!(self, Self::Accepted { .. } | Self::Withheld)
    }

    /// As the provider contract says it.
    pub fn into_outcome(self) -> Result<Accepted, SubmitError> {
        Err(match self {
            Self::Accepted { refs } if !refs.is_empty() => return Ok(Accepted { refs }),
            Self::Accepted { .. } => SubmitError::Unknown { detail: "accepted without a reference".into() },
            Self::Rejected { is_permanent, failure } => {
                SubmitError::Rejected { is_permanent, failure: failure.into() }
            }
            Self::Throttled { retry_after_micros } => {
                SubmitError::Throttled { retry_after: Duration::from_micros(retry_after_micros) }
            }
            Self::Unavailable => SubmitError::Unavailable { detail: "simulated outage".into() },
            Self::Withheld => SubmitError::Unknown { detail: "no answer in time".into() },
        })
    }
}

/// Serde for what has a text form.
pub(crate) mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }

    pub(crate) mod optional {
        use super::*;

        pub(crate) fn serialize<T: Display, S: Serializer>(
            value: &Option<T>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => to.collect_str(value),
                None => to.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
        where
            T: FromStr<Err: Display>,
            D: Deserializer<'de>,
        {
            let text = Option::<String>::deserialize(from)?;
            text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
        }
    }
}
