//! The process's log: one line an event, JSON for machines, plain for a terminal.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Json,
    Plain,
}

/// Any peer can make the HTTP/2 library warn, as often as it likes. `HERALD_LOG` may ask for it all the same.
const QUIET: &str = "h2=error";

/// Starts logging to standard error, at the level in `HERALD_LOG` or `default`.
pub fn start(format: Format, default: &str) {
    let wanted = std::env::var("HERALD_LOG").unwrap_or_default();
    let filter = EnvFilter::try_new(format!("{QUIET},{wanted}")).ok().filter(|_| !wanted.is_empty());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(format!("{QUIET},{default}")));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start (in tests) keeps the first.
    let _ = match format {
        Format::Json => log.json().flatten_event(true).try_init(),
        Format::Plain => log.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
    };
}
