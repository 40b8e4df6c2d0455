//! `herald bench`: generates load and measures what comes back.
//!
//! Without `--connect` it starts `herald dev` as a process of its own on an empty folder, so that the server is
//! measured as it runs for everybody else, and its CPU time apart from that of the load.

mod bare;
mod deliveries;
mod load;
mod progress;
mod summary;
mod target;
mod usage;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use herald_sdk::{Client, Config, RetryPolicy, v1};
use tokio::time::Instant;

use super::connect::{Global, Output};
use super::exit::Failed;
use super::output;
use super::serve::shutdown_signal;
use deliveries::Deliveries;
use load::{Load, Schedule};
use summary::Summary;
use target::Target;
use usage::Usage;

/// Arguments of `herald bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Measure the server of --address with its key, instead of an embedded one.
    #[arg(long)]
    connect: bool,
    /// How long is measured.
    #[arg(long, default_value = "10s", value_name = "SECONDS", value_parser = seconds)]
    duration: Duration,
    /// Load before the measurement.
    #[arg(long, default_value = "2s", value_name = "SECONDS", value_parser = seconds)]
    warm_up: Duration,
    /// Calls in flight at once: each sends its next when its last was answered (closed loop).
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    concurrency: u32,
    /// Messages per second on a fixed schedule (open loop), with at most --concurrency in flight. Latencies count from
    /// the moment a message was due, so a slow server does not hide behind the load that it holds up.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Connections that share the load.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
    /// Whom to send to.
    #[arg(long, default_value = "+12025550100")]
    recipient: String,
    /// What to send.
    #[arg(long, default_value = "Hello from herald bench")]
    text: String,
    /// Decides the embedded simulator's latencies and outcomes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the embedded server keeps its database for as long as it runs; that disk is a part of what is measured.
    #[arg(long, default_value = ".", value_name = "FOLDER", conflicts_with = "connect")]
    folder: PathBuf,
    /// The example `bare_sqlite` of crates/store-sqlite: it writes the same rows to the same disk afterwards.
    #[arg(long, value_name = "PROGRAM", conflicts_with = "connect")]
    bare_sqlite: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub start: Instant,
    pub end: Instant,
}

impl Window {
    pub fn contains(&self, moment: Instant) -> bool {
        (self.start..self.end).contains(&moment)
    }
}

pub async fn run(global: &Global, args: Args) -> Result<(), Failed> {
    let target = if args.connect {
        Target::running(global)?
    } else {
        Target::embedded(&args.folder, args.seed).await.context("cannot start an embedded server")?
    };
    let measured = tokio::select! {
        measured = measure(global, &args, &target) => measured,
        () = shutdown_signal() => Err(anyhow!("stopped before the end of the measurement").into()),
    };
    target.stop().await;
    let mut summary = measured?;
    if let Some(program) = &args.bare_sqlite {
        summary.bare_sqlite = Some(bare::run(program, &args.folder, &summary).await?);
    }
    match global.output {
        Output::Table => output::line(&summary.table()),
        mode => output::value(mode, &summary),
    }
}

async fn measure(global: &Global, args: &Args, target: &Target) -> Result<Summary, Failed> {
    let clients = clients(global, args, target)?;
    let deliveries = Arc::new(Deliveries::default());
    let listening = deliveries.listen(&clients[0], global.patience()).await?;

    let begin = Instant::now();
    let start = begin + args.warm_up;
    let window = Window { start, end: start + args.duration };
    deliveries.measure(window);
    let schedule = Arc::new(Schedule::new(args.rate, begin, window.end));
    let request =
        v1::SendMessageRequest { to: args.recipient.clone(), text: args.text.clone(), ..Default::default() };
    let load = Load { clients, request, schedule, deliveries: deliveries.clone(), window };
    let progress = progress::show(load.deliveries.clone(), begin, window.end);
    let running = tokio::spawn(load.run(args.concurrency));
    let usage = Usage::between(target, window).await;
    let outcome = running.await.context("the load failed")?;
    let drained = deliveries.drain().await;
    progress.abort();
    listening.abort();
    if outcome.accepted_in_all() == 0 {
        let why = outcome.first_error.map(anyhow::Error::from).unwrap_or_else(|| anyhow!("nothing was sent"));
        return Err(Failed::new(1, why.context("no message was accepted")));
    }
    Ok(Summary::new(args, &outcome, &deliveries, drained, usage))
}

/// One client for each connection. A refusal is a result here, so nothing is repeated.
fn clients(global: &Global, args: &Args, target: &Target) -> Result<Vec<Client>, Failed> {
    let connect = |_| {
        let mut config = Config::new(target.url.clone(), target.key.clone());
        config.timeout = Duration::from_secs(global.timeout);
        config.client_id.clone_from(&target.client_id);
        config.retry = RetryPolicy::none();
        Ok(Client::connect_lazy(config)?)
    };
    (0..args.connections).map(connect).collect()
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text);
    let seconds: f64 = number.parse().map_err(|_| "it must be seconds, such as 10 or 2.5s".to_owned())?;
    if !(0.0..=86_400.0).contains(&seconds) {
        return Err("it must be from 0 to 86400 seconds".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_with_and_without_their_unit() {
        assert_eq!(seconds("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(seconds("2.5"), Ok(Duration::from_millis(2_500)));
        assert!(seconds("-1").is_err() && seconds("NaN").is_err() && seconds("1m").is_err());
    }
}
