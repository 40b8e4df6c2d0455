//! A running server: assembles the use cases with their adapters by its roles, runs them, and ends them in order.

mod api;
mod readiness;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use delivery::change::Mover;
use delivery::inbox;
use delivery::lane::Lanes;
use delivery::port::Store;
use delivery::writer::Writer;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

pub use api::Served;

use crate::app::{ProviderAccount, Shared};
use crate::config::Config;
use crate::{engines, metrics};

/// The name of the one provider.
const PROVIDER: &str = "simulator";
/// How long unary calls, then workers, may take to end.
const DRAIN: Duration = Duration::from_secs(10);

/// A started server.
pub struct Node {
    /// `None` = it is a worker only.
    pub served: Option<Served>,
    pub metrics_address: Option<SocketAddr>,
    /// Ends first: what takes calls.
    api: Tasks,
    /// Ends when no call needs it any more.
    work: Tasks,
}

/// Parts of the server that run until their token is canceled. One that ends before is an error.
struct Tasks {
    stop: CancellationToken,
    running: JoinSet<(&'static str, anyhow::Result<()>)>,
}

impl Node {
    /// Starts everything that the node's roles need. The API answers when this returns.
    pub async fn start(config: &Config, store: Arc<dyn Store>, mode: &'static str) -> anyhow::Result<Self> {
        let engines = engines::open(config, store.as_ref()).await?;
        let mover = Mover {
            store: store.clone(),
            queue: engines.queue.clone(),
            bell: engines.bell.clone(),
            timing: Arc::new(config.timing()),
            lanes: Lanes::of(PROVIDER),
            provider: PROVIDER.into(),
        };
        let provider = ProviderAccount {
            name: PROVIDER.to_owned(),
            kind: "simulator",
            window: config.simulator.window,
            health: Arc::default(),
        };
        let writer = Writer::start(mover.clone());
        let shared = Shared { mover, provider, reports_arrived: Arc::default() };
        let (mut api, mut work) = (Tasks::new(), Tasks::new());
        let arrived = shared.reports_arrived.clone();
        let applied = inbox::apply(store.clone(), writer.clone(), arrived, work.stop.clone());
        work.spawn("reports", applied);
        if config.roles.is_worker() {
            worker::start(&mut work, config, &shared, writer).await?;
        }
        let (ready, is_ready) = watch::channel(true);
        let needs = readiness::Needs {
            store,
            queue_is_up: config.roles.is_worker().then(|| engines.queue_is_up.clone()),
        };
        api.spawn("readiness", readiness::watch(needs, ready, api.stop.clone()));
        let served = if config.roles.is_api() {
            let ready = is_ready.clone();
            Some(api::start(&mut api, &mut work, config, shared, &engines, ready, mode).await?)
        } else {
            None
        };
        let metrics_address = match config.metrics_listen {
            Some(listen) => {
                let page = metrics::open(listen, is_ready).await?;
                let address = page.address();
                // Probed and scraped until the last part has ended.
                work.try_spawn("metrics", page.serve(work.stop.clone()));
                Some(address)
            }
            None => None,
        };
        Ok(Self { served, metrics_address, api, work })
    }

    /// Waits for `stop`, or for a part that ends by itself, which is an error. Then drains and returns.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let ended = tokio::select! {
            () = stop => Ok(()),
            ended = self.work.running.join_next() => early_end(ended),
            ended = self.api.running.join_next() => early_end(ended),
        };
        self.drain().await;
        ended
    }

    /// Health says NOT_SERVING and streams end, unary calls finish, workers finish; what is not done by its limit
    /// is left as a kill would leave it.
    async fn drain(&mut self) {
        if let Some(served) = &self.served {
            served.app.streams_end.cancel();
        }
        self.api.end("API").await;
        self.work.end("work").await;
    }
}

impl Tasks {
    fn new() -> Self {
        Self { stop: CancellationToken::new(), running: JoinSet::new() }
    }

    fn spawn(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        self.try_spawn(name, async {
            part.await;
            Ok(())
        });
    }

    fn try_spawn(
        &mut self,
        name: &'static str,
        part: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.running.spawn(async move { (name, part.await) });
    }

    async fn end(&mut self, what: &str) {
        self.stop.cancel();
        let all = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, all).await.is_err() {
            tracing::warn!("{what} did not end within {} s and is cut", DRAIN.as_secs());
            self.running.abort_all();
        }
    }
}

fn early_end(ended: Option<Result<(&'static str, anyhow::Result<()>), JoinError>>) -> anyhow::Result<()> {
    match ended {
        Some(Ok((name, Ok(())))) => anyhow::bail!("the {name} ended by itself"),
        Some(Ok((name, Err(error)))) => Err(error.context(format!("the {name} failed"))),
        Some(Err(error)) => Err(anyhow::Error::from(error).context("a part of the server panicked")),
        None => anyhow::bail!("the server has no parts"),
    }
}
