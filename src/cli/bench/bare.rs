//! What SQLite alone does with the same rows: the measure for the embedded server.

use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::summary::Summary;

/// Enough to be measured, few enough not to take long.
const MESSAGES_MAX: u64 = 200_000;

/// What the example `bare_sqlite` prints.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Bare {
    /// Messages in a transaction.
    pub batch: u64,
    /// Only what accepting writes.
    pub accept: Rate,
    /// What a delivered message writes in all.
    pub life: Rate,
}

/// One measurement.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Rate {
    pub messages: u64,
    pub rows: u64,
    pub messages_per_second: f64,
    pub rows_per_second: f64,
}

/// Writes as many messages, in transactions as large as the server's were on average, to the same disk.
pub async fn run(program: &Path, folder: &Path, summary: &Summary) -> anyhow::Result<Bare> {
    let batch = summary.server.accept_batch.map_or(1, |mean| mean.round().max(1.0) as u64);
    let messages = summary.accepted_in_all.clamp(batch, MESSAGES_MAX);
    let output = Command::new(program)
        .args(["--batch", &batch.to_string(), "--messages", &messages.to_string(), "--folder"])
        .arg(folder)
        .output()
        .await
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        bail!("{} failed: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{} printed something else", program.display()))
}
