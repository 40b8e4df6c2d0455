//! What the database alone does with the same rows: the measure for the server.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::soak::Table;
use super::summary::Summary;

/// Enough to be measured, few enough not to take long.
const MESSAGES_MAX: u64 = 200_000;

/// Transactions of PostgreSQL's measure: as large as the server's may be.
const POSTGRES_BATCH: u64 = 500;
/// Of PostgreSQL's measure, which takes two seconds or so.
const POSTGRES_MESSAGES: u64 = 100_000;
/// Where the nodes find their database.
const POSTGRES_URL: &str = "HERALD_STORE_URL";

/// What the example `bare_sqlite` prints.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct BareSqlite {
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

/// What the example `bare_postgres` prints.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct BarePostgres {
    /// Messages in a transaction.
    pub batch: u64,
    pub connections: u64,
    pub messages: f64,
    /// What accepting writes.
    pub messages_per_second: f64,
    pub rows_per_second: f64,
    pub wal_bytes_per_message: f64,
    pub fsyncs_per_second: f64,
    /// Message rows alone, by COPY.
    pub copied_per_second: f64,
}

/// What a PostgreSQL server counts.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Counters {
    /// Bytes of WAL since the server was made.
    pub wal_bytes: f64,
    /// Transactions of the nodes' database since it was made. A connection's last ones may be told when it is used again.
    pub transactions: f64,
}

/// Writes as many messages as the server has, in transactions as large as its were on average, to the same disk.
pub async fn sqlite(program: &Path, folder: &Path, summary: &Summary) -> anyhow::Result<BareSqlite> {
    let batch = summary.server.accept_batch.map_or(1, |mean| mean.round().max(1.0) as u64);
    let messages = summary.accepted_in_all.clamp(batch, MESSAGES_MAX);
    let folder = folder.to_str().context("the folder's name is no text")?;
    let (batch, messages) = (batch.to_string(), messages.to_string());
    run(program, &["--batch", &batch, "--messages", &messages, "--folder", folder]).await
}

/// Writes messages to another database of the nodes' PostgreSQL.
pub async fn postgres(program: &Path) -> anyhow::Result<BarePostgres> {
    let (batch, messages) = (POSTGRES_BATCH.to_string(), POSTGRES_MESSAGES.to_string());
    run(program, &["--url", &postgres_url()?, "--batch", &batch, "--messages", &messages]).await
}

/// What the nodes' PostgreSQL has counted so far.
pub async fn counters(program: &Path) -> anyhow::Result<Counters> {
    run(program, &["--url", &postgres_url()?, "--counters"]).await
}

/// What the tables of the nodes' database are like.
pub async fn tables(program: &Path) -> anyhow::Result<BTreeMap<String, Table>> {
    run(program, &["--url", &postgres_url()?]).await
}

fn postgres_url() -> anyhow::Result<String> {
    std::env::var(POSTGRES_URL).with_context(|| format!("{POSTGRES_URL} is not set"))
}

/// What it prints.
async fn run<T: for<'de> Deserialize<'de>>(program: &Path, arguments: &[&str]) -> anyhow::Result<T> {
    let output = Command::new(program).args(arguments).output().await;
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        bail!("{} failed: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{} printed something else", program.display()))
}
