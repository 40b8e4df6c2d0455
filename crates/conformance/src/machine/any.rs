//! Draws steps.

use std::time::Duration;

use message::class::Priority;
use message::report::ReportState;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::BoxedStrategy;

use super::step::{By, Ending, Send, Step, Told};

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
        3 => top_up(),
        6 => accept(),
        1 => any::<u8>().prop_map(|message| Step::Bury { message }),
        2 => few().prop_map(|letters| Step::Replay { letters }),
        1 => few().prop_map(|messages| Step::Cancel { messages }),
        6 => claim(),
        6 => learn(),
        6 => report(),
        4 => Just(Step::ApplyReports),
        4 => Just(Step::Sweep),
        6 => advance(),
        4 => operate(),
    ]
    .boxed()
}

fn create_client() -> impl Strategy<Value = Step> {
    (any::<bool>(), any::<bool>(), 0..3u8).prop_map(|(captures_on_sent, releases_unreported, key)| {
        Step::CreateClient { captures_on_sent, releases_unreported, key }
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
    let delay = prop_oneof![
        8 => Just(None),
        1 => Just(Some(10)),
        1 => Just(Some(3_600)),
        // Further ahead than is allowed.
        1 => Just(Some(40 * 24 * 3_600)),
    ];
    let delay = delay.prop_map(|seconds| seconds.map(Duration::from_secs));
    let when = (validity, delay, select(Priority::ALL));
    let send = (any::<u8>(), 0..6u8, 0..2u8, 0..20_000i64, parts, any::<bool>(), when);
    let send = send.prop_map(|(client, key, body, price, parts, resends, when)| Send {
        client,
        key,
        body,
        price,
        parts,
        resends,
        validity: when.0,
        delay: when.1,
        priority: when.2,
    });
    (vec(send, 1..6), prop::bool::weighted(0.15))
        .prop_map(|(sends, is_dropped)| Step::Accept { sends, is_dropped })
}

fn few() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 1..4)
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
        2 => update_client(),
        1 => (any::<u8>(), -50_000..50_000i64, 0..4u8)
            .prop_map(|(client, delta, key)| Step::Adjust { client, delta, key }),
        3 => (any::<u8>(), age.clone(), select(vec![1, 1_000]))
            .prop_map(|(client, age, limit)| Step::Remove { client, age, limit }),
        2 => any::<u8>().prop_map(|client| Step::Reconcile { client }),
        1 => (any::<u8>(), 0..20i64).prop_map(|(client, through)| Step::Trim { client, through }),
        1 => (age, select(vec![0, 1_000])).prop_map(|(age, limit)| Step::Purge { age, limit }),
    ]
}

fn update_client() -> impl Strategy<Value = Step> {
    let is_suspended = prop::bool::weighted(0.3);
    let changes = (any::<u8>(), is_suspended, any::<bool>(), prop::bool::weighted(0.2));
    changes.prop_map(|(client, is_suspended, captures_on_sent, is_late)| Step::UpdateClient {
        client,
        is_suspended,
        captures_on_sent,
        is_late,
    })
}
