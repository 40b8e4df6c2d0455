//! The command line. Exit codes: 0 ok, 1 failed, 2 usage, 3 refused, 4 auth, 5 not found, 6 throttled,
//! 7 unavailable or deadline, 10 message ended undelivered, 64 bad configuration.

mod balance;
mod bench;
mod call;
mod connect;
mod dev;
mod exit;
mod init;
mod log;
mod messages;
mod migrate;
mod output;
mod send;
mod serve;
mod simulator;
mod topup;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use connect::Global;
use exit::Failed;

/// Herald, a gRPC-first SMS gateway.
#[derive(Parser)]
#[command(name = "herald", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything in one process on SQLite, with a simulated provider: no real SMS is sent.
    Dev(dev::Args),
    /// Run the server.
    Serve(serve::Args),
    /// Bring the database's schema up to date.
    Migrate(migrate::Args),
    /// Make the pepper file, the default rate and the first operator key.
    Init(init::Args),
    /// Send one SMS.
    Send(send::Args),
    /// Watch delivery reports (or all events) live.
    Watch(watch::Args),
    /// List or show messages.
    #[command(subcommand)]
    Messages(messages::Command),
    /// Show the balance and its transactions.
    Balance(balance::Args),
    /// Add prepaid credit to a client (operator keys only).
    Topup(topup::Args),
    /// Call any method by reflection, with a JSON request.
    Call(call::Args),
    /// Generate load and report rates and latencies.
    Bench(bench::Args),
    /// Run the provider simulator as its own process.
    Simulator(simulator::Args),
}

/// Runs the command line to its exit code.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failed::from(anyhow::Error::from(error)).tell(),
    };
    let done = runtime.block_on(dispatch(cli));
    // What still runs on blocking threads (a bcrypt, a read of standard input) must not hold up the exit.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => failed.tell(),
    }
}

async fn dispatch(cli: Cli) -> Result<(), Failed> {
    let global = &cli.global;
    match cli.command {
        Command::Dev(args) => dev::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Init(args) => init::run(args).await,
        Command::Send(args) => send::run(global, args).await,
        Command::Watch(args) => watch::run(global, args).await,
        Command::Messages(command) => messages::run(global, command).await,
        Command::Balance(args) => balance::run(global, args).await,
        Command::Topup(args) => topup::run(global, args).await,
        Command::Call(args) => call::run(global, args).await,
        Command::Bench(args) => bench::run(global, args).await,
        Command::Simulator(args) => simulator::run(args).await,
    }
}
