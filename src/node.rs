//! A running server: assembles the use cases with their adapters, runs them, and ends them in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use delivery::accept::gate::read_rates;
use delivery::accept::{Acceptor, Gate, Ports};
use delivery::change::Mover;
use delivery::dispatch::Dispatcher;
use delivery::lane::Lanes;
use delivery::port::{Bell, Limiter, Queue, Store};
use delivery::retention::{self, Archive};
use delivery::watch::Hub;
use delivery::{inbox, reconcile, sweep};
use memory::{MemoryBell, MemoryLimiter, MemoryQueue};
use message::parts::ReferenceBits;
use provider::Provider;
use provider_simulator::{Journal, RemoteSimulator, Simulator};
use rand::RngCore;
use routing::route::{ProviderEntry, ProviderKind};
use store_postgres::PostgresStore;
use store_sqlite::SqliteStore;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic_health::server::HealthReporter;
use tower::ServiceBuilder;

use crate::app::{App, ProviderAccount};
use crate::archive::FileArchive;
use crate::auth::{Authenticator, Strangers};
use crate::config::{Config, StoreKind};
use crate::grpc::places::StreamPlaces;
use crate::token::Tokens;
use crate::{grpc, layers, listener, metrics, secrets};

/// The name of the one provider.
const PROVIDER: &str = "simulator";
/// Ids that the in-process queue holds.
const QUEUE_CAPACITY: usize = 1_000_000;
/// How long unary calls, then workers, may take to end.
const DRAIN: Duration = Duration::from_secs(10);
/// How often new rates come into force.
const RATES_REFRESH: Duration = Duration::from_secs(30);

/// How often the store is probed for health checks, and how long it may take to answer.
const PROBE: Duration = Duration::from_secs(5);
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// A started server.
pub struct Node {
    pub address: SocketAddr,
    pub metrics_address: Option<SocketAddr>,
    pub app: Arc<App>,
    api_stop: CancellationToken,
    work_stop: CancellationToken,
    api: JoinSet<(&'static str, anyhow::Result<()>)>,
    work: JoinSet<(&'static str, anyhow::Result<()>)>,
}

/// Opens the store that the settings name, without migrating it.
pub async fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match config.store()? {
        StoreKind::Sqlite(path) => Arc::new(
            SqliteStore::open(&path, store_sqlite::Clock::Database)
                .await
                .context("cannot open the SQLite store")?,
        ),
        StoreKind::Postgres(url) => {
            let options = store_postgres::PoolOptions {
                max_connections: config.store_connections,
                ..store_postgres::PoolOptions::default()
            };
            let store = PostgresStore::connect(url.expose(), options, store_postgres::Clock::Database)
                .await
                .context("cannot connect to PostgreSQL")?;
            Arc::new(store)
        }
    })
}

async fn open_provider(config: &Config) -> anyhow::Result<Arc<dyn Provider>> {
    let simulator = &config.simulator;
    Ok(match simulator.address {
        Some(address) => Arc::new(RemoteSimulator::new(provider_simulator::RemoteConfig {
            window: simulator.window,
            answer_timeout: Duration::from_millis(simulator.answer_timeout_ms),
            ..provider_simulator::RemoteConfig::new(PROVIDER, address.to_string())
        })),
        None => Arc::new(
            Simulator::open(provider_simulator::Config {
                name: PROVIDER.to_owned(),
                seed: simulator.seed,
                time_scale: simulator.time_scale,
                journal: simulator.journal.clone().map(unsynced),
                window: simulator.window,
                answer_timeout: Duration::from_millis(simulator.answer_timeout_ms),
                ..provider_simulator::Config::default()
            })
            .await
            .context("cannot open the simulator's journal")?,
        ),
    })
}

/// What a simulator in this process owes need not survive the loss of power, and its fsyncs would be the store's.
fn unsynced(path: PathBuf) -> Journal {
    Journal { synced: false, ..Journal::new(path) }
}

