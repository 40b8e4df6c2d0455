//! The API: takes calls, and feeds streams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use delivery::accept::gate::read_rates;
use delivery::accept::{Acceptor, Gate, Ports};
use delivery::watch::Hub;
use message::parts::ReferenceBits;
use rand::RngCore;
use routing::route::{ProviderEntry, ProviderKind};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::server::HealthReporter;
use tower::ServiceBuilder;

use super::Tasks;
use crate::app::{App, Shared};
use crate::auth::{Authenticator, Strangers};
use crate::config::{Config, StoreKind};
use crate::engines::Engines;
use crate::grpc::places::StreamPlaces;
use crate::token::Tokens;
use crate::{grpc, layers, listener, secrets};

/// How often new rates come into force.
const RATES_REFRESH: Duration = Duration::from_secs(30);

/// The API of a node.
pub struct Served {
    pub address: SocketAddr,
    pub app: Arc<App>,
}

/// Starts its parts: those that take calls end with the token of `api`, those behind them with that of `work`.
pub(super) async fn start(
    api: &mut Tasks,
    work: &mut Tasks,
    config: &Config,
    shared: Shared,
    engines: &Engines,
    ready: watch::Receiver<bool>,
    mode: &'static str,
) -> anyhow::Result<Served> {
    let app = app(config, shared, engines, mode, &work.stop).await?;
    let (hub, timing) = (app.hub.clone(), app.mover.timing.clone());
    work.spawn("hub", hub.run(engines.bell.clone(), timing, work.stop.clone()));
    work.spawn("key usage", app.key_usage.clone().run(app.store.clone(), work.stop.clone()));
    work.spawn("rates", refresh_rates(app.clone(), work.stop.clone()));
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    serve(api, listener, config, &app, ready)?;
    Ok(Served { address, app })
}

async fn app(
    config: &Config,
    shared: Shared,
    engines: &Engines,
    mode: &'static str,
    work_stop: &CancellationToken,
) -> anyhow::Result<Arc<App>> {
    let pepper = secrets::pepper(&config.pepper_file, false)?;
    let Shared { mover, .. } = &shared;
    let store = mover.store.clone();
    let mut fresh = [0; 32];
    rand::rng().fill_bytes(&mut fresh);
    let secret = store.secret("tokens", fresh).await?;
    let tokens = Tokens::new(secret, store.log_epoch().await?);
    let ports = Ports {
        store: store.clone(),
        queue: mover.queue.clone(),
        bell: mover.bell.clone(),
        limiter: engines.limiter.clone(),
        timing: mover.timing.clone(),
        lanes: mover.lanes.clone(),
    };
    // SQLite has one writer; PostgreSQL gains from a second transaction while the first commits.
    let writers = if matches!(config.store()?, StoreKind::Sqlite(_)) { 1 } else { 2 };
    let acceptor = Acceptor::start(&ports, writers, work_stop);
    let rates = read_rates(store.as_ref()).await?;
    let providers = vec![ProviderEntry::new(mover.provider.as_ref(), ProviderKind::Simulator)];
    let bits = if config.reference_bits == 16 { ReferenceBits::Sixteen } else { ReferenceBits::Eight };
    let gate = Gate::new(store.clone(), engines.limiter.clone(), acceptor, rates, providers, bits);
    let limits = &config.limits;
    let strangers = Arc::new(Strangers::new(limits.anonymous_per_second, limits.anonymous_burst));
    Ok(Arc::new(App {
        bell: mover.bell.clone(),
        gate,
        hub: Hub::new(store.clone()),
        timing: mover.timing.clone(),
        authenticator: Arc::new(Authenticator::new(store.clone(), pepper, config.key_cost, strangers)),
        key_usage: Arc::default(),
        places: StreamPlaces::new(limits.streams_per_key),
        tokens,
        mode,
        streams_end: CancellationToken::new(),
        heartbeat: Duration::from_millis(config.heartbeat_ms),
        mover: shared.mover,
        providers: vec![shared.provider],
        reports_arrived: shared.reports_arrived,
        store,
    }))
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

fn serve(
    api: &mut Tasks,
    listener: TcpListener,
    config: &Config,
    app: &Arc<App>,
    ready: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let (health, routes) = grpc::routes(app.clone());
    let edge = layers::stack(app.authenticator.clone(), &config.limits.trusted_proxies);
    let service = ServiceBuilder::new().layer(edge).service(routes.prepare());
    let options = listener::Options {
        limits: config.listener.clone(),
        trusted_proxies: config.limits.trusted_proxies.clone(),
        tls: listener::acceptor(&config.tls)?,
    };
    api.spawn("API", listener::serve(listener, service, options, api.stop.clone()));
    api.spawn("health", tell_health(health, ready, app.streams_end.clone()));
    Ok(())
}

/// Keeps the answers to health checks true, and ends with NOT_SERVING when the server stops.
async fn tell_health(health: HealthReporter, mut ready: watch::Receiver<bool>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return grpc::set_serving(&health, false).await,
            changed = ready.changed() => if changed.is_err() { return stop.cancelled().await },
        }
        let is_ready = *ready.borrow_and_update();
        grpc::set_serving(&health, is_ready).await;
    }
}
