//! `herald bench`: generates load and measures what comes back.
//!
//! Without `--connect` it starts servers as processes of their own, so that they are measured as they run for everybody
//! else, and their CPU time apart from that of the load: `herald dev` on an empty folder, or with `--nodes` an API node and
//! a worker on the engines that the environment names.

mod bare;
mod callers;
mod deliveries;
mod idle;
mod load;
mod progress;
mod reads;
mod servers;
mod soak;
mod summary;
mod target;
mod usage;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use herald_sdk::v1;
use tokio::time::Instant;

use super::connect::{Global, Output};
use super::exit::Failed;
use super::output;
use super::serve::shutdown_signal;
use deliveries::Deliveries;
use idle::Idle;
use load::{Load, Schedule};
use reads::Reads;
use soak::Soak;
use summary::Summary;
use target::Target;
use usage::Usage;

/// How messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// SendMessage, a call each.
    Unary,
    /// SendMessages, --batch messages a call.
    Batch,
    /// StreamMessages, a stream for each client, or for each connection where those are more.
    Stream,
}

/// Arguments of `herald bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Measure the server of --address with its key, instead of one of its own.
    #[arg(long)]
    connect: bool,
    /// Measure an API node, a worker and a provider, a process each, on the PostgreSQL, NATS and Redis of HERALD_STORE_URL,
    /// HERALD_QUEUE__URL and HERALD_REDIS__URL. The database must be empty, but for --installation.
    #[arg(long, conflicts_with = "connect")]
    nodes: bool,
    /// Where the operator key and the pepper of the database are kept. An installation that is there is used again, and its clients
    /// send, the oldest first; else it is made, and stays.
    #[arg(long, value_name = "FOLDER", requires = "nodes")]
    installation: Option<PathBuf>,
    /// How messages are sent.
    #[arg(long, value_enum, default_value = "unary")]
    by: By,
    /// Messages of one call, by batch.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    batch: u32,
    /// Clients that send, each with a key and a subscription of its own. They are made for it, so with --connect the key must be
    /// an operator's.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    clients: Option<u32>,
    /// How long is measured.
    #[arg(long, default_value = "10s", value_name = "SECONDS", value_parser = seconds)]
    duration: Duration,
    /// Load before the measurement.
    #[arg(long, default_value = "2s", value_name = "SECONDS", value_parser = seconds)]
    warm_up: Duration,
    /// Messages in flight at once: the next is sent when one was answered (closed loop).
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    concurrency: u32,
    /// Messages per second on a fixed schedule (open loop), with at most --concurrency in flight. Latencies count from
    /// the moment a message was due, so a slow server does not hide behind the load that it holds up.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Messages are only accepted while it is measured: the worker is started after the load, and how long it takes over the
    /// backlog is told.
    #[arg(long, requires = "nodes")]
    burst: bool,
    /// Subscriptions that get nothing, instead of a load: tells what each of them costs the server, over the time of --duration.
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["rate", "burst", "bare_sqlite"],
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    idle_subscribers: Option<u32>,
    /// Reads per second beside the load, on a fixed schedule: GetMessage, ListMessages at its beginning and deep in it, and
    /// ListEvents in turn, of the first clients that send.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    reads: Option<u32>,
    /// Connections that share the load.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
    /// Whom to send to.
    #[arg(long, default_value = "+12025550100")]
    recipient: String,
    /// What to send.
    #[arg(long, default_value = "Hello from herald bench")]
    text: String,
    /// Decides the simulated provider's latencies and outcomes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The provider's delays are so many times shorter than its own, which are 50 ms to answer and 1 s to report.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", requires = "nodes")]
    provider_scale: f64,
    /// Where servers of its own keep their files for as long as they run; that disk is a part of what is measured.
    #[arg(long, default_value = ".", value_name = "FOLDER", conflicts_with = "connect")]
    folder: PathBuf,
    /// The example `bare_sqlite` of crates/store-sqlite: it writes the same rows to the same disk afterwards.
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["connect", "nodes"])]
    bare_sqlite: Option<PathBuf>,
    /// The example `bare_postgres` of crates/store-postgres: it tells what is written to the WAL, and writes the same rows to
    /// another database of the same server afterwards.
    #[arg(long, value_name = "PROGRAM", requires = "nodes")]
    bare_postgres: Option<PathBuf>,
    /// Append to the file what the run and its tables are like, every --sample-every, and judge at the end whether it could
    /// go on like that: exit code 1 if not.
    #[arg(long, value_name = "FILE", requires = "tables")]
    soak: Option<PathBuf>,
    #[arg(long, default_value = "30s", value_name = "SECONDS", value_parser = seconds)]
    sample_every: Duration,
    /// The example `table_health` of crates/store-postgres: it tells what tables are like.
    #[arg(long, value_name = "PROGRAM", requires_all = ["nodes", "soak"])]
    tables: Option<PathBuf>,
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
    let mut target =
        if args.connect { Target::running(global, &args).await? } else { Target::own(global, &args).await? };
    let measured = tokio::select! {
        measured = measure(global, &args, &mut target) => measured,
        () = shutdown_signal() => Err(anyhow!("stopped before the end of the measurement").into()),
    };
    target.stop().await;
    let mut measured = measured?;
    if let Measured::Load(summary) = &mut measured {
        if let Some(program) = &args.bare_sqlite {
            summary.bare_sqlite = Some(bare::sqlite(program, &args.folder, summary).await?);
        }
        if let Some(program) = &args.bare_postgres {
            summary.bare_postgres = Some(bare::postgres(program).await?);
        }
    }
    match global.output {
        Output::Table => output::line(&measured.table())?,
        mode => output::value(mode, &measured)?,
    }
    match measured {
        Measured::Load(summary) => Ok(summary.soak.as_ref().map_or(Ok(()), soak::verdict)?),
        Measured::Idle(_) => Ok(()),
    }
}

