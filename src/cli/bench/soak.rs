//! A long run: what it and its tables are like over time, and whether it could go on like that.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use futures_util::TryStreamExt;
use hdrhistogram::Histogram;
use herald_sdk::{Client, v1};
use serde::{Deserialize, Serialize};
use tokio::time::sleep_until;

use super::deliveries::Deliveries;
use super::load::histogram;
use super::summary::Latency;
use super::target::Target;
use super::{Window, bare, output, usage};

/// Fewer samples, or of a shorter time, say nothing about growth: autovacuum looks once a minute.
const SAMPLES_MIN: usize = 6;
const SECONDS_MIN: f64 = 300.0;
/// Dead tuples of a table that are nothing to worry about: twice what autovacuum leaves alone by default, 50 and a fifth.
const DEAD_MIN: f64 = 100.0;
const DEAD_SHARE: f64 = 0.4;

/// The run at one moment.
#[derive(Clone, Serialize)]
struct Sample {
    /// Since 1970.
    unix_seconds: f64,
    /// In all, so far.
    accepted: u64,
    refused: u64,
    ended: u64,
    open: u64,
    /// Since the sample before.
    accept_latency: Latency,
    delivery_latency: Latency,
    /// Resident, of Herald's processes; private, of the engines'.
    memory_mib: BTreeMap<&'static str, f64>,
    /// Partitions count as one table.
    tables: BTreeMap<String, Table>,
}

/// What the example `table_health` tells of each table.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Table {
    live: f64,
    dead: f64,
    updates: f64,
    /// Updates that touched no index.
    hot_updates: f64,
    autovacuums: f64,
    table_bytes: f64,
    index_bytes: f64,
}

/// What a run came to.
#[derive(Serialize)]
pub struct Report {
    pub samples: usize,
    /// The run was long enough to judge how dead tuples grow.
    pub is_long: bool,
    pub tables: BTreeMap<String, Change>,
    pub memory_mib: BTreeMap<&'static str, [f64; 2]>,
    /// Why it could not go on like that; empty = it could.
    pub failures: Vec<String>,
}

/// A table over the run.
#[derive(Serialize)]
pub struct Change {
    pub live: f64,
    pub dead: f64,
    pub dead_max: f64,
    /// Of this run's updates; absent = there were none.
    pub hot_share: Option<f64>,
    pub autovacuums: f64,
    pub table_bytes: f64,
    pub index_bytes: f64,
    /// With its indexes, for each live row: at the first sample and at the last.
    pub bytes_per_row: [f64; 2],
}

/// Takes samples.
pub struct Soak<'a> {
    deliveries: &'a Deliveries,
    program: &'a Path,
    file: File,
    accepts: Histogram<u64>,
    delivered: Histogram<u64>,
    samples: Vec<Sample>,
}

impl<'a> Soak<'a> {
    /// Appends to the file.
    pub fn new(deliveries: &'a Deliveries, program: &'a Path, file: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(file);
        let file = file.context("the samples cannot be written")?;
        let (accepts, delivered) = (histogram(), histogram());
        Ok(Self { deliveries, program, file, accepts, delivered, samples: Vec::new() })
    }

    /// Waits until the window is over.
    pub async fn watch(&mut self, target: &Target, window: Window, every: Duration) -> anyhow::Result<()> {
        let mut next = window.start;
        while next < window.end {
            sleep_until(next).await;
            self.sample(target).await?;
            next += every.max(Duration::from_secs(1));
        }
        sleep_until(window.end).await;
        Ok(())
    }

    async fn sample(&mut self, target: &Target) -> anyhow::Result<()> {
        let totals = self.deliveries.totals();
        let (accepts, delivered) = (totals.accept_latency, totals.latency);
        let (mut new_accepts, mut new_delivered) = (accepts.clone(), delivered.clone());
        new_accepts.subtract(&self.accepts)?;
        new_delivered.subtract(&self.delivered)?;
        let sample = Sample {
            unix_seconds: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64(),
            accepted: self.deliveries.accepted.load(Ordering::Relaxed),
            refused: self.deliveries.refused.load(Ordering::Relaxed),
            ended: self.deliveries.ended.load(Ordering::Relaxed),
            open: self.deliveries.open(),
            accept_latency: Latency::of(&new_accepts),
            delivery_latency: Latency::of(&new_delivered),
            memory_mib: target.servers.as_ref().map(usage::memory_mib).unwrap_or_default(),
            tables: bare::tables(self.program).await?,
        };
        writeln!(self.file, "{}", serde_json::to_string(&sample)?)?;
        (self.accepts, self.delivered) = (accepts, delivered);
        self.samples.push(sample);
        Ok(())
    }

    /// After the last report has come: a last sample, and the judgement.
    pub async fn judge(mut self, target: &Target) -> anyhow::Result<Report> {
        self.sample(target).await?;
        let (first, last) = (&self.samples[0], &self.samples[self.samples.len() - 1]);
        let is_long =
            self.samples.len() >= SAMPLES_MIN && last.unix_seconds - first.unix_seconds >= SECONDS_MIN;
        let mut tables = BTreeMap::new();
        let mut failures = Vec::new();
        for name in self.samples[0].tables.keys() {
            let over: Vec<Table> =
                self.samples.iter().filter_map(|it| it.tables.get(name).copied()).collect();
            if is_long && grows(&over) {
                failures.push(format!("the dead tuples of {name} grow"));
            }
            tables.insert(name.clone(), Change::over(&over));
        }
        let totals = self.deliveries.totals();
        let others: u64 =
            totals.by_status.iter().filter(|(name, _)| **name != "DELIVERED").map(|it| it.1).sum();
        if self.deliveries.open() + others > 0 {
            failures.push(format!("{} messages were not delivered", self.deliveries.open() + others));
        }
        if let Some(operator) = &target.operator {
            failures.extend(audit(operator).await.context("the books cannot be checked")?);
        }
        let (first, last) = (&first.memory_mib, &last.memory_mib);
        let memory_mib =
            last.iter().map(|(name, last)| (*name, [first.get(name).copied().unwrap_or(0.0), *last]));
        Ok(Report {
            samples: self.samples.len(),
            is_long,
            tables,
            memory_mib: memory_mib.collect(),
            failures,
        })
    }
}

