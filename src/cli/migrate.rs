//! `herald migrate`: brings the schema up to date, or says that the log has a new history.

use std::path::PathBuf;

use delivery::port::Schema;

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
    let schema = store.schema().await.map_err(anyhow::Error::from)?;
    refuse_altered(&schema)?;
    for name in &schema.later {
        println!("of a later version {name}");
    }
    for name in &schema.missing {
        println!("{} {name}", if args.status { "missing" } else { "applying" });
    }
    if !args.status && !schema.missing.is_empty() {
        store.migrate().await.map_err(anyhow::Error::from)?;
    } else if !schema.missing.is_empty() {
        return Ok(());
    }
    println!("the schema is up to date");
    Ok(())
}

/// Tables that nobody knows must not be written to.
pub fn refuse_altered(schema: &Schema) -> Result<(), Failed> {
    if schema.altered.is_empty() {
        return Ok(());
    }
    let names = schema.altered.join(", ");
    let error = anyhow::anyhow!("the database was made by an unreleased version, with another {names}");
    Err(Failed::new(CONFIGURATION, error))
}
