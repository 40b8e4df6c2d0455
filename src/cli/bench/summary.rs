//! The result of a measurement, for people and for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::bare::{BarePostgres, BareSqlite, Rate};
use super::deliveries::Deliveries;
use super::load::Outcome;
use super::reads::ReadSummary;
use super::soak;
use super::usage::Usage;
use super::{Args, By, output};

/// What was measured, and how.
#[derive(Serialize)]
pub struct Summary {
    /// `closed`: callers wait for answers. `open`: messages are due at fixed times.
    pub r#loop: &'static str,
    /// Of the open loop.
    pub rate: Option<u32>,
    pub by: By,
    /// The worker was started after the load.
    pub burst: bool,
    /// Messages of one call, by batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
    pub clients: usize,
    pub duration_seconds: f64,
    pub connections: u32,
    pub concurrency: u32,
    pub accepted: u64,
    /// With the warm-up and the last answers.
    pub accepted_in_all: u64,
    pub accepted_per_second: f64,
    /// From when a message was due to its receipt.
    pub accept_latency: Latency,
    pub errors: BTreeMap<String, u64>,
    /// Due, but every caller was busy.
    pub unsent: u64,
    pub delivered_per_second: f64,
    /// From the receipt to the report of DELIVERED.
    pub delivery_latency: Latency,
    /// Every final report of the run.
    pub ended: BTreeMap<&'static str, u64>,
    /// Accepted messages without a final report.
    pub open: u64,
    /// How long the last reports took after the load ended.
    pub drain_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads: Option<ReadSummary>,
    pub server: Server,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bare_sqlite: Option<BareSqlite>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bare_postgres: Option<BarePostgres>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soak: Option<soak::Report>,
}

/// In milliseconds.
#[derive(Clone, Serialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// What servers of our own spent, and the engines under them; by process. Empty where it is not known.
#[derive(Serialize)]
pub struct Server {
    /// For accepting and delivering one message.
    pub cpu_micros_per_message: BTreeMap<&'static str, f64>,
    pub disk_bytes_per_message: BTreeMap<&'static str, f64>,
    pub peak_mib: BTreeMap<&'static str, f64>,
    pub wal_bytes_per_message: Option<f64>,
    pub accept_batch: Option<f64>,
}

