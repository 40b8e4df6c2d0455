//! The results, as `herald bench -o json` prints them: what of it is told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

/// In the order of their files' names.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) loads: Vec<Load>,
    pub(crate) idle: Vec<Idle>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Result {
    Idle(Idle),
    Load(Box<Load>),
}

/// A run with `--idle-subscribers`.
#[derive(Debug, Deserialize)]
pub(crate) struct Idle {
    pub(crate) idle_subscribers: u64,
    pub(crate) clients: u64,
    pub(crate) connections: u64,
    pub(crate) duration_seconds: f64,
    pub(crate) resident_mib: Option<f64>,
    pub(crate) kib_per_subscriber: Option<f64>,
    pub(crate) transactions_per_second_before: Option<f64>,
    pub(crate) transactions_per_second: Option<f64>,
}

/// A run under load.
#[derive(Debug, Deserialize)]
pub(crate) struct Load {
    /// Messages due a second, in the open loop.
    pub(crate) rate: Option<u64>,
    pub(crate) by: String,
    pub(crate) burst: bool,
    pub(crate) batch: Option<u64>,
    pub(crate) clients: u64,
    pub(crate) duration_seconds: f64,
    pub(crate) concurrency: u64,
    pub(crate) accepted_in_all: u64,
    pub(crate) accepted_per_second: f64,
    pub(crate) accept_latency: Latency,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) unsent: u64,
    pub(crate) delivered_per_second: f64,
    pub(crate) delivery_latency: Latency,
    pub(crate) ended: BTreeMap<String, u64>,
    pub(crate) open: u64,
    pub(crate) drain_seconds: f64,
    pub(crate) server: Server,
    pub(crate) bare_sqlite: Option<BareSqlite>,
    pub(crate) bare_postgres: Option<Rate>,
}

/// In milliseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

/// By process.
#[derive(Debug, Deserialize)]
pub(crate) struct Server {
    pub(crate) cpu_micros_per_message: BTreeMap<String, f64>,
    pub(crate) disk_bytes_per_message: BTreeMap<String, f64>,
    pub(crate) peak_mib: BTreeMap<String, f64>,
    pub(crate) wal_bytes_per_message: Option<f64>,
    pub(crate) accept_batch: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct BareSqlite {
    pub(crate) accept: Rate,
    pub(crate) life: Rate,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Rate {
    pub(crate) messages_per_second: f64,
}

/// What served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Nodes,
    Embedded,
}

/// What decided when messages were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Closed,
    Burst,
    Open,
}

impl Results {
    /// All `*.json` of the folder.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut results = Self::default();
        for file in files(folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let told = || format!("cannot read {}", file.display());
            let text = std::fs::read(&file).with_context(told)?;
            match serde_json::from_slice(&text).with_context(told)? {
                Result::Load(load) => results.loads.push(*load),
                Result::Idle(idle) => results.idle.push(idle),
            }
        }
        Ok(results)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.loads.is_empty() && self.idle.is_empty()
    }

    pub(crate) fn of(&self, mode: Mode, pace: Pace) -> Vec<&Load> {
        self.loads.iter().filter(|load| load.mode() == mode && load.pace() == pace).collect()
    }
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    Ok(files)
}

impl Load {
    pub(crate) fn mode(&self) -> Mode {
        if self.bare_sqlite.is_some() { Mode::Embedded } else { Mode::Nodes }
    }

    pub(crate) fn pace(&self) -> Pace {
        match self.rate {
            Some(_) => Pace::Open,
            None if self.burst => Pace::Burst,
            None => Pace::Closed,
        }
    }
}
