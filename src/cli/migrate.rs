//! `herald migrate`: brings the schema up to date, or says that the log has a new history.

use std::path::PathBuf;

use super::exit::{CONFIGURATION, Failed};
use crate::config::Config;
use crate::engines;

/// Arguments of `herald migrate`.
#[derive(clap::Args)]
pub struct Args {
    /// The configuration file (TOML).
    #[arg(long)]
    config: Option<PathBuf>,
    /// Only say which migrations are missing.
    #[arg(long)]
    status: bool,
    /// The database was restored, or promoted with a loss: refuse the resume tokens of before. Start no server meanwhile.
    #[arg(long, conflicts_with = "status")]
    new_epoch: bool,
}

pub async fn run(args: Args) -> Result<(), Failed> {
    let config = Config::read(args.config.as_deref()).map_err(|error| Failed::new(CONFIGURATION, error))?;
    let store = engines::open_store(&config).await?;
    if args.new_epoch {
        store.renew_log_epoch().await.map_err(anyhow::Error::from)?;
        println!("the log has a new epoch: resume tokens of before are refused");
        return Ok(());
    }
    let pending = store.pending_migrations().await.map_err(anyhow::Error::from)?;
    if pending.is_empty() {
        println!("the schema is up to date");
        return Ok(());
    }
    for name in &pending {
        println!("{} {name}", if args.status { "missing" } else { "applying" });
    }
    if !args.status {
        store.migrate().await.map_err(anyhow::Error::from)?;
        println!("the schema is up to date");
    }
    Ok(())
}
