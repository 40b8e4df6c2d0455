//! The inbox: each report once, found by whichever reference it carries, applied by whoever is second.

use std::time::Duration;

use delivery::model::MessageKey;
use delivery::plan::{Plan, RefBinding, Wanted};
use delivery::port::{PendingReport, ReportTarget, StoredReports};
use message::failure::{Failure, FailureReason};
use message::report::{ProviderReport, ReportState};
use message::status::Status;

use crate::bench::Bench;
use crate::given::{self, AWKWARD, PROVIDER};
use crate::verbs::{ALL, accepted, learned, load, write};

const DELIVERED: ReportState = ReportState::Delivered;

pub async fn a_report_is_stored_once(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    let reports = [given::report("ref-1", DELIVERED), given::echo(key, 1, "", DELIVERED)];
    let stored = bench.store_reports(&[reports[0].clone(), reports[1].clone(), reports[0].clone()]).await;
    assert_eq!(stored, StoredReports { new: 2, duplicate: 1 });
    bench.clock.advance(Duration::from_secs(60));
    assert_eq!(bench.store_reports(&reports).await, StoredReports { new: 0, duplicate: 2 });
    // The failure is not part of what makes a report the same.
    let worded =
        ProviderReport { failure: Some(Failure::new(FailureReason::ProviderRejected)), ..reports[0].clone() };
    assert_eq!(bench.store_reports(&[worded]).await, StoredReports { new: 0, duplicate: 1 });
    assert_eq!(bench.store_reports(&[]).await, StoredReports::default());
}

pub async fn reports_that_differ_in_any_name_are_different(bench: Bench) {
    let client = bench.client().await;
    let keys = bench.send_many(client, 2).await;
    let plain = given::report("ref-1", DELIVERED);
    let reports = [
        plain.clone(),
        given::report("REF-1", DELIVERED),
        given::report("ref-1", ReportState::EnRoute),
        ProviderReport { part: 1, ..plain.clone() },
        ProviderReport { part: 255, ..plain.clone() },
        ProviderReport { done_date: String::new(), ..plain.clone() },
        given::echo(keys[0], 1, "ref-1", DELIVERED),
        given::echo(keys[0], 2, "ref-1", DELIVERED),
        given::echo(keys[1], 1, "ref-1", DELIVERED),
    ];
    assert_eq!(bench.store_reports(&reports).await, StoredReports { new: reports.len(), duplicate: 0 });
    let elsewhere = bench.store.store_reports("another", &[plain]).await.unwrap();
    assert_eq!(elsewhere, StoredReports { new: 1, duplicate: 0 });
}

pub async fn a_report_reads_back_as_it_was_stored(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    let failure = Failure {
        reason: FailureReason::ContentRejected,
        detail: AWKWARD.into(),
        provider_code: AWKWARD.into(),
    };
    let mut reports = Vec::new();
    for (index, state) in ReportState::ALL.iter().enumerate() {
        let mut report = given::echo(key, 7, &format!("{AWKWARD}{index}"), *state);
        report.part = 255;
        report.done_date = AWKWARD.into();
        report.failure = Some(failure.clone());
        reports.push(report.clone());
        reports.push(ProviderReport { provider_ref: String::new(), failure: None, ..report });
    }
    bench.store_reports(&reports).await;
    let pending = bench.pending().await;
    assert_eq!(pending.iter().map(|pending| pending.report.clone()).collect::<Vec<_>>(), reports);
    for pending in pending {
        assert_eq!(pending.provider, PROVIDER);
        assert_eq!(pending.target, ReportTarget { key, attempt: 7, part: 0 });
        assert_eq!(pending.stored_at, bench.clock.now());
    }
}

pub async fn a_report_waits_until_its_reference_is_bound(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    let claimed = bench.claim_one(key).await;
    bench.store_reports(&[given::report("ref-1", DELIVERED)]).await;
    assert_eq!(bench.pending().await, []);
    let moved = bench.outcome(&claimed, accepted("ref-1")).await;
    assert!(moved.has_early_reports, "whoever is second applies it");
    let pending = bench.pending().await;
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].target, ReportTarget { key, attempt: 1, part: 0 });
    bench.apply_reports().await;
    assert_eq!(bench.message(key).await.state.status, Status::Delivered);
    assert_eq!(bench.pending().await, []);
    bench.assert_sound(client).await;
}

pub async fn a_report_after_its_binding_is_pending_at_once(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    let claimed = bench.claim_one(key).await;
    let moved = bench.outcome(&claimed, accepted("ref-1")).await;
    assert!(!moved.has_early_reports);
    bench.store_reports(&[given::report("ref-1", DELIVERED)]).await;
    assert_eq!(targets(&bench.pending().await), [ReportTarget { key, attempt: 1, part: 0 }]);
}

