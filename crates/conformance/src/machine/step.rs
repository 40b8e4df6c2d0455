//! The steps: what clients, workers, providers, operators and crashes do. Picks are taken modulo what there is,
//! so that a shorter run of the same steps still makes sense.

use std::time::Duration;

use delivery::transition::Outcome;
use message::failure::{Failure, FailureReason};
use message::report::ReportState;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::BoxedStrategy;

/// One step.
#[derive(Clone, Debug)]
pub(super) enum Step {
    CreateClient {
        captures_on_sent: bool,
        releases_unreported: bool,
    },
    TopUp {
        client: u8,
        amount: i64,
        key: u8,
    },
    /// One transaction of the accept batcher.
    Accept {
        sends: Vec<Send>,
        is_dropped: bool,
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
    Suspend {
        client: u8,
        is_suspended: bool,
    },
    /// The reconciler passes.
    Reconcile {
        client: u8,
    },
    Trim {
        client: u8,
        through: i64,
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
        matches!(self, Self::Claim { .. } | Self::Learn { .. } | Self::Report { .. })
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

/// Any step that makes sense now.
pub(super) fn any_step(has_client: bool, has_message: bool) -> BoxedStrategy<Step> {
    if !has_client {
        return create_client().boxed();
    }
    if !has_message {
        return prop_oneof![1 => create_client(), 2 => top_up(), 4 => accept()].boxed();
    }
    prop_oneof![
        1 => create_client(),
        2 => top_up(),
        6 => accept(),
        6 => claim(),
        6 => learn(),
        6 => report(),
        4 => Just(Step::ApplyReports),
        4 => Just(Step::Sweep),
        6 => advance(),
        2 => operate(),
    ]
    .boxed()
}

fn create_client() -> impl Strategy<Value = Step> {
    any::<(bool, bool)>().prop_map(|(captures_on_sent, releases_unreported)| Step::CreateClient {
        captures_on_sent,
        releases_unreported,
    })
}

fn top_up() -> impl Strategy<Value = Step> {
    let amount = prop_oneof![8 => 1..100_000i64, 1 => Just(i64::MAX), 1 => Just(0)];
    (any::<u8>(), amount, 0..4u8).prop_map(|(client, amount, key)| Step::TopUp { client, amount, key })
}

fn accept() -> impl Strategy<Value = Step> {
    let validity = select(vec![1, 30, 600, 48 * 3_600]).prop_map(Duration::from_secs);
    // Now and then one that no store takes.
    let parts = prop_oneof![40 => 1..4u16, 1 => Just(0u16)];
    let send = (any::<u8>(), 0..6u8, 0..2u8, 0..20_000i64, parts, any::<bool>(), validity);
    let send = send.prop_map(|(client, key, body, price, parts, resends, validity)| Send {
        client,
        key,
        body,
        price,
        parts,
        resends,
        validity,
    });
    (vec(send, 1..6), prop::bool::weighted(0.15))
        .prop_map(|(sends, is_dropped)| Step::Accept { sends, is_dropped })
}

fn claim() -> impl Strategy<Value = Step> {
    let lease = select(vec![5, 60]).prop_map(Duration::from_secs);
    (vec(any::<u8>(), 1..8), lease).prop_map(|(messages, lease)| Step::Claim { messages, lease })
}

fn learn() -> impl Strategy<Value = Step> {
    let ending = prop_oneof![
        4 => any::<bool>().prop_map(|is_shared| Ending::Accepted { is_shared }),
        2 => Just(Ending::AcceptedByParts),
        3 => any::<bool>().prop_map(|is_permanent| Ending::Rejected { is_permanent }),
        1 => Just(Ending::Throttled),
        1 => Just(Ending::Unavailable),
        2 => Just(Ending::Unknown),
    ];
    // Small picks count from the newest claim.
    (vec((0..12u8, ending), 1..5), prop::bool::weighted(0.1))
        .prop_map(|(outcomes, is_dropped)| Step::Learn { outcomes, is_dropped })
}

fn report() -> impl Strategy<Value = Step> {
    let by = prop_oneof![
        6 => Just(By::Reference),
        2 => Just(By::Echo),
        2 => Just(By::EchoAndReference),
        1 => Just(By::Shared),
        1 => Just(By::Stranger),
        1 => Just(By::AnotherProvider),
    ];
    let told = (any::<u8>(), 0..3i32, 0..3u16, by, select(ReportState::ALL), 0..2u8);
    let told = told.prop_map(|(message, attempt, part, by, state, done_date)| Told {
        message,
        attempt,
        part,
        by,
        state,
        done_date,
    });
    vec(told, 1..5).prop_map(|reports| Step::Report { reports })
}

fn advance() -> impl Strategy<Value = Step> {
    let spans = vec![1, 3_000, 5_000, 20_000, 61_000, 700_000, 3_600_000, 90_000_000, 4 * 86_400_000];
    prop_oneof![
        8 => select(spans).prop_map(|millis| Step::Advance(Duration::from_millis(millis))),
        6 => Just(Step::AdvanceToNext),
        1 => select(vec![1, 60]).prop_map(|seconds| Step::TurnBack(Duration::from_secs(seconds))),
    ]
}

fn operate() -> impl Strategy<Value = Step> {
    let age = select(vec![0, 60, 3_600, 86_400]).prop_map(Duration::from_secs);
    prop_oneof![
        1 => (any::<u8>(), any::<bool>()).prop_map(|(client, is_suspended)| Step::Suspend { client, is_suspended }),
        2 => any::<u8>().prop_map(|client| Step::Reconcile { client }),
        1 => (any::<u8>(), 0..20i64).prop_map(|(client, through)| Step::Trim { client, through }),
        1 => (age, select(vec![0, 1_000])).prop_map(|(age, limit)| Step::Purge { age, limit }),
    ]
}
