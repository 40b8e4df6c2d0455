//! The engines that a node works with, as its settings name them.

use std::num::NonZeroU32;
use std::sync::Arc;

use anyhow::Context;
use delivery::port::{Bell, Limiter, Queue, Store};
use limiter_redis::RedisLimiter;
use memory::{MemoryBell, MemoryLimiter, MemoryQueue};
use queue_nats::{Connection, Credentials, NatsBell, NatsQueue, Servers};
use store_postgres::PostgresStore;
use store_sqlite::SqliteStore;

use crate::config::{Config, EngineUrl, QueueConfig, StoreKind};

/// Ids that the in-process queue holds.
const QUEUE_CAPACITY: usize = 1_000_000;

/// All but the store.
#[derive(Clone)]
pub struct Engines {
    pub queue: Arc<dyn Queue>,
    pub bell: Arc<dyn Bell>,
    pub limiter: Arc<dyn Limiter>,
    /// Whether the queue can be reached.
    pub queue_is_up: Arc<dyn Fn() -> bool + Send + Sync>,
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

/// Opens the others.
pub async fn open(config: &Config, store: &dyn Store) -> anyhow::Result<Engines> {
    let limiter = limiter(config, store).await?;
    match &config.queue.url {
        Some(url) => on_nats(url, &config.queue, config.simulator.window, limiter).await,
        None => Ok(Engines {
            queue: Arc::new(MemoryQueue::new(QUEUE_CAPACITY)),
            bell: Arc::new(MemoryBell::new()),
            limiter,
            queue_is_up: Arc::new(|| true),
        }),
    }
}

async fn on_nats(
    url: &EngineUrl,
    settings: &QueueConfig,
    window: usize,
    limiter: Arc<dyn Limiter>,
) -> anyhow::Result<Engines> {
    let urls = url.expose().split(',').map(|each| each.trim().to_owned()).collect();
    let servers = Servers {
        urls,
        name: "herald".to_owned(),
        credentials: settings.credentials_file.clone().map(Credentials::File),
        require_tls: false,
        root_certificates: settings.ca_file.clone(),
        client_certificate: settings.cert_file.clone().zip(settings.key_file.clone()),
    };
    let connection = Connection::open(servers).await?;
    let prefix = format!("{}.", settings.prefix);
    let options = queue_nats::Options {
        prefix: prefix.clone(),
        stream: format!("{}_SEND", settings.prefix.to_uppercase()),
        replicas: settings.replicas,
        ack_wait: settings.ack_wait(),
        max_out: i64::try_from(window).unwrap_or(i64::MAX).saturating_mul(2),
        ..queue_nats::Options::default()
    };
    let queue = NatsQueue::start(&connection, options).await.context("the queue cannot be used")?;
    let bell = NatsBell::start(&connection, &prefix).await.context("the bell cannot be used")?;
    let queue = Arc::new(queue);
    let looked_at = queue.clone();
    let queue_is_up = Arc::new(move || looked_at.health().is_ok());
    Ok(Engines { queue, bell: Arc::new(bell), limiter, queue_is_up })
}

/// Always one in this process; behind Redis, if there is one.
async fn limiter(config: &Config, store: &dyn Store) -> anyhow::Result<Arc<dyn Limiter>> {
    let local = Arc::new(MemoryLimiter::new());
    let Some(url) = &config.redis.url else { return Ok(local) };
    let options = limiter_redis::Options {
        prefix: config.redis.prefix.clone(),
        nodes: NonZeroU32::new(config.redis.api_nodes).unwrap_or(NonZeroU32::MIN),
        call_limit: config.redis.timeout(),
        ..limiter_redis::Options::new(url.expose(), store.log_epoch().await?)
    };
    Ok(Arc::new(RedisLimiter::start(&options, local).await.context("Redis cannot be used")?))
}
