//! Subscribers that get nothing: what each of them costs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::deliveries::Deliveries;
use super::target::Target;
use super::{Args, bare, usage};
use crate::cli::connect::Global;
use crate::cli::exit::Failed;
use crate::cli::output;

/// A connection of PostgreSQL tells of its last transactions when it is used again: in this time all of a pool are.
const TOLD: Duration = Duration::from_secs(30);

/// The result. Memory is that of the process which takes the calls, transactions are those of the nodes' database; `None`
/// where it is not known.
#[derive(Serialize)]
pub struct Idle {
    pub idle_subscribers: u32,
    /// Each with a key of its own, which its subscribers share.
    pub clients: usize,
    pub connections: u32,
    /// Until each of them had its first frame.
    pub opening_seconds: f64,
    /// How long is measured without them, and then with them.
    pub duration_seconds: f64,
    pub resident_mib_before: Option<f64>,
    /// At the end, with the heartbeats that came meanwhile.
    pub resident_mib: Option<f64>,
    pub kib_per_subscriber: Option<f64>,
    pub transactions_per_second_before: Option<f64>,
    pub transactions_per_second: Option<f64>,
}

/// Looks at the server without subscribers, opens `count` of them, and looks again.
pub async fn measure(global: &Global, args: &Args, target: &Target, count: u32) -> Result<Idle, Failed> {
    let transactions_per_second_before = transactions_per_second(args).await;
    let before = resident_mib(target);

    let begin = Instant::now();
    let subscribers: Vec<_> = target.senders.iter().cycle().take(count as usize).cloned().collect();
    let mut listening = Arc::new(Deliveries::default()).listen(&subscribers, global.patience()).await?;
    let opening_seconds = begin.elapsed().as_secs_f64();

    let transactions_per_second = transactions_per_second(args).await;
    let after = resident_mib(target);
    if listening.try_join_next().is_some() {
        return Err(anyhow!("a subscription ended while it was measured").into());
    }
    Ok(Idle {
        idle_subscribers: count,
        clients: target.listeners.len(),
        connections: args.connections,
        opening_seconds,
        duration_seconds: args.duration.as_secs_f64(),
        resident_mib_before: before,
        resident_mib: after,
        kib_per_subscriber: after
            .zip(before)
            .map(|(after, before)| (after - before) * 1_024.0 / f64::from(count)),
        transactions_per_second_before,
        transactions_per_second,
    })
}

/// While nothing is done for as long as is measured; what was done before is not in it.
async fn transactions_per_second(args: &Args) -> Option<f64> {
    let program = args.bare_postgres.as_deref();
    if program.is_some() {
        sleep(TOLD).await;
    }
    let begin = Instant::now();
    let first = transactions(program).await;
    sleep(args.duration).await;
    let last = transactions(program).await;
    last.zip(first).map(|(last, first)| (last - first) / begin.elapsed().as_secs_f64())
}

async fn transactions(program: Option<&Path>) -> Option<f64> {
    Some(bare::counters(program?).await.ok()?.transactions)
}

fn resident_mib(target: &Target) -> Option<f64> {
    let first = target.servers.as_ref()?.processes.first()?;
    Some(usage::resident_bytes(first)? / f64::from(1 << 20))
}

impl Idle {
    /// For a person.
    pub fn table(&self) -> String {
        let told = |value: Option<f64>, told: &dyn Fn(f64) -> String| value.map(told).unwrap_or_default();
        let before = self.resident_mib_before.unwrap_or_default();
        let transactions_before = self.transactions_per_second_before.unwrap_or_default();
        output::facts(&[
            (
                "idle",
                format!(
                    "{} subscribers of {} clients on {} connections, {:.0} s",
                    self.idle_subscribers, self.clients, self.connections, self.duration_seconds
                ),
            ),
            ("opened", format!("in {:.1} s", self.opening_seconds)),
            ("memory", told(self.resident_mib, &|mib| format!("{mib:.1} MiB resident, {before:.1} before"))),
            ("  each", told(self.kib_per_subscriber, &|kib| format!("{kib:.1} KiB"))),
            (
                "transactions",
                told(self.transactions_per_second, &|rate| {
                    format!("{rate:.1}/s, {transactions_before:.1}/s before")
                }),
            ),
        ])
    }
}