/// What came of it.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Measured {
    Load(Box<Summary>),
    Idle(Idle),
}

impl Measured {
    fn table(&self) -> String {
        match self {
            Self::Load(summary) => summary.table(),
            Self::Idle(idle) => idle.table(),
        }
    }
}

async fn measure(global: &Global, args: &Args, target: &mut Target) -> Result<Measured, Failed> {
    match args.idle_subscribers {
        Some(count) => Ok(Measured::Idle(idle::measure(global, args, target, count).await?)),
        None => Ok(Measured::Load(Box::new(measure_load(global, args, target).await?))),
    }
}

async fn measure_load(global: &Global, args: &Args, target: &mut Target) -> Result<Summary, Failed> {
    let deliveries = Arc::new(Deliveries::default());
    let reads = match args.reads {
        Some(rate) => Some(Reads::of(&target.listeners, rate).await?),
        None => None,
    };
    let mut soak = match (&args.soak, &args.tables) {
        (Some(file), Some(program)) => Some(Soak::new(&deliveries, program, file)?),
        _ => None,
    };
    let listening = deliveries.listen(&target.listeners, global.patience()).await?;

    let begin = Instant::now();
    let start = begin + args.warm_up;
    let window = Window { start, end: start + args.duration };
    deliveries.measure(window);
    let schedule = Arc::new(Schedule::new(args.rate, begin, window.end));
    let request =
        v1::SendMessageRequest { to: args.recipient.clone(), text: args.text.clone(), ..Default::default() };
    let load = Load {
        senders: target.senders.clone(),
        by: args.by,
        batch: args.batch as usize,
        in_flight: args.concurrency as usize,
        request,
        schedule,
        deliveries: deliveries.clone(),
        window,
    };
    let progress = progress::show(load.deliveries.clone(), begin, window.end);
    let running = tokio::spawn(load.run());
    let reading = reads.map(|reads| tokio::spawn(reads.run(begin, window)));
    let watch = async {
        match &mut soak {
            Some(soak) => soak.watch(target, window, args.sample_every).await,
            None => Ok(()),
        }
    };
    let (usage, watched) = tokio::join!(Usage::between(target, window, args.bare_postgres.as_deref()), watch);
    watched?;
    let outcome = running.await.context("the load failed")?;
    if let Some(servers) = &mut target.servers {
        servers.start_worker().await?;
    }
    let reads = match reading {
        Some(reading) => Some(reading.await.context("the reads failed")?),
        None => None,
    };
    let drained = deliveries.drain().await;
    progress.abort();
    drop(listening);
    if outcome.accepted_in_all() == 0 {
        let why = outcome.first_error.map(anyhow::Error::from).unwrap_or_else(|| anyhow!("nothing was sent"));
        return Err(Failed::new(1, why.context("no message was accepted")));
    }
    let mut summary =
        Summary::new(args, target.listeners.len(), &outcome, &deliveries, drained, reads, usage);
    if let Some(soak) = soak {
        summary.soak = Some(soak.judge(target).await?);
    }
    Ok(summary)
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