impl Node {
    /// Starts everything. The API answers when this returns.
    pub async fn start(config: &Config, store: Arc<dyn Store>, mode: &'static str) -> anyhow::Result<Self> {
        let pepper = secrets::pepper(&config.pepper_file, false)?;
        let timing = Arc::new(config.timing());
        let provider = open_provider(config).await?;
        let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(QUEUE_CAPACITY));
        let bell: Arc<dyn Bell> = Arc::new(MemoryBell::new());
        let limiter: Arc<dyn Limiter> = Arc::new(MemoryLimiter::new());
        let mover = Mover {
            store: store.clone(),
            queue: queue.clone(),
            bell: bell.clone(),
            timing: timing.clone(),
            lanes: Lanes::of(provider.name()),
            provider: provider.name().into(),
        };
        let (api_stop, work_stop) = (CancellationToken::new(), CancellationToken::new());
        let app = app(config, &mover, provider.as_ref(), limiter, pepper, mode, &work_stop).await?;

        let mut work = JoinSet::new();
        let archive = config.archive_dir.as_deref().map(|folder| FileArchive::open(folder, store.clone()));
        let archive = archive.transpose()?.map(|archive| Arc::new(archive) as Arc<dyn Archive>);
        spawn_work(&mut work, &mover, provider, &app, archive, &work_stop);

        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        let address = listener.local_addr()?;
        let mut api = JoinSet::new();
        serve_api(&mut api, listener, config, &app, &api_stop)?;
        let metrics_address = match config.metrics_listen {
            Some(listen) => Some(metrics::serve(&mut api, listen, &api_stop).await?),
            None => None,
        };
        Ok(Self { address, metrics_address, app, api_stop, work_stop, api, work })
    }

    /// Waits for `stop`, or for a part that ends by itself, which is an error. Then drains and returns.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let ended = tokio::select! {
            () = stop => Ok(()),
            ended = self.work.join_next() => early_end(ended),
            ended = self.api.join_next() => early_end(ended),
        };
        self.drain().await;
        ended
    }

    /// Health says NOT_SERVING and streams end, unary calls finish, workers finish; what is not done by its limit
    /// is left as a kill would leave it.
    async fn drain(&mut self) {
        self.app.streams_end.cancel();
        self.api_stop.cancel();
        join_all("API", &mut self.api).await;
        self.work_stop.cancel();
        join_all("work", &mut self.work).await;
    }
}

async fn app(
    config: &Config,
    mover: &Mover,
    provider: &dyn Provider,
    limiter: Arc<dyn Limiter>,
    pepper: [u8; 32],
    mode: &'static str,
    work_stop: &CancellationToken,
) -> anyhow::Result<Arc<App>> {
    let store = mover.store.clone();
    let mut fresh = [0; 32];
    rand::rng().fill_bytes(&mut fresh);
    let secret = store.secret("tokens", fresh).await?;
    let tokens = Tokens::new(secret, store.log_epoch().await?);
    let ports = Ports {
        store: store.clone(),
        queue: mover.queue.clone(),
        bell: mover.bell.clone(),
        timing: mover.timing.clone(),
        lanes: mover.lanes.clone(),
    };
    // SQLite has one writer; PostgreSQL gains from a second transaction while the first commits.
    let writers = if matches!(config.store()?, StoreKind::Sqlite(_)) { 1 } else { 2 };
    let acceptor = Acceptor::start(&ports, writers, work_stop);
    let rates = read_rates(store.as_ref()).await?;
    let providers = vec![ProviderEntry::new(mover.provider.as_ref(), ProviderKind::Simulator)];
    let bits = if config.reference_bits == 16 { ReferenceBits::Sixteen } else { ReferenceBits::Eight };
    let gate = Gate::new(store.clone(), limiter, acceptor, rates, providers, bits);
    let limits = &config.limits;
    let strangers = Arc::new(Strangers::new(limits.anonymous_per_second, limits.anonymous_burst));
    Ok(Arc::new(App {
        bell: mover.bell.clone(),
        gate,
        mover: mover.clone(),
        providers: vec![ProviderAccount {
            name: provider.name().to_owned(),
            kind: "simulator",
            window: provider.window(),
            health: Arc::default(),
        }],
        reports_arrived: Arc::default(),
        hub: Hub::new(store.clone()),
        timing: mover.timing.clone(),
        authenticator: Arc::new(Authenticator::new(store.clone(), pepper, config.key_cost, strangers)),
        key_usage: Arc::default(),
        places: StreamPlaces::new(limits.streams_per_key),
        tokens,
        mode,
        streams_end: CancellationToken::new(),
        heartbeat: Duration::from_millis(config.heartbeat_ms),
        store,
    }))
}

