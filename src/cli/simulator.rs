//! `herald simulator`: the provider simulator as its own process.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use provider_simulator::Journal;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::exit::Failed;
use super::log;
use super::serve::shutdown_signal;

/// Arguments of `herald simulator`.
#[derive(clap::Args)]
pub struct Args {
    /// Where it listens; port 0 = any free one.
    #[arg(long, default_value = "127.0.0.1:7680")]
    listen: SocketAddr,
    /// The log of every submission it saw and every report it owes. It outlives a restart.
    #[arg(long, default_value = "simulator.log")]
    log: PathBuf,
    /// Decides latencies and outcomes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Delays run this much faster.
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
    /// The part of submissions that is taken but never answered, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Reports name this simulator's own reference only, and not the one that came with the submission.
    #[arg(long)]
    no_echo: bool,
}

pub async fn run(args: Args) -> Result<(), Failed> {
    log::start(log::Format::Json, "info");
    if !(0.0..=1.0).contains(&args.loss) || args.time_scale.is_nan() || args.time_scale <= 0.0 {
        return Err(Failed::new(2, anyhow::anyhow!("--loss must be 0 to 1 and --time-scale above 0")));
    }
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    // The first line on standard output is for the program that started this one.
    println!("{{\"address\": \"{}\"}}", listener.local_addr()?);
    let config = provider_simulator::Config {
        seed: args.seed,
        time_scale: args.time_scale,
        loss: args.loss,
        journal: Some(Journal::witness(args.log)),
        echo: !args.no_echo,
        ..provider_simulator::Config::default()
    };
    let stop = CancellationToken::new();
    let server = provider_simulator::serve(listener, config, stop.clone());
    tokio::select! {
        served = server => served.context("the simulator failed")?,
        () = shutdown_signal() => stop.cancel(),
    }
    Ok(())
}