/// In the last third of the run dead tuples never came down to what they had been at most in the first, and are more than
/// autovacuum leaves alone. (Between its rounds they grow, so a single count says little.)
fn grows(over: &[Table]) -> bool {
    let third = over.len() / 3;
    let highest = over[..third].iter().map(|table| table.dead).fold(0.0, f64::max);
    let (lowest, live) = over[over.len() - third..]
        .iter()
        .fold((f64::MAX, 0.0), |(lowest, _), table| (table.dead.min(lowest), table.live));
    lowest > highest && lowest > DEAD_MIN + DEAD_SHARE * live
}

/// An error says why it could not go on.
pub fn verdict(report: &Report) -> anyhow::Result<()> {
    if report.failures.is_empty() { Ok(()) } else { Err(anyhow!("{}", report.failures.join("; "))) }
}

/// The violations that the reconciler finds.
async fn audit(operator: &Client) -> Result<Vec<String>, herald_sdk::Error> {
    let books = operator.audit_ledger(v1::AuditLedgerRequest::default()).await?;
    let violations = books.try_fold(Vec::new(), |mut all, book| async move {
        all.extend(book.violations.iter().map(|what| format!("client {}: {what}", book.client_id)));
        Ok(all)
    });
    violations.await
}

impl Change {
    fn over(over: &[Table]) -> Self {
        let (first, last) =
            (over.first().copied().unwrap_or_default(), over.last().copied().unwrap_or_default());
        let updates = last.updates - first.updates;
        let per_row = |table: Table| (table.table_bytes + table.index_bytes) / table.live.max(1.0);
        Self {
            live: last.live,
            dead: last.dead,
            dead_max: over.iter().map(|table| table.dead).fold(0.0, f64::max),
            hot_share: (updates > 0.0).then(|| (last.hot_updates - first.hot_updates) / updates),
            autovacuums: last.autovacuums - first.autovacuums,
            table_bytes: last.table_bytes,
            index_bytes: last.index_bytes,
            bytes_per_row: [per_row(first), per_row(last)],
        }
    }
}

impl Report {
    /// For a person. Tables without rows are left out.
    pub fn table(&self) -> String {
        let mib = |bytes: f64| format!("{:.1}", bytes / f64::from(1 << 20));
        let rows: Vec<Vec<String>> = (self.tables.iter())
            .filter(|(_, change)| change.live + change.dead_max > 0.0)
            .map(|(name, change)| {
                vec![
                    name.clone(),
                    format!("{:.0}", change.live),
                    format!("{:.0}", change.dead),
                    format!("{:.0}", change.dead_max),
                    change.hot_share.map(|share| format!("{share:.2}")).unwrap_or_default(),
                    format!("{:.0}", change.autovacuums),
                    mib(change.table_bytes),
                    mib(change.index_bytes),
                    format!("{:.0} -> {:.0}", change.bytes_per_row[0], change.bytes_per_row[1]),
                ]
            })
            .collect();
        let header =
            ["TABLE", "LIVE", "DEAD", "AT MOST", "HOT", "AUTOVACUUMS", "MIB", "INDEX MIB", "BYTES A ROW"];
        let memory: Vec<_> = self
            .memory_mib
            .iter()
            .map(|(name, [first, last])| format!("{name} {first:.0} -> {last:.0}"))
            .collect();
        let dead = if self.is_long { "Dead tuples stay" } else { "Too short to judge dead tuples" };
        let verdict = match self.failures.is_empty() {
            true => format!("{dead}; everything was delivered, and the books are clean."),
            false => self.failures.join("\n"),
        };
        format!("{}\n\nmemory  {} MiB\n\n{verdict}", output::table(&header, &rows), memory.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dead: &[f64], live: f64, expected: bool) {
        let over: Vec<Table> =
            dead.iter().map(|dead| Table { dead: *dead, live, ..Table::default() }).collect();
        assert_eq!(grows(&over), expected, "{dead:?}");
    }

    #[test]
    fn dead_tuples_that_are_vacuumed_again_and_again_do_not_grow() {
        check(&[0.0, 9_000.0, 100.0, 9_000.0, 200.0, 9_000.0, 300.0, 9_000.0, 400.0], 1.0, false);
    }

    #[test]
    fn dead_tuples_that_no_vacuum_takes_away_grow() {
        check(&[0.0, 1_000.0, 2_000.0, 3_000.0, 4_000.0, 5_000.0, 6_000.0], 1_000.0, true);
    }

    #[test]
    fn dead_tuples_that_grow_with_their_table_are_left_to_autovacuum() {
        check(&[0.0, 100.0, 200.0, 300.0, 400.0, 500.0, 600.0], 10_000.0, false);
    }
}