pub async fn references_of_parts_name_their_part(bench: Bench) {
    let client = bench.client().await;
    let mut prepared = given::prepared(client);
    prepared.part_count = 2;
    let key = bench.accept(&[given::submission(prepared, bench.entropy())]).await[0].record.key;
    let claimed = bench.claim_one(key).await;
    let refs = vec!["part-1".to_owned(), "part-2".to_owned()];
    bench.outcome(&claimed, delivery::transition::Outcome::Accepted { refs }).await;
    bench.store_reports(&[given::report("part-2", DELIVERED)]).await;
    assert_eq!(targets(&bench.pending().await), [ReportTarget { key, attempt: 1, part: 2 }]);
    bench.apply_reports().await;
    assert_eq!(bench.message(key).await.state.parts.to_string(), "-D");
    bench.store_reports(&[given::report("part-1", DELIVERED)]).await;
    bench.apply_reports().await;
    assert_eq!(bench.message(key).await.state.status, Status::Delivered);
    bench.assert_sound(client).await;
}

pub async fn an_echo_of_our_reference_needs_no_binding_and_is_believed_first(bench: Bench) {
    let client = bench.client().await;
    let keys = bench.send_many(client, 2).await;
    let bind = |reference: &str, key, part| RefBinding {
        provider: PROVIDER.into(),
        reference: reference.into(),
        key,
        attempt: 3,
        part,
    };
    let refs = vec![bind("used-again", keys[1], 2), bind("own", keys[0], 2)];
    write(bench.store.as_ref(), &[client], &Plan { refs, ..Plan::default() }).await.unwrap();
    bench
        .store_reports(&[
            given::echo(keys[0], 1, "", DELIVERED),
            given::echo(keys[0], 1, "never-bound", DELIVERED),
            given::echo(keys[0], 1, "used-again", DELIVERED),
            given::echo(keys[0], 3, "own", DELIVERED),
            given::report("used-again", DELIVERED),
        ])
        .await;
    let echoed = ReportTarget { key: keys[0], attempt: 1, part: 0 };
    let expected = [
        echoed,
        echoed,
        echoed,
        ReportTarget { key: keys[0], attempt: 3, part: 2 },
        ReportTarget { key: keys[1], attempt: 3, part: 2 },
    ];
    assert_eq!(targets(&bench.pending().await), expected);
}

pub async fn the_newest_binding_of_a_reference_wins(bench: Bench) {
    let client = bench.client().await;
    let keys = bench.send_many(client, 3).await;
    let bind = |key: MessageKey, attempt| RefBinding {
        provider: PROVIDER.into(),
        reference: "reused".into(),
        key,
        attempt,
        part: 0,
    };
    bench.store_reports(&[given::report("reused", DELIVERED)]).await;
    for (refs, winner) in [
        // Twice in one transaction, as a provider that reuses its references may make it.
        (vec![bind(keys[0], 1), bind(keys[1], 2)], ReportTarget { key: keys[1], attempt: 2, part: 0 }),
        (vec![bind(keys[2], 3)], ReportTarget { key: keys[2], attempt: 3, part: 0 }),
    ] {
        let written =
            write(bench.store.as_ref(), &[client], &Plan { refs, ..Plan::default() }).await.unwrap();
        assert!(written.has_early_reports);
        assert_eq!(targets(&bench.pending().await), [winner]);
    }
}

pub async fn a_binding_is_not_seen_before_its_commit(bench: Bench) {
    let client = bench.client().await;
    let key = bench.send(client).await;
    bench.store_reports(&[given::report("ref-1", DELIVERED)]).await;
    let (mut tx, _) = load(bench.store.as_ref(), &crate::verbs::wanted(&[key])).await;
    let binding =
        RefBinding { provider: PROVIDER.into(), reference: "ref-1".into(), key, attempt: 1, part: 0 };
    tx.write(&Plan { refs: vec![binding], ..Plan::default() }).await.unwrap();
    assert_eq!(bench.pending().await, []);
    drop(tx);
    assert_eq!(bench.pending().await, []);
}

pub async fn references_belong_to_one_provider(bench: Bench) {
    let client = bench.client().await;
    bench.sent(client, "ref-1").await;
    bench.store.store_reports("another", &[given::report("ref-1", DELIVERED)]).await.unwrap();
    assert_eq!(bench.pending().await, []);
}

pub async fn pending_reports_come_in_order_and_by_pages(bench: Bench) {
    let client = bench.client().await;
    let keys = bench.send_many(client, 7).await;
    for key in &keys {
        let unmatched = given::report(&format!("unmatched-{}", key.id), DELIVERED);
        bench.store_reports(&[given::echo(*key, 1, "", DELIVERED), unmatched]).await;
    }
    let all = bench.pending().await;
    assert_eq!(all.iter().map(|pending| pending.target.key).collect::<Vec<_>>(), keys);
    assert!(all.is_sorted_by(|one, next| one.id < next.id));
    let mut paged = Vec::new();
    let mut after = 0;
    while paged.len() <= all.len() {
        let page = bench.store.pending_reports(after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 3);
        after = last.id;
        paged.extend(page);
    }
    assert_eq!(paged, all);
}

