//! The metrics endpoint: `GET /metrics` in the Prometheus text format, on a listener of its own.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often old samples are folded away.
const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the recorder, once per process, and answers scrapes until `stop`.
pub async fn serve(
    tasks: &mut JoinSet<(&'static str, anyhow::Result<()>)>,
    listen: SocketAddr,
    stop: &CancellationToken,
) -> anyhow::Result<SocketAddr> {
    let handle =
        PrometheusBuilder::new().install_recorder().context("cannot install the metrics recorder")?;
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen} for metrics"))?;
    let address = listener.local_addr()?;
    let rendered = handle.clone();
    let routes = Router::new().route("/metrics", get(move || async move { rendered.render() }));
    let stop = stop.clone();
    tasks.spawn(async move {
        let serving = axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
        let mut upkeep = tokio::time::interval(UPKEEP);
        let mut serving = std::pin::pin!(serving.into_future());
        loop {
            tokio::select! {
                served = &mut serving => return ("metrics", served.map_err(anyhow::Error::from)),
                _ = upkeep.tick() => handle.run_upkeep(),
            }
        }
    });
    Ok(address)
}