fn spawn_work(
    work: &mut JoinSet<(&'static str, anyhow::Result<()>)>,
    mover: &Mover,
    provider: Arc<dyn Provider>,
    app: &Arc<App>,
    archive: Option<Arc<dyn Archive>>,
    stop: &CancellationToken,
) {
    let arrived = app.reports_arrived.clone();
    let mut spawn = |name: &'static str, part: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        work.spawn(async move {
            part.await;
            (name, Ok(()))
        });
    };
    let health = app.providers.first().map(|account| account.health.clone()).unwrap_or_default();
    let dispatcher = Dispatcher::new(mover.clone(), provider.clone(), health, arrived.clone());
    spawn("dispatcher", Box::pin(dispatcher.run(stop.clone())));
    spawn("inbox", Box::pin(inbox::receive(mover.clone(), provider, arrived.clone(), stop.clone())));
    spawn("reports", Box::pin(inbox::apply(mover.clone(), arrived.clone(), stop.clone())));
    spawn("sweeper", Box::pin(sweep::run(mover.clone(), arrived, stop.clone())));
    spawn("hub", Box::pin(app.hub.clone().run(mover.bell.clone(), mover.timing.clone(), stop.clone())));
    spawn("reconciler", Box::pin(reconcile::run(mover.store.clone(), mover.timing.clone(), stop.clone())));
    let kept = retention::run(mover.store.clone(), archive, mover.timing.clone(), stop.clone());
    spawn("retention", Box::pin(kept));
    spawn("key usage", Box::pin(app.key_usage.clone().run(mover.store.clone(), stop.clone())));
    spawn("rates", Box::pin(refresh_rates(app.clone(), stop.clone())));
    spawn("backlog", Box::pin(sweep::restock(mover.clone(), stop.clone())));
}

async fn refresh_rates(app: Arc<App>, stop: CancellationToken) {
    loop {
        tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(RATES_REFRESH) => {} }
        match read_rates(app.store.as_ref()).await {
            Ok(rates) => app.gate.set_rates(rates),
            Err(error) => tracing::warn!(error = ?error, "the rates were not read; the old ones stay"),
        }
    }
}

fn serve_api(
    api: &mut JoinSet<(&'static str, anyhow::Result<()>)>,
    listener: TcpListener,
    config: &Config,
    app: &Arc<App>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let (health, routes) = grpc::routes(app.clone());
    let edge = layers::stack(app.authenticator.clone(), &config.limits.trusted_proxies);
    let service = ServiceBuilder::new().layer(edge).service(routes.prepare());
    let options = listener::Options {
        limits: config.listener.clone(),
        trusted_proxies: config.limits.trusted_proxies.clone(),
        tls: listener::acceptor(&config.tls)?,
    };
    let served = listener::serve(listener, service, options, stop.clone());
    api.spawn(async move {
        served.await;
        ("API", Ok(()))
    });
    let app = app.clone();
    api.spawn(async move {
        tell_health(&app, &health).await;
        ("health", Ok(()))
    });
    Ok(())
}

/// Keeps the answers to health checks true, and ends with NOT_SERVING when the server stops.
async fn tell_health(app: &App, health: &HealthReporter) {
    let mut was_serving = true;
    loop {
        tokio::select! {
            biased;
            () = app.streams_end.cancelled() => return grpc::set_serving(health, false).await,
            () = tokio::time::sleep(PROBE) => {}
        }
        let answered = tokio::time::timeout(PROBE_LIMIT, app.store.ping()).await;
        let is_serving = matches!(answered, Ok(Ok(())));
        if is_serving != was_serving {
            tracing::warn!(is_serving, "the store's answer to probes has changed");
            grpc::set_serving(health, is_serving).await;
            was_serving = is_serving;
        }
    }
}

fn early_end(
    ended: Option<Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>>,
) -> anyhow::Result<()> {
    match ended {
        Some(Ok((name, Ok(())))) => anyhow::bail!("the {name} ended by itself"),
        Some(Ok((name, Err(error)))) => Err(error.context(format!("the {name} failed"))),
        Some(Err(error)) => Err(anyhow::Error::from(error).context("a part of the server panicked")),
        None => anyhow::bail!("the server has no parts"),
    }
}

async fn join_all(what: &str, tasks: &mut JoinSet<(&'static str, anyhow::Result<()>)>) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, all).await.is_err() {
        tracing::warn!("{what} did not end within {} s and is cut", DRAIN.as_secs());
        tasks.abort_all();
    }
}
