//! Reports that no message is known for: what an operator looks at when a provider's references do not match.

use delivery::plan::Plan;
use delivery::port::UnmatchedReport;
use message::report::{ProviderReport, ReportState};

use crate::bench::Bench;
use crate::given::{self, AWKWARD, PROVIDER};
use crate::list::{Row, assert_pages};
use crate::verbs::{ALL, write};

const DELIVERED: ReportState = ReportState::Delivered;

pub async fn only_a_report_whose_message_is_unknown_is_unmatched(bench: Bench) {
    let client = bench.client().await;
    let key = bench.sent(client, "bound").await;
    let failure = given::report("x", ReportState::Failed).failure;
    let stranger = ProviderReport {
        part: 255,
        done_date: AWKWARD.into(),
        failure,
        ..given::report(AWKWARD, ReportState::Failed)
    };
    bench
        .store_reports(&[
            given::report("bound", DELIVERED),
            stranger.clone(),
            given::echo(key, 1, "", DELIVERED),
            given::echo(key, 1, "never bound", DELIVERED),
        ])
        .await;
    let found = unmatched(&bench, "").await;
    assert_eq!(found.len(), 1, "an echo of our reference names its message");
    let expected = UnmatchedReport {
        id: found[0].id,
        provider: PROVIDER.into(),
        report: stranger,
        stored_at: bench.clock.now(),
    };
    assert_eq!(found, [expected]);
    bench.apply_reports().await;
    assert_eq!(unmatched(&bench, "").await, found, "it waits");
    // Another provider's reference of the same name is another.
    bench.store.store_reports("another", &[given::report("bound", DELIVERED)]).await.unwrap();
    assert_eq!(unmatched(&bench, "another").await.len(), 1);
    assert_eq!(unmatched(&bench, PROVIDER).await, found);
}

pub async fn a_report_is_matched_as_soon_as_its_reference_is_bound(bench: Bench) {
    let client = bench.client().await;
    bench.store_reports(&[given::report("early", DELIVERED), given::report("other", DELIVERED)]).await;
    assert_eq!(unmatched(&bench, "").await.len(), 2);
    bench.sent(client, "early").await;
    let left = unmatched(&bench, "").await;
    assert_eq!(left.iter().map(|row| row.report.provider_ref.as_str()).collect::<Vec<_>>(), ["other"]);
    bench.apply_reports().await;
    assert_eq!(unmatched(&bench, "").await, left);
    assert_eq!(bench.pending().await, []);
    let plan = Plan { done_reports: vec![left[0].id], ..Plan::default() };
    write(bench.store.as_ref(), &[client], &plan).await.unwrap();
    assert_eq!(unmatched(&bench, "").await, [], "it is dealt with");
}

pub async fn unmatched_reports_are_listed_newest_first_and_by_provider(bench: Bench) {
    let client = bench.client().await;
    bench.sent(client, "bound").await;
    for n in 0..14 {
        // Every third belongs to a message, and waits to be applied.
        let bound =
            ProviderReport { done_date: format!("{n}"), ..given::report("bound", ReportState::EnRoute) };
        let report = if n % 3 == 0 { bound } else { given::report(&format!("stranger-{n}"), DELIVERED) };
        let provider = if n % 4 == 1 { "another" } else { PROVIDER };
        bench.store.store_reports(provider, &[report]).await.unwrap();
    }
    let pending = bench.pending().await;
    let all = unmatched(&bench, "").await;
    assert!(!pending.is_empty() && pending.len() + all.len() == 14, "{pending:?}");
    for provider in ["", PROVIDER, "another", "nobody"] {
        let mut rows: Vec<Row<UnmatchedReport, i64>> = pending
            .iter()
            .map(|row| Row { place: row.id, shown: None, is_in_range: true })
            .chain(all.iter().map(|row| Row {
                place: row.id,
                shown: Some(row.clone()).filter(|row| provider.is_empty() || row.provider == provider),
                is_in_range: true,
            }))
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.place));
        assert_pages(&rows, async |before, limit, scan| {
            bench.other.unmatched_reports(provider, before, limit, scan).await.unwrap()
        })
        .await;
    }
}

async fn unmatched(bench: &Bench, provider: &str) -> Vec<UnmatchedReport> {
    let page = bench.store.unmatched_reports(provider, None, ALL, ALL).await.unwrap();
    assert_eq!(page.scanned_to, None);
    page.items
}
