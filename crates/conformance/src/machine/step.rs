//! The steps: what clients, workers, providers, operators and crashes do. Picks are taken modulo what there is,
//! so that a shorter run of the same steps still makes sense.

use std::time::Duration;

use delivery::transition::Outcome;
use message::class::Priority;
use message::failure::{Failure, FailureReason};
use message::report::ReportState;

/// One step.
#[derive(Clone, Debug)]
pub(super) enum Step {
    CreateClient {
        captures_on_sent: bool,
        releases_unreported: bool,
        /// 0 = none.
        key: u8,
    },
    TopUp {
        client: u8,
        amount: i64,
        key: u8,
    },
    Adjust {
        client: u8,
        delta: i64,
        key: u8,
    },
    /// One transaction of the accept batcher.
    Accept {
        sends: Vec<Send>,
        is_dropped: bool,
    },
    /// A message becomes a dead letter, unless it is one.
    Bury {
        message: u8,
    },
    /// Dead letters, or messages that are none, are sent again in one transaction.
    Replay {
        letters: Vec<u8>,
    },
    Cancel {
        messages: Vec<u8>,
    },
    Claim {
        messages: Vec<u8>,
        lease: Duration,
    },
    /// Outcomes of claims, written in one transaction. Old claims' come too.
    Learn {
        outcomes: Vec<(u8, Ending)>,
        is_dropped: bool,
    },
    /// Reports into the inbox.
    Report {
        reports: Vec<Told>,
    },
    /// Everything pending in the inbox is applied.
    ApplyReports,
    /// Everything that is due is looked at.
    Sweep,
    Advance(Duration),
    /// To the very moment at which a message is next due, late, unleased or expired.
    AdvanceToNext,
    /// The clock of the test goes back; the store's must not.
    TurnBack(Duration),
    /// An operator who has read the client changes it; another may have been quicker.
    UpdateClient {
        client: u8,
        is_suspended: bool,
        captures_on_sent: bool,
        is_late: bool,
    },
    /// The reconciler passes.
    Reconcile {
        client: u8,
    },
    Trim {
        client: u8,
        through: i64,
    },
    /// The reconciler passes, then what was accepted so long ago and is over is removed.
    Remove {
        client: u8,
        age: Duration,
        limit: i64,
    },
    /// What is older than this is purged.
    Purge {
        age: Duration,
        limit: i64,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Send {
    pub(super) client: u8,
    /// 0 = none.
    pub(super) key: u8,
    pub(super) body: u8,
    pub(super) price: i64,
    pub(super) parts: u16,
    pub(super) resends: bool,
    pub(super) validity: Duration,
    /// Until it is due.
    pub(super) delay: Option<Duration>,
    pub(super) priority: Priority,
}

/// How an attempt ends.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// With a reference of its own, or with one that all attempts share.
    Accepted {
        is_shared: bool,
    },
    AcceptedByParts,
    Rejected {
        is_permanent: bool,
    },
    Throttled,
    Unavailable,
    Unknown,
}

/// A report of a provider.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) message: u8,
    pub(super) attempt: i32,
    pub(super) part: u16,
    pub(super) by: By,
    pub(super) state: ReportState,
    pub(super) done_date: u8,
}

/// How a report names its message.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Reference,
    Echo,
    EchoAndReference,
    Shared,
    Stranger,
    AnotherProvider,
}

impl Step {
    pub(super) fn needs_client(&self) -> bool {
        !matches!(self, Self::CreateClient { .. } | Self::Advance(_) | Self::AdvanceToNext)
    }

    pub(super) fn needs_message(&self) -> bool {
        use Step::{Bury, Cancel, Claim, Learn, Replay, Report};
        let is_worked = matches!(self, Claim { .. } | Learn { .. } | Report { .. });
        is_worked || matches!(self, Bury { .. } | Replay { .. } | Cancel { .. })
    }
}

impl Ending {
    pub(super) fn outcome(&self, reference: &str) -> Outcome {
        match self {
            Self::Accepted { is_shared: false } => Outcome::Accepted { refs: vec![reference.to_owned()] },
            Self::Accepted { is_shared: true } => Outcome::Accepted { refs: vec!["shared".into()] },
            Self::AcceptedByParts => {
                Outcome::Accepted { refs: (1..=2).map(|part| format!("{reference}.{part}")).collect() }
            }
            Self::Rejected { is_permanent } => Outcome::Rejected {
                is_permanent: *is_permanent,
                failure: Failure::new(FailureReason::ProviderRejected).with("refused", "0x45"),
            },
            Self::Throttled => Outcome::Throttled { retry_after: Duration::from_secs(3) },
            Self::Unavailable => Outcome::Unavailable,
            Self::Unknown => Outcome::Unknown { detail: "time-out".into() },
        }
    }
}
