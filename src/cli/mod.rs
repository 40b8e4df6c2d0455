//! The command line. Exit codes: 0 ok, 1 failed, 2 usage, 3 refused, 4 auth, 5 not found, 6 throttled,
//! 7 unavailable or deadline, 10 message ended undelivered, 64 bad configuration.

mod audit;
mod balance;
mod bench;
mod call;
mod choice;
mod client;
mod completions;
mod config;
mod connect;
mod dead_letters;
mod dev;
mod exit;
mod init;
mod key;
mod ledger;
mod log;
mod messages;
mod migrate;
mod output;
mod page;
mod parse;
mod preview;
mod provider_key;
mod providers;
mod quote;
mod rate;
mod ready;
mod retention;
mod secret;
mod send;
mod serve;
mod simulator;
mod statement;
mod topup;
mod unmatched_reports;
mod watch;
mod whoami;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use connect::{Global, Output};
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
    /// Ask the server on this machine whether it can do its work. Exit code 7: it cannot.
    Ready(ready::Args),
    /// Bring the database's schema up to date.
    Migrate(migrate::Args),
    /// Make the pepper file, the default rate and the first operator key.
    Init(init::Args),
    /// Send one SMS, or a file of them.
    Send(Box<send::Args>),
    /// Watch delivery reports (or all events) live.
    Watch(watch::Args),
    /// List, show or cancel messages.
    #[command(subcommand)]
    Messages(messages::Command),
    /// Show how a text would be sent, and what it would cost.
    Preview(preview::Args),
    /// Price a campaign, and tell whether the credit covers it.
    Quote(quote::Args),
    /// Show the balance, now or live, or its transactions.
    Balance(balance::Args),
    /// Sum up a period: balances at its ends, movements between.
    Statement(statement::Args),
    /// Show what the key is and whom it belongs to.
    Whoami,
    /// Add prepaid credit to a client (operator keys only).
    Topup(topup::Args),
    /// Correct a client's credit, up or down (operator keys only).
    Adjust(topup::AdjustArgs),
    /// Make, list, change, suspend or resume clients (operator keys only).
    #[command(subcommand)]
    Client(client::Command),
    /// Make, list, rotate or revoke API keys (operator keys only).
    #[command(subcommand)]
    Key(key::Command),
    /// List, set, delete or import prices (operator keys only).
    #[command(subcommand)]
    Rate(rate::Command),
    /// List messages that ended by exhaustion, or send them again (operator keys only).
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    /// Show how the providers do (operator keys only).
    Providers,
    /// Make, list or revoke providers' credentials (operator keys only).
    #[command(subcommand)]
    ProviderKey(provider_key::Command),
    /// List provider reports that match no message (operator keys only).
    UnmatchedReports(unmatched_reports::Args),
    /// List what operators did (operator keys only).
    Audit(audit::Args),
    /// Check the books (operator keys only).
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Show or set how long things are kept (operator keys only).
    #[command(subcommand)]
    Retention(retention::Command),
    /// Check or show a server's settings.
    #[command(subcommand)]
    Config(config::Command),
    /// Print what a shell needs to complete this command line.
    Completions(completions::Args),
    /// Call any method by reflection, with a JSON request.
    Call(call::Args),
    /// Generate load and report rates and latencies.
    Bench(bench::Args),
    /// Run the provider simulator as its own process.
    Simulator(simulator::Args),
}

/// Runs the command line to its exit code.
pub fn run() -> ExitCode {
    let mut cli = Cli::parse();
    if cli.global.json {
        cli.global.output = Output::Json;
    }
    output::choose_colour(cli.global.color);
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
        Command::Ready(args) => ready::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Init(args) => init::run(args).await,
        Command::Send(args) => send::run(global, *args).await,
        Command::Watch(args) => watch::run(global, args).await,
        Command::Messages(command) => messages::run(global, command).await,
        Command::Preview(args) => preview::run(global, args).await,
        Command::Quote(args) => quote::run(global, args).await,
        Command::Balance(args) => balance::run(global, args).await,
        Command::Statement(args) => statement::run(global, args).await,
        Command::Whoami => whoami::run(global).await,
        Command::Topup(args) => topup::run(global, args).await,
        Command::Adjust(args) => topup::run_adjust(global, args).await,
        Command::Client(command) => client::run(global, command).await,
        Command::Key(command) => key::run(global, command).await,
        Command::Rate(command) => rate::run(global, command).await,
        Command::DeadLetters(command) => dead_letters::run(global, command).await,
        Command::Providers => providers::run(global).await,
        Command::ProviderKey(command) => provider_key::run(global, command).await,
        Command::UnmatchedReports(args) => unmatched_reports::run(global, args).await,
        Command::Audit(args) => audit::run(global, args).await,
        Command::Ledger(command) => ledger::run(global, command).await,
        Command::Retention(command) => retention::run(global, command).await,
        Command::Config(command) => config::run(global, command),
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::Call(args) => call::run(global, args).await,
        Command::Bench(args) => bench::run(global, args).await,
        Command::Simulator(args) => simulator::run(args).await,
    }
}
