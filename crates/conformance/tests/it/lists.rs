//! The lists of `src/suite.rs` are complete.

const SUITE: &str = include_str!("../../src/suite.rs");

const CLAIMS: &[&str] = &[
    include_str!("../../src/bell.rs"),
    include_str!("../../src/limiter.rs"),
    include_str!("../../src/queue.rs"),
    include_str!("../../src/shared_limiter.rs"),
    include_str!("../../src/store/accept.rs"),
    include_str!("../../src/store/admin.rs"),
    include_str!("../../src/store/audit.rs"),
    include_str!("../../src/store/audit_log.rs"),
    include_str!("../../src/store/claim.rs"),
    include_str!("../../src/store/clients.rs"),
    include_str!("../../src/store/concurrency.rs"),
    include_str!("../../src/store/dead_letters.rs"),
    include_str!("../../src/store/gate.rs"),
    include_str!("../../src/store/inbox.rs"),
    include_str!("../../src/store/keys.rs"),
    include_str!("../../src/store/outcome.rs"),
    include_str!("../../src/store/reports.rs"),
    include_str!("../../src/store/retention.rs"),
    include_str!("../../src/store/round_trip.rs"),
    include_str!("../../src/store/search.rs"),
    include_str!("../../src/store/timers.rs"),
    include_str!("../../src/store/transactions.rs"),
    include_str!("../../src/store/unmatched.rs"),
    include_str!("../../src/store/use_case.rs"),
    include_str!("../../src/store/view.rs"),
];

#[test]
fn every_claim_is_on_a_list() {
    let claims: Vec<&str> = CLAIMS
        .iter()
        .flat_map(|file| file.lines())
        .filter_map(|line| line.strip_prefix("pub async fn ")?.split_once('('))
        .map(|(name, _)| name)
        .collect();
    assert!(claims.len() > 100, "{} claims were found", claims.len());
    for claim in claims {
        assert!(SUITE.contains(&format!(" {claim},\n")), "{claim} is on no list");
    }
}
