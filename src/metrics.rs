//! What operators' tools ask of a node, on a listener of its own: `GET /metrics` in the Prometheus text format,
//! `/healthz` (it runs) and `/readyz` (it can do its work).

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often old samples are folded away.
const UPKEEP: Duration = Duration::from_secs(5);

/// The listener, open.
pub struct Page {
    listener: TcpListener,
    address: SocketAddr,
    handle: PrometheusHandle,
    ready: watch::Receiver<bool>,
}

/// Opens the listener and installs the recorder, once per process.
pub async fn open(listen: SocketAddr, ready: watch::Receiver<bool>) -> anyhow::Result<Page> {
    let handle =
        PrometheusBuilder::new().install_recorder().context("cannot install the metrics recorder")?;
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen} for metrics"))?;
    let address = listener.local_addr()?;
    Ok(Page { listener, address, handle, ready })
}

impl Page {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`.
    pub async fn serve(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { listener, handle, ready, .. } = self;
        let rendered = handle.clone();
        let routes = Router::new()
            .route("/metrics", get(async move || rendered.render()))
            .route("/healthz", get(async || "ok"))
            .route("/readyz", get(async move || readiness(*ready.borrow())));
        let serving = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
        let mut upkeep = tokio::time::interval(UPKEEP);
        let mut serving = std::pin::pin!(serving.into_future());
        loop {
            tokio::select! {
                served = &mut serving => return served.map_err(anyhow::Error::from),
                _ = upkeep.tick() => handle.run_upkeep(),
            }
        }
    }
}

fn readiness(is_ready: bool) -> (StatusCode, &'static str) {
    if is_ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") }
}
