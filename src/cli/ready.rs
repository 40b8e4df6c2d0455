//! `herald ready`: whether the node on this machine can do its work. For health checks of containers, which have no other
//! program to ask with.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::config::SettingsArgs;
use super::exit::{CONFIGURATION, Failed, UNAVAILABLE};

/// The whole question and its answer.
const LIMIT: Duration = Duration::from_secs(3);

/// Arguments of `herald ready`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
}

pub async fn run(args: Args) -> Result<(), Failed> {
    let config = args.settings.read()?.config;
    let Some(address) = config.metrics_listen else {
        return Err(Failed::new(
            CONFIGURATION,
            anyhow!("metrics_listen is not set, so there is nothing to ask"),
        ));
    };
    let unavailable = |error: anyhow::Error| Failed::new(UNAVAILABLE, error);
    let asked = tokio::time::timeout(LIMIT, ask(address)).await;
    let answer = asked.map_err(|_| unavailable(anyhow!("{address} does not answer")))?;
    let answer = answer.with_context(|| format!("cannot ask {address}")).map_err(unavailable)?;
    if answer.starts_with("HTTP/1.1 200 ") {
        println!("ready");
        return Ok(());
    }
    Err(unavailable(anyhow!("the node is not ready: what it needs is away, or it is about to end")))
}

async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(4_096).read_to_string(&mut answer).await?;
    Ok(answer)
}
