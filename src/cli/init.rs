//! `herald init`: what a new installation needs before its first call.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use delivery::model::{ApiKey, Scope};
use delivery::port::{RateRow, Store};
use message::id::ClientId;

use super::exit::{CONFIGURATION, Failed};
use crate::auth::key::IssuedKey;
use crate::config::Config;
use crate::grpc::convert;
use crate::grpc::trail::{Author, Deed};
use crate::proto_json::{proto_json, proto_json_list};
use crate::{engines, secrets};

/// Arguments of `herald init`.
#[derive(clap::Args)]
pub struct Args {
    /// The configuration file (TOML).
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where the operator key is written, readable by its owner only.
    #[arg(long, default_value = "admin.key")]
    key_file: PathBuf,
    /// The price of a part, in micros of `--currency`, to every recipient without a rate of its own.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
    part_price_micros: i64,
    /// ISO 4217.
    #[arg(long, default_value = "USD")]
    currency: String,
    /// Where there is an operator key already, bring the schema up to date and succeed.
    #[arg(long)]
    if_needed: bool,
}

pub async fn run(args: Args) -> Result<(), Failed> {
    let config = Config::read(args.config.as_deref()).map_err(|error| Failed::new(CONFIGURATION, error))?;
    let store = engines::open_store(&config).await?;
    store.migrate().await.map_err(anyhow::Error::from)?;
    let pepper = secrets::pepper(&config.pepper_file, true)?;
    if store.has_operator_key().await.map_err(anyhow::Error::from)? {
        if args.if_needed {
            println!("this installation has an operator key already");
            return Ok(());
        }
        return Err(anyhow::anyhow!("this installation has an operator key already").into());
    }
    put_default_rate(store.as_ref(), &args.currency, args.part_price_micros).await?;
    let key = NewKey { client: None, is_sandbox: false, name: "first operator", scopes: &[Scope::Admin] };
    issue_key(store.as_ref(), &pepper, config.key_cost, key, &args.key_file).await?;
    println!("operator key in {}", args.key_file.display());
    Ok(())
}

/// Sets the rate for every recipient that has none of its own.
pub async fn put_default_rate(store: &dyn Store, currency: &str, micros: i64) -> anyhow::Result<()> {
    if !ledger::is_currency(currency) {
        bail!("{currency:?} is not an ISO 4217 code");
    }
    let rate = RateRow { currency: currency.to_owned(), prefix: String::new(), part_price_micros: micros };
    let deed = Deed::new("AdminService.SetRates", None)
        .change("", proto_json_list([convert::rate::rate(&rate)]))
        .note("set up");
    let entry = Author::server().entry(store.now().await?, deed);
    store.put_rates(&[rate], &entry).await.context("cannot write the rate")
}

/// A key to make.
pub struct NewKey<'a> {
    pub client: Option<ClientId>,
    pub is_sandbox: bool,
    pub name: &'a str,
    pub scopes: &'a [Scope],
}

/// Makes a key and writes it to a new file of mode 0600; the store keeps a hash.
pub async fn issue_key(
    store: &dyn Store,
    pepper: &[u8; 32],
    cost: u32,
    new: NewKey<'_>,
    file: &Path,
) -> anyhow::Result<()> {
    let issued = IssuedKey::generate(new.is_sandbox, &mut rand::rng());
    let now = store.now().await?;
    let row = ApiKey {
        id: issued.id.clone(),
        client: new.client,
        name: new.name.to_owned(),
        scopes: new.scopes.to_vec(),
        secret_hash: issued.hash(cost)?,
        fingerprint: issued.fingerprint(pepper).to_vec(),
        created_at: now,
        expire_at: None,
        revoked_at: None,
        last_used_at: None,
        allowed_ranges: Vec::new(),
    };
    let deed = Deed::new("AdminService.CreateApiKey", new.client)
        .target(&row.id)
        .change("", proto_json(&convert::key::api_key(&row)))
        .note("set up");
    let entry = Author::server().entry(now, deed);
    // The file first: a key that nobody can read is worse than a file without a key.
    secrets::create(file, issued.whole.expose())?;
    if let Err(error) = store.create_api_key(&row, &entry).await {
        let _ = std::fs::remove_file(file);
        return Err(error).context("cannot store the key");
    }
    Ok(())
}
