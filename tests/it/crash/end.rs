//! The end of a story with faults: when nothing moves any more, and what the server then tells.

use herald_sdk::{Client, v1};

use super::evidence::Listed;
use crate::support::{SimulatorProcess, every_message, nothing_held, read, until};

/// Waits until nothing is held and no report is owed any more; answers what the server then tells.
pub(crate) async fn settle(client: &Client, simulator: &SimulatorProcess) -> (v1::Balance, Vec<Listed>) {
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
