//! `herald serve`: the server on the configured store.

use super::config::SettingsArgs;
use super::exit::{CONFIGURATION, Failed};
use super::log;
use super::migrate::refuse_altered;
use crate::engines;
use crate::node::{Node, Served};

/// Arguments of `herald serve`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// How log lines look.
    #[arg(long, value_enum, default_value = "json")]
    log_format: log::Format,
}

pub async fn run(args: Args) -> Result<(), Failed> {
    log::start(args.log_format, "info");
    let config = args.settings.read()?.config;
    let store = engines::open_store(&config).await?;
    let schema = store.schema().await.map_err(anyhow::Error::from)?;
    refuse_altered(&schema)?;
    if !schema.missing.is_empty() {
        let count = schema.missing.len();
        let error = anyhow::anyhow!("the database lacks {count} migrations; run `herald migrate` first");
        return Err(Failed::new(CONFIGURATION, error));
    }
    if !schema.later.is_empty() {
        tracing::warn!("a later version has changed the schema: {}", schema.later.join(", "));
    }
    let node = Node::start(&config, store, "production").await?;
    let version = env!("CARGO_PKG_VERSION");
    match &node.served {
        Some(Served { address, .. }) => tracing::info!(%address, "herald {version} serves on {address}"),
        None => tracing::info!("herald {version} works"),
    }
    #[cfg(feature = "faults")]
    tracing::warn!("this build can be made to fail (FAULTS): it is for tests alone");
    node.run(shutdown_signal()).await?;
    tracing::info!("herald has ended");
    Ok(())
}

/// Waits for SIGINT or SIGTERM.
pub async fn shutdown_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::error!(%error, "cannot listen for SIGTERM");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => if let Err(error) = interrupted {
            tracing::error!(%error, "cannot listen for SIGINT");
        },
    }
}
