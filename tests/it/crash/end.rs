//! The end of a story with faults: when nothing moves any more, and what the server then tells.

use delivery::port::Store;
use delivery::reconcile;
use delivery::timing::Timing;
use herald_sdk::{Client, v1};

use super::check::check;
use super::evidence::{Evidence, Listed};
use crate::support::{SimulatorProcess, every_message, nothing_held, read, until};

/// Waits until nothing is held and no report is owed any more; answers what the server then tells.
pub(super) async fn settle(client: &Client, simulator: &SimulatorProcess) -> (v1::Balance, Vec<Listed>) {
    nothing_held(client).await;
    // A report that comes after the settlement still corrects the status.
    until("the last report", async || (simulator.witness().open_reports() == 0).then_some(())).await;
    until("an end of the log that stays", async || {
        let before = nothing_held(client).await;
        let listed = list(client).await;
        let after = nothing_held(client).await;
        (after.seq == before.seq).then_some((before, listed))
    })
    .await
}

async fn list(client: &Client) -> Vec<Listed> {
    let listed = every_message(client).await.into_iter().map(|message| Listed {
        message: message.id.parse().expect("the server gives ids"),
        reference: message.reference.clone(),
        status: read::status(message.status()),
        credit: read::credit(message.credit()),
        price_micros: message.price_micros,
    });
    listed.collect()
}

/// Drawn from when `HERALD_TEST_SEED` is not set.
const SEED: u64 = 20_260_101;

pub(crate) fn seed() -> u64 {
    let seed = std::env::var("HERALD_TEST_SEED")
        .map_or(SEED, |seed| seed.parse().expect("HERALD_TEST_SEED is a number"));
    println!("HERALD_TEST_SEED={seed}");
    seed
}

/// Every promise was kept.
pub(crate) fn assert_kept(evidence: &Evidence, seed: u64) {
    let findings = check(evidence);
    assert!(
        findings.is_empty(),
        "seed {seed}: {} findings, the first:\n{}",
        findings.len(),
        findings[..findings.len().min(20)].join("\n")
    );
}

/// The reconciler itself, on the store, finds the client's books in order.
pub(crate) async fn assert_clean_books(store: &dyn Store, client_id: &str) {
    let client = client_id.parse().expect("the server gives ids");
    let audited = reconcile::audit(store, &Timing::default(), client).await;
    let (audit, _) = audited.expect("the store can be read").expect("the client exists");
    assert_eq!(audit.violations, Vec::<String>::new());
}