pub async fn a_report_that_is_dealt_with_is_not_pending(bench: Bench) {
    let client = bench.client().await;
    let keys = bench.send_many(client, 2).await;
    for key in &keys {
        bench.store_reports(&[given::echo(*key, 1, "", ReportState::Remark)]).await;
    }
    let pending = bench.pending().await;
    let done_reports = vec![pending[0].id];
    write(bench.store.as_ref(), &[client], &Plan { done_reports, ..Plan::default() }).await.unwrap();
    assert_eq!(bench.pending().await, pending[1..]);
    let reports = pending.iter().map(|pending| pending.id).chain([i64::MAX]).collect();
    let wanted = Wanted { clients: [client].into(), reports, ..Wanted::default() };
    let (_tx, loaded) = load(bench.store.as_ref(), &wanted).await;
    assert_eq!(loaded.pending_reports, [pending[1].id].into());
}

pub async fn a_stored_duplicate_does_not_wake_a_report_that_is_dealt_with(bench: Bench) {
    let client = bench.client().await;
    let key = bench.sent(client, "ref-1").await;
    let report = given::report("ref-1", DELIVERED);
    bench.store_reports(std::slice::from_ref(&report)).await;
    bench.apply_reports().await;
    let events = bench.events(client).await;
    assert_eq!(bench.store_reports(&[report]).await, StoredReports { new: 0, duplicate: 1 });
    assert_eq!(bench.pending().await, []);
    bench.apply_reports().await;
    assert_eq!(bench.events(client).await, events);
    assert_eq!(bench.message(key).await.state.status, Status::Delivered);
}

pub async fn an_unmatched_report_stays(bench: Bench) {
    let client = bench.client().await;
    bench.store_reports(&[given::report("nobody's", DELIVERED)]).await;
    bench.apply_reports().await;
    bench.clock.advance(Duration::from_secs(70 * 3_600));
    bench.apply_reports().await;
    let key = bench.sent(client, "nobody's").await;
    assert_eq!(bench.pending().await.len(), 1);
    bench.apply_reports().await;
    assert_eq!(bench.message(key).await.state.status, Status::Delivered);
}

pub async fn a_report_is_applied_once_by_racing_appliers(bench: Bench) {
    let client = bench.client().await;
    let mut keys = Vec::new();
    for n in 0..10 {
        keys.push(bench.sent(client, &format!("ref-{n}")).await);
        bench.store_reports(&[given::report(&format!("ref-{n}"), DELIVERED)]).await;
    }
    let appliers: Vec<_> = (0..6)
        .map(|n| {
            let mover = bench.mover_on(if n % 2 == 0 { &bench.store } else { &bench.other });
            tokio::spawn(async move { delivery::inbox::apply_pending(&mover).await })
        })
        .collect();
    for applier in appliers {
        applier.await.unwrap().unwrap();
    }
    // Queued, sending, sent, delivered, and the top-up.
    assert_eq!(bench.events(client).await.len(), 1 + 4 * keys.len());
    assert_eq!(bench.balance(client).await.1, 0);
    bench.assert_sound(client).await;
}

pub async fn a_report_that_races_its_submit_is_applied_by_whoever_is_second(bench: Bench) {
    let client = bench.client().await;
    for n in 0..20 {
        let reference = format!("ref-{n}");
        let key = bench.send(client).await;
        let claimed = bench.claim_one(key).await;
        let submit = {
            let (mover, learned) = (bench.mover(), learned(&claimed, accepted(&reference)));
            tokio::spawn(async move {
                if mover.apply(&[learned]).await.unwrap().has_early_reports {
                    delivery::inbox::apply_pending(&mover).await.unwrap();
                }
            })
        };
        let report = {
            let mover = bench.mover_on(&bench.other);
            tokio::spawn(async move {
                let report = given::report(&reference, DELIVERED);
                mover.store.store_reports(PROVIDER, &[report]).await.unwrap();
                delivery::inbox::apply_pending(&mover).await.unwrap();
            })
        };
        submit.await.unwrap();
        report.await.unwrap();
        assert_eq!(bench.message(key).await.state.status, Status::Delivered, "round {n}");
    }
    assert_eq!(bench.store.pending_reports(0, ALL).await.unwrap(), []);
    bench.assert_sound(client).await;
}

fn targets(pending: &[PendingReport]) -> Vec<ReportTarget> {
    pending.iter().map(|pending| pending.target).collect()
}
