//! Each magic recipient does what its row says.

use std::collections::BTreeMap;
use std::time::Duration;

use message::report::ReportState;
use provider::magic::{Answer, TABLE};
use provider::{Provider, SubmitError};
use provider_simulator::engine::{self, Past};
use provider_simulator::order::Order;
use provider_simulator::{Config, Jitter, Simulator};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{batch, message, stored_reports, submission};

async fn exact() -> Simulator {
    Simulator::open(Config { jitter: Jitter::NONE, ..Config::default() }).await.unwrap()
}

/// Sends one message the way dispatch does, with a second between attempts and at most ten of them, and
/// tells what happened, each with its time in tenths of a second (truncated).
async fn transcript(nn: u8, part_count: u16) -> String {
    let simulator = exact().await;
    let start = Instant::now();
    let tenths = || {
        let tenths = start.elapsed().as_millis() / 100;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    let submits = async {
        let mut lines = Vec::new();
        let mut submission = submission(1, nn);
        submission.part_count = part_count;
        while submission.attempt_ref.attempt <= 10 {
            let result = simulator.submit(&submission).await;
            let at = start.elapsed();
            match result {
                Ok(accepted) => {
                    assert_eq!(accepted.refs.len(), usize::from(part_count));
                    lines.push((at, format!("{} accepted", tenths())));
                    break;
                }
                Err(SubmitError::Rejected { is_permanent: true, failure }) => {
                    lines.push((at, format!("{} refused {}", tenths(), failure.reason)));
                    break;
                }
                Err(SubmitError::Unknown { .. }) => {
                    lines.push((at, format!("{} unknown", tenths())));
                    break;
                }
                Err(SubmitError::Rejected { is_permanent: false, .. }) => {
                    lines.push((at, "temporary".to_owned()));
                    submission.attempt_ref.attempt += 1;
                }
                Err(SubmitError::Throttled { retry_after }) => {
                    assert_eq!(retry_after, Duration::from_secs(1));
                    lines.push((at, "throttled".to_owned()));
                }
                Err(SubmitError::Unavailable { .. }) => lines.push((at, "unavailable".to_owned())),
            }
            sleep(Duration::from_secs(1)).await;
        }
        lines
    };
    let reports = async {
        let mut lines = Vec::new();
        while let Ok(Some(batch)) = timeout(Duration::from_secs(100), simulator.next_reports()).await {
            for report in batch.reports {
                assert_eq!(report.attempt_ref.unwrap().message, message(1));
                assert!(report.provider_ref.starts_with("sim-"));
                let part = if report.part == 0 { String::new() } else { format!(" part {}", report.part) };
                let reason = report.failure.map(|failure| format!(" {}", failure.reason)).unwrap_or_default();
                lines.push((start.elapsed(), format!("{} {}{reason}{part}", tenths(), report.state)));
            }
            batch.stored.send(()).unwrap();
        }
        lines
    };
    let (mut lines, reports) = tokio::join!(submits, reports);
    lines.extend(reports);
    lines.sort_by_key(|(at, _)| *at);
    lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join(", ")
}

const PLAIN: &str = "0.0 accepted, 1.0 DELIVERED";

#[tokio::test(start_paused = true)]
async fn each_number_does_what_its_row_says() {
    for (nn, expected) in [
        (0, PLAIN.to_owned()),
        (1, "0.0 accepted, 30.0 DELIVERED".into()),
        (2, "0.0 DELIVERED, 0.5 accepted".into()),
        (3, "0.0 accepted, 1.0 DELIVERED, 1.2 DELIVERED, 1.4 DELIVERED".into()),
        (4, "0.0 accepted, 1.0 DELIVERED, 1.5 FAILED RECIPIENT_UNREACHABLE".into()),
        (5, "0.0 accepted, 0.4 EN_ROUTE, 0.7 ACCEPTED, 1.0 DELIVERED".into()),
        (6, PLAIN.into()),
        (10, "0.0 refused RECIPIENT_INVALID".into()),
        (11, "0.0 accepted, 1.0 FAILED RECIPIENT_UNREACHABLE".into()),
        (12, "0.0 accepted, 1.0 FAILED PROVIDER_REJECTED".into()),
        (13, "0.0 accepted, 1.0 FAILED VALIDITY_EXPIRED".into()),
        (14, "0.0 accepted, 1.0 FAILED RECIPIENT_UNREACHABLE, 1.5 DELIVERED".into()),
        (20, ["temporary"; 10].join(", ")),
        (21, "temporary, 1.1 accepted, 2.1 DELIVERED".into()),
        (25, format!("{}, 5.3 accepted, 6.3 DELIVERED", ["temporary"; 5].join(", "))),
        (29, format!("{}, 9.5 accepted, 10.5 DELIVERED", ["temporary"; 9].join(", "))),
        (30, format!("{}, 3.2 accepted, 4.2 DELIVERED", ["throttled"; 3].join(", "))),
        (31, format!("{}, 10.5 accepted, 11.5 DELIVERED", ["unavailable"; 10].join(", "))),
        (40, "0.0 accepted".into()),
        (41, "10.0 unknown, 12.0 DELIVERED".into()),
        (42, "10.0 unknown".into()),
        (43, "10.0 unknown, 12.0 FAILED RECIPIENT_UNREACHABLE".into()),
        (50, PLAIN.into()),
        (55, PLAIN.into()),
        (99, PLAIN.into()),
    ] {
        assert_eq!(transcript(nn, 1).await, expected, "{nn:02}");
    }
}

#[tokio::test(start_paused = true)]
async fn numbers_21_to_29_fail_as_often_as_they_say() {
    for nn in 21..=29 {
        let told = transcript(nn, 1).await;
        assert_eq!(told.matches("temporary").count(), usize::from(nn - 20), "{told}");
        assert!(told.ends_with("DELIVERED"), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_part_has_its_reference_and_its_report() {
    assert_eq!(transcript(0, 2).await, "0.0 accepted, 1.0 DELIVERED part 1, 1.0 DELIVERED part 2");
    assert_eq!(
        transcript(6, 3).await,
        "0.0 accepted, 1.0 DELIVERED part 1, 1.0 DELIVERED part 2, 1.2 FAILED RECIPIENT_UNREACHABLE part 3"
    );
    let simulator = exact().await;
    let mut long = submission(1, 0);
    long.part_count = 3;
    let refs = simulator.submit(&long).await.unwrap().refs;
    let mut reports = stored_reports(&simulator, 3).await;
    reports.sort_by_key(|report| report.part);
    assert_eq!(reports.into_iter().map(|report| report.provider_ref).collect::<Vec<_>>(), refs);
}

#[tokio::test(start_paused = true)]
async fn a_resend_of_42_is_accepted_and_delivered() {
    let simulator = exact().await;
    let mut submission = submission(1, 42);
    assert!(matches!(simulator.submit(&submission).await, Err(SubmitError::Unknown { .. })));
    submission.attempt_ref.attempt = 2;
    let refs = simulator.submit(&submission).await.unwrap().refs;
    let reports = stored_reports(&simulator, 1).await;
    assert_eq!(reports[0].provider_ref, refs[0]);
    assert_eq!(reports[0].attempt_ref, Some(submission.attempt_ref));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_report_is_the_very_same_report() {
    let simulator = exact().await;
    simulator.submit(&submission(1, 3)).await.unwrap();
    let reports = stored_reports(&simulator, 3).await;
    assert!(reports.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test(start_paused = true)]
async fn without_echo_only_unanswered_messages_name_our_reference() {
    let config = Config { echo: false, ..Config::default() };
    let simulator = Simulator::open(config).await.unwrap();
    simulator.submit(&submission(1, 0)).await.unwrap();
    assert_eq!(stored_reports(&simulator, 1).await[0].attempt_ref, None);
    assert!(simulator.submit(&submission(2, 41)).await.is_err());
    assert_eq!(stored_reports(&simulator, 1).await[0].attempt_ref, Some(submission(2, 41).attempt_ref));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_unknown_and_reported_with_our_reference() {
    let simulator = Simulator::open(Config { loss: 1.0, echo: false, ..Config::default() }).await.unwrap();
    let submission = submission(1, 0);
    let (result, reports) = tokio::join!(simulator.submit(&submission), stored_reports(&simulator, 1));
    assert!(matches!(result, Err(SubmitError::Unknown { .. })));
    assert_eq!(reports[0].attempt_ref, Some(submission.attempt_ref));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_not_stored_comes_again_until_it_is() {
    let simulator = exact().await;
    simulator.submit(&submission(1, 0)).await.unwrap();
    let first = batch(&simulator).await;
    drop(first.stored);
    let second = batch(&simulator).await;
    assert_eq!(first.reports, second.reports);
    drop(second.stored);
    assert_eq!(first.reports, stored_reports(&simulator, 1).await);
    assert!(timeout(Duration::from_secs(100), simulator.next_reports()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn reports_due_together_come_together_but_no_more_than_500() {
    let simulator = exact().await;
    let submissions: Vec<_> = (1..=1_200).map(|number| submission(number, 0)).collect();
    for result in futures_util::future::join_all(submissions.iter().map(|one| simulator.submit(one))).await {
        result.unwrap();
    }
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 1_200 {
        let batch = batch(&simulator).await;
        sizes.push(batch.reports.len());
        batch.stored.send(()).unwrap();
    }
    assert!(sizes.iter().all(|size| *size <= 500), "{sizes:?}");
    assert!(sizes.len() <= 6, "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn time_scale_divides_every_delay() {
    let config = Config { time_scale: 10.0, jitter: Jitter::NONE, ..Config::default() };
    let simulator = Simulator::open(config).await.unwrap();
    let start = Instant::now();
    assert!(simulator.submit(&submission(1, 41)).await.is_err());
    assert_eq!(start.elapsed().as_millis() / 10, 100);
    stored_reports(&simulator, 1).await;
    assert_eq!(start.elapsed().as_millis() / 10, 120);
}

#[tokio::test(start_paused = true)]
async fn a_closed_simulator_is_unavailable_and_has_no_more_reports() {
    let simulator = exact().await;
    simulator.submit(&submission(1, 0)).await.unwrap();
    simulator.close().await;
    assert!(simulator.next_reports().await.is_none());
    let result = simulator.submit(&submission(2, 0)).await;
    assert!(matches!(result, Err(SubmitError::Unavailable { .. })), "{result:?}");
}

/// The messages 1 to 10,000 to number 90, by what their first two submits lead to.
fn mix(seed: u64) -> BTreeMap<&'static str, u32> {
    let config = Config { seed, ..Config::default() };
    let mut counts = BTreeMap::new();
    for number in 1..=10_000 {
        let order = Order::from(&submission(number, 90));
        let plan = engine::plan(&config, &order, Past::default(), Duration::from_secs(10));
        let kind = match (plan.answer, plan.reports.first()) {
            (Answer::Accept, Some(report)) if report.failure.is_some() => "failed",
            (Answer::Accept, Some(_)) => "delivered",
            (Answer::Accept, None) => "silent",
            _ => "temporary",
        };
        *counts.entry(kind).or_insert(0) += 1;
    }
    counts
}

#[test]
fn number_90_mixes_in_the_documented_shares_by_the_seed() {
    let counts = mix(7);
    for (kind, range) in
        [("delivered", 9_500..9_700), ("failed", 150..260), ("temporary", 60..150), ("silent", 60..150)]
    {
        assert!(range.contains(&counts[kind]), "{counts:?}");
    }
    assert_eq!(counts, mix(7));
    assert_ne!(counts, mix(8));
}

#[test]
fn jitter_keeps_the_order_of_reports_and_follows_the_seed() {
    let order = Order::from(&submission(5, 4));
    let plan = |seed, jitter| {
        let config = Config { seed, jitter, ..Config::default() };
        engine::plan(&config, &order, Past::default(), Duration::from_secs(10))
    };
    let wild = Jitter { spread: 1.0, slow_share: 0.5, slow_factor: 10.0 };
    for seed in 0..1_000 {
        let plan = plan(seed, wild);
        assert!(plan.reports.windows(2).all(|pair| pair[0].after <= pair[1].after));
        assert!(plan.reports[0].after >= plan.answer_after);
    }
    assert_eq!(plan(1, wild), plan(1, wild));
    assert_ne!(plan(1, wild), plan(2, wild));
}

#[test]
fn a_failed_report_has_a_reason_and_no_other_has_one() {
    for row in TABLE {
        for roll in 0..100 {
            let course = row.script.course(roll);
            for step in course.first.iter().chain([&course.then]) {
                for report in step.reports {
                    assert_eq!(report.cause.is_some(), report.state == ReportState::Failed, "{}", row.nn);
                }
                assert!(step.reports.is_empty() || matches!(step.answer, Answer::Accept | Answer::Withhold));
            }
        }
    }
}
