//! Which server, with which key: flags, then the environment, then `./.herald`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use super::exit::Failed;
use crate::secrets;

/// Where `herald dev` leaves its keys.
const DEV_FOLDER: &str = ".herald";
/// Keeps these flags apart from those of a command.
const HEADING: &str = "Server and output";
/// Attempts of a call: somebody waits, so a server that is not there is told within about a second.
const ATTEMPTS: u32 = 5;
/// How long the first frame of a stream may take.
const FIRST_FRAME: Duration = Duration::from_secs(5);

/// Flags of every command that talks to a server.
#[derive(clap::Args)]
pub struct Global {
    /// The server, HOST:PORT.
    #[arg(long, global = true, help_heading = HEADING, env = "HERALD_ADDRESS", default_value = "127.0.0.1:7670")]
    pub address: String,
    /// The file with the API key; else HERALD_API_KEY, else .herald/client.key (.herald/admin.key where an
    /// operator key is needed).
    #[arg(long, global = true, help_heading = HEADING, env = "HERALD_API_KEY_FILE")]
    pub api_key_file: Option<PathBuf>,
    /// The client that an operator key acts for; for operators' verbs: the client that they are about.
    #[arg(long = "client", global = true, help_heading = HEADING, env = "HERALD_CLIENT_ID", value_name = "ID")]
    pub client_id: Option<String>,
    /// How results are printed.
    #[arg(long, short, global = true, help_heading = HEADING, value_enum, default_value = "table")]
    pub output: Output,
    /// The same as `-o json`.
    #[arg(long, global = true, help_heading = HEADING, conflicts_with = "output")]
    pub json: bool,
    /// Colours on standard output; NO_COLOR turns them off, too.
    #[arg(long, global = true, help_heading = HEADING, value_enum, default_value = "auto", value_name = "WHEN")]
    pub color: Color,
    /// How long a call may take, in seconds.
    #[arg(long, global = true, help_heading = HEADING, default_value_t = 30, value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    Table,
    Json,
    Jsonl,
}

/// When there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

impl Global {
    /// A client of the SDK with the caller's key.
    pub fn client(&self) -> Result<herald_sdk::Client, Failed> {
        // Only an operator acts for a client that is named.
        let file = if self.client_id.is_some() { "admin.key" } else { "client.key" };
        self.connect(self.api_key(file)?, self.client_id.clone())
    }

    /// A client of the SDK with an operator's key, which acts for nobody.
    pub fn operator(&self) -> Result<herald_sdk::Client, Failed> {
        self.connect(self.api_key("admin.key")?, None)
    }

    /// The client that an operator's verb is about; empty = none, or all.
    pub fn subject(&self) -> String {
        self.client_id.clone().unwrap_or_default()
    }

    fn connect(&self, key: String, client_id: Option<String>) -> Result<herald_sdk::Client, Failed> {
        let mut config = herald_sdk::Config::new(self.url(), key);
        config.timeout = Duration::from_secs(self.timeout);
        config.client_id = client_id;
        config.retry.max_attempts = ATTEMPTS;
        Ok(herald_sdk::Client::connect_lazy(config)?)
    }

    /// How long to wait for a stream's first frame.
    pub fn patience(&self) -> Duration {
        FIRST_FRAME.min(Duration::from_secs(self.timeout))
    }

    /// A bare channel, for calls that are known by reflection only.
    pub fn channel(&self) -> Result<Channel, Failed> {
        let endpoint = Endpoint::from_shared(self.url())
            .map_err(|_| Failed::new(2, anyhow!("{:?} is not HOST:PORT", self.address)))?;
        Ok(endpoint.connect_timeout(Duration::from_secs(5)).connect_lazy())
    }

    /// Adds the key, and whom it acts for.
    pub fn authorize(&self, metadata: &mut MetadataMap) -> Result<(), Failed> {
        let key = self.api_key("client.key")?;
        metadata.insert(
            "x-api-key",
            key.parse().map_err(|_| anyhow!("the API key has characters that no key has"))?,
        );
        if let Some(client) = &self.client_id {
            let client = client.parse().map_err(|_| anyhow!("--client is not an id"))?;
            metadata.insert("herald-client-id", client);
        }
        Ok(())
    }

    pub fn url(&self) -> String {
        if self.address.contains("://") { self.address.clone() } else { format!("http://{}", self.address) }
    }

    pub fn api_key(&self, dev_file: &str) -> Result<String, Failed> {
        if let Some(file) = &self.api_key_file {
            return Ok(secrets::read(file)?);
        }
        if let Ok(key) = std::env::var("HERALD_API_KEY") {
            return Ok(key);
        }
        let file = Path::new(DEV_FOLDER).join(dev_file);
        let key = secrets::read(&file).context(
            "there is no API key: give --api-key-file or HERALD_API_KEY, or run this where `herald dev` runs",
        );
        key.map_err(|error| Failed::new(4, error))
    }
}