impl Summary {
    pub(super) fn new(
        args: &Args,
        clients: usize,
        outcome: &Outcome,
        deliveries: &Deliveries,
        drained: Duration,
        reads: Option<ReadSummary>,
        usage: Usage,
    ) -> Self {
        let totals = deliveries.totals();
        let seconds = args.duration.as_secs_f64();
        let each = |values: BTreeMap<&'static str, f64>, factor: f64| {
            values.into_iter().map(|(name, value)| (name, value * factor)).collect()
        };
        let per_message = 1.0 / outcome.accepted.max(1) as f64;
        Self {
            r#loop: if args.rate.is_some() { "open" } else { "closed" },
            rate: args.rate,
            by: args.by,
            burst: args.burst,
            batch: (args.by == By::Batch).then_some(args.batch),
            clients,
            duration_seconds: seconds,
            connections: args.connections,
            concurrency: args.concurrency,
            accepted: outcome.accepted,
            accepted_in_all: outcome.accepted_in_all(),
            accepted_per_second: outcome.accepted as f64 / seconds,
            accept_latency: Latency::of(&outcome.latency),
            errors: outcome.errors.clone(),
            unsent: outcome.unsent,
            delivered_per_second: totals.delivered as f64 / seconds,
            delivery_latency: Latency::of(&totals.latency),
            ended: totals.by_status,
            open: deliveries.open(),
            drain_seconds: drained.as_secs_f64(),
            reads,
            server: Server {
                cpu_micros_per_message: each(usage.cpu_seconds, 1e6 * per_message),
                disk_bytes_per_message: each(usage.disk_bytes, per_message),
                peak_mib: each(usage.peak_bytes, 1.0 / f64::from(1 << 20)),
                wal_bytes_per_message: usage.wal_bytes.map(|bytes| bytes * per_message),
                accept_batch: usage.accept_batch,
            },
            bare_sqlite: None,
            bare_postgres: None,
            soak: None,
        }
    }

    /// For a person.
    pub fn table(&self) -> String {
        let counts = |counts: Vec<(&str, u64)>| {
            counts.into_iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        let errors: Vec<_> = self.errors.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        let ended: Vec<_> = self.ended.iter().map(|(name, count)| (*name, *count)).collect();
        let pace = match self.rate {
            None if self.burst => format!("closed loop, {} in flight, no worker meanwhile", self.concurrency),
            Some(rate) => format!("open loop, {rate} messages/s due, at most {} in flight", self.concurrency),
            None => format!("closed loop, {} in flight", self.concurrency),
        };
        let by = match self.by {
            By::Unary => "unary".to_owned(),
            By::Batch => format!("batches of {}", self.batch.unwrap_or(1)),
            By::Stream => "stream".to_owned(),
        };
        let server = &self.server;
        let batch = server.accept_batch.map(|it| format!("{it:.0} messages per accepting transaction"));
        let bare = self.bare_sqlite.as_ref();
        let bare_postgres = self.bare_postgres.as_ref().map(|bare| {
            let (rate, copied) = (bare.messages_per_second, bare.copied_per_second);
            format!(
                "accept {rate:.0} messages/s, {:.0} bytes of WAL each; Herald does {:.2} of it. COPY of message rows alone {copied:.0}/s",
                bare.wal_bytes_per_message,
                self.accepted_per_second / rate
            )
        });
        let mut facts = vec![
            (
                "load",
                format!(
                    "{by}, {pace}, {} clients, {} connections, {:.0} s",
                    self.clients, self.connections, self.duration_seconds
                ),
            ),
            ("accepted", format!("{:.0}/s", self.accepted_per_second)),
            ("  latency", self.accept_latency.to_string()),
            ("  refused", counts(errors)),
            ("  unsent", if self.unsent > 0 { self.unsent.to_string() } else { String::new() }),
            ("delivered", format!("{:.0}/s", self.delivered_per_second)),
            ("  latency", format!("{} from receipt to report", self.delivery_latency)),
            ("  ended", counts(ended)),
            ("  open", format!("{} after {:.1} s more", self.open, self.drain_seconds)),
            ("CPU", values(&server.cpu_micros_per_message, "us per message")),
            ("disk", values(&server.disk_bytes_per_message, "bytes written per message")),
            (
                "WAL",
                server
                    .wal_bytes_per_message
                    .map(|it| format!("{it:.0} bytes per message"))
                    .unwrap_or_default(),
            ),
            ("memory", values(&server.peak_mib, "MiB resident at most")),
            ("batch", batch.unwrap_or_default()),
            (
                "bare SQLite",
                bare.map(|bare| format!("{} messages per transaction", bare.batch)).unwrap_or_default(),
            ),
            ("  accept", bare.map(|bare| beside(&bare.accept, self.accepted_per_second)).unwrap_or_default()),
            ("  life", bare.map(|bare| beside(&bare.life, self.delivered_per_second)).unwrap_or_default()),
            ("bare PostgreSQL", bare_postgres.unwrap_or_default()),
        ];
        facts.extend(self.reads.iter().flat_map(ReadSummary::lines));
        let soak = self.soak.iter().map(|soak| format!("\n\n{}", soak.table()));
        output::facts(&facts) + &soak.collect::<String>()
    }
}

/// By process, and together.
fn values(values: &BTreeMap<&'static str, f64>, unit: &str) -> String {
    if values.is_empty() {
        return String::new();
    }
    let each: Vec<_> = values.iter().map(|(name, value)| format!("{name} {value:.0}")).collect();
    let sum: f64 = values.values().sum();
    format!("{sum:.0} {unit}: {}", each.join(", "))
}

/// What SQLite alone does, and which part of it Herald does while it accepts and delivers at once.
fn beside(bare: &Rate, ours: f64) -> String {
    let (messages, rows) = (bare.messages_per_second, bare.rows_per_second);
    format!("{messages:.0} messages/s, {rows:.0} rows/s; Herald does {:.2} of it", ours / messages)
}

impl Latency {
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: histogram.max() as f64 / 1_000.0 }
    }
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms",
            self.p50, self.p99, self.p999, self.max
        )
    }
}
