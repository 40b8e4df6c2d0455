//! The server that is measured: a running one, or one started for the purpose.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use herald_sdk::{Client, Config, v1};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::cli::connect::Global;
use crate::cli::exit::Failed;

/// How long the server may take to start.
const START: Duration = Duration::from_secs(30);
/// More credit than any run spends.
const CREDIT_MICROS: i64 = 1_000_000_000_000;

/// Whom to load, with which key.
pub struct Target {
    pub url: String,
    pub key: String,
    pub client_id: Option<String>,
    pub server: Option<Server>,
}

/// A server that lives as long as the measurement.
pub struct Server {
    child: Child,
    folder: PathBuf,
    pub process: u32,
    pub metrics: Option<SocketAddr>,
}

/// What `herald dev --json` prints when it is ready.
#[derive(Deserialize)]
struct Ready {
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    client_id: String,
    api_key: String,
    admin_key: String,
}

impl Target {
    /// The server of the command line.
    pub fn running(global: &Global) -> Result<Self, Failed> {
        let key = global.api_key("client.key")?;
        Ok(Self { url: global.url(), key, client_id: global.client_id.clone(), server: None })
    }

    /// `herald dev` in real time on a new folder within `parent`, with credit that does not end.
    pub async fn embedded(parent: &Path, seed: u64) -> anyhow::Result<Self> {
        let mut server = Server::spawn(parent, seed)?;
        match server.get_ready().await {
            Ok((url, key)) => Ok(Self { url, key, client_id: None, server: Some(server) }),
            Err(error) => {
                server.stop().await;
                Err(error)
            }
        }
    }

    /// Ends the server, if it is ours.
    pub async fn stop(self) {
        if let Some(server) = self.server {
            server.stop().await;
        }
    }
}

impl Server {
    fn spawn(parent: &Path, seed: u64) -> anyhow::Result<Self> {
        let folder = parent.join(format!(".herald-bench-{}", std::process::id()));
        if folder.exists() {
            bail!("{} exists", folder.display());
        }
        let program = std::env::current_exe().context("cannot find this program")?;
        let child = Command::new(program)
            .args([
                "dev",
                "--json",
                "--time-scale",
                "1",
                "--listen",
                "127.0.0.1:0",
                "--metrics-listen",
                "127.0.0.1:0",
            ])
            .args(["--seed", &seed.to_string(), "--data-dir"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let process = child.id().context("the server ended at once")?;
        Ok(Self { child, folder, process, metrics: None })
    }

    /// Waits until it serves, and gives its client credit. Answers its URL and the client's key.
    async fn get_ready(&mut self) -> anyhow::Result<(String, String)> {
        let ready = ready(&mut self.child).await?;
        self.metrics = ready.metrics_address;
        let url = format!("http://{}", ready.address);
        give_credit(&url, &ready).await.context("cannot give the client credit")?;
        Ok((url, ready.api_key))
    }

    /// Ends it and removes its data. There is nothing to drain.
    async fn stop(mut self) {
        if let Err(error) = self.child.kill().await {
            eprintln!("the server did not end: {error}");
        }
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("{} was not removed: {error}", self.folder.display());
        }
    }
}

async fn ready(child: &mut Child) -> anyhow::Result<Ready> {
    let out = child.stdout.take().context("its output is not piped")?;
    let mut lines = BufReader::new(out).lines();
    let line = tokio::time::timeout(START, lines.next_line()).await.context("it does not get ready")??;
    let line = line.context("it ended before it was ready")?;
    serde_json::from_str(&line).context("it printed something else than its address")
}

async fn give_credit(url: &str, ready: &Ready) -> anyhow::Result<()> {
    let operator = Client::connect_lazy(Config::new(url, ready.admin_key.as_str()))?;
    let request = v1::TopUpRequest {
        client_id: ready.client_id.clone(),
        amount_micros: CREDIT_MICROS,
        ..Default::default()
    };
    operator.top_up(request).await?;
    Ok(())
}
