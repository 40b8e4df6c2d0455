//! Settings of a server: defaults < file < environment < flags. Unknown names are errors.
//!
//! The comments and ranges of the fields here and in `sections`, and of the listener's `Limits`, are the JSON Schema
//! (`herald config schema`), the check of every value, and the pages of `docs/configuration.md`.

mod engine_url;
mod engines;
mod problem;
pub mod read;
mod schema;
mod sections;
mod store_url;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use delivery::timing::Timing;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::listener::Limits;

pub use engine_url::EngineUrl;
pub use engines::{QueueConfig, RedisConfig, Roles};
pub use problem::{Problem, Problems};
pub use read::{Settings, Sources};
pub use schema::{schema, setting_names};
pub use sections::{LimitsConfig, SimulatorConfig, TimingConfig, TlsConfig};
pub use store_url::StoreKind;

/// What `herald serve` reads.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "The settings of a Herald server", transform = schema::ask_for_the_store)]
pub struct Config {
    /// Where the API listens: an IP address and a port. Port 0 is any free one.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Where `/metrics` listens. Without it there are no metrics.
    #[schemars(with = "Option<String>")]
    pub metrics_listen: Option<SocketAddr>,
    /// What this node runs: `api` takes calls and feeds streams; `worker` sends messages, takes provider reports and keeps the
    /// books. Nodes with one role need PostgreSQL and a queue that they share.
    pub roles: Roles,
    /// `sqlite:PATH` or `postgres://...`.
    pub store_url: EngineUrl,
    /// The file with the secret behind the API keys' fingerprints: 64 hex digits.
    #[schemars(length(min = 1))]
    pub pepper_file: PathBuf,
    /// The folder where what retention removes is written first, as gzipped JSON lines. Without it, it is removed without an
    /// archive.
    #[schemars(length(min = 1))]
    pub archive_dir: Option<PathBuf>,
    /// Connections to PostgreSQL.
    #[schemars(range(min = 1, max = 10_000))]
    pub store_connections: u32,
    /// Retries and time limits run this much faster. For tests.
    #[schemars(range(min = 0.01, max = 10_000))]
    pub time_scale: f64,
    /// The queue that spreads messages over workers, and the bell that wakes streams: NATS.
    pub queue: QueueConfig,
    /// Rate limits and answered calls, shared by all nodes: Redis.
    pub redis: RedisConfig,
    /// Single time limits. What is set here stands as it is, whatever `time_scale` says.
    pub timing: TimingConfig,
    /// The simulated provider.
    pub simulator: SimulatorConfig,
    /// What one caller may take of the server.
    pub limits: LimitsConfig,
    /// What the API's port allows one connection, one source address and one call. Sizes are bytes.
    pub listener: Limits,
    /// TLS on the API's port. Without its two files the port speaks HTTP/2 in the clear.
    pub tls: TlsConfig,
    /// The size of the reference in multi-part messages. With 16, a part has room for 152 characters of GSM-7 instead of
    /// 153, and not every handset takes it.
    #[schemars(extend("enum" = [8, 16]))]
    pub reference_bits: u8,
    /// Silence on a stream before a heartbeat, in milliseconds.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub heartbeat_ms: u64,
    /// The bcrypt cost of new API keys. Their secret has 130 random bits, so a low cost is enough.
    #[schemars(range(min = 4, max = 12))]
    pub key_cost: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7670)),
            metrics_listen: None,
            roles: Roles::default(),
            store_url: EngineUrl::default(),
            pepper_file: PathBuf::from("herald.pepper"),
            archive_dir: None,
            store_connections: 16,
            time_scale: 1.0,
            queue: QueueConfig::default(),
            redis: RedisConfig::default(),
            timing: TimingConfig::default(),
            simulator: SimulatorConfig::default(),
            limits: LimitsConfig::default(),
            listener: Limits::default(),
            tls: TlsConfig::default(),
            reference_bits: 8,
            heartbeat_ms: 15_000,
            key_cost: 4,
        }
    }
}

impl Config {
    /// Every value against its range, and the values against each other.
    pub fn check(&self) -> anyhow::Result<()> {
        let problems = self.problems();
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems).into()) }
    }

    /// Everything that `check` finds.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = schema::out_of_range(self);
        // Only spans within their ranges can be multiplied and compared.
        if problems.is_empty() {
            problems.extend(self.timing_problems());
        }
        problems.extend(self.tls.problem());
        problems.extend(store_url::problem(&self.store_url));
        problems.extend(self.queue.problems());
        problems.extend(self.redis.problem());
        problems.extend(self.roles_problems());
        problems
    }

    /// What `store_url` names.
    pub fn store(&self) -> anyhow::Result<StoreKind> {
        let kind = StoreKind::of(&self.store_url);
        kind.ok_or_else(|| Problems(store_url::problem(&self.store_url).into_iter().collect()).into())
    }

    /// The same with every time limit that holds, also those that were not set.
    pub fn effective(&self) -> Self {
        Self { timing: TimingConfig::of(&self.timing()), ..self.clone() }
    }

    /// The time limits after scaling and overrides.
    pub fn timing(&self) -> Timing {
        let mut timing = Timing::default();
        #[allow(clippy::float_cmp)] // Exactly the default means: not scaled.
        if self.time_scale != 1.0 {
            timing = timing.faster(self.time_scale);
        }
        self.timing.apply(&mut timing);
        timing
    }

    /// Roles that live apart meet in engines outside the process.
    fn roles_problems(&self) -> Vec<Problem> {
        let is_sqlite = matches!(StoreKind::of(&self.store_url), Some(StoreKind::Sqlite(_)));
        let mut problems = Vec::new();
        if self.roles != Roles::Both && self.queue.url.is_none() {
            let fault = "must be set for a node with one role: a queue in the process reaches no other";
            problems.push(Problem::new("queue.url", fault));
        }
        if self.roles != Roles::Both && is_sqlite {
            let fault = "must be postgres://... for a node with one role: one process opens an SQLite file";
            problems.push(Problem::new("store_url", fault));
        }
        if self.queue.url.is_some() && is_sqlite {
            let fault = "must not be set on SQLite: one process has the file, and with it all the work";
            problems.push(Problem::new("queue.url", fault));
        }
        problems
    }

    fn timing_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let timing = self.timing();
        let answer_timeout = Duration::from_millis(self.simulator.answer_timeout_ms);
        if answer_timeout * 2 > timing.lease {
            let fault = format!(
                "({} ms) must be at most half the lease ({} ms), or claims expire before their outcome is written",
                answer_timeout.as_millis(),
                timing.lease.as_millis()
            );
            problems.push(Problem::new("simulator.answer_timeout_ms", fault));
        }
        if timing.offer_gap > timing.offer_gap_max {
            let most = timing.offer_gap_max.as_millis();
            let fault = format!("must be at most {most}, up to which the gap doubles");
            problems.push(Problem::new("timing.offer_gap_ms", fault));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config { store_url: "sqlite:x.db".into(), ..Config::default() }
    }

    fn problems(config: &Config) -> Vec<String> {
        config.problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_defaults_need_only_a_store() {
        assert!(config().check().is_ok());
        assert_eq!(
            problems(&Config::default()),
            ["store_url must be sqlite:PATH or postgres://... (in the file, or as HERALD_STORE_URL)"]
        );
    }

    #[test]
    fn the_limits_for_a_local_port_are_within_their_ranges() {
        assert!(Config { listener: Limits::local(), ..config() }.check().is_ok());
    }

    #[test]
    fn every_value_out_of_its_range_is_named() {
        let mut config = Config { time_scale: f64::NAN, reference_bits: 12, ..Config::default() };
        config.simulator.time_scale = f64::INFINITY;
        config.timing.lease_ms = Some(u64::MAX);
        config.timing.reconcile_interval_ms = Some(0);
        config.listener.max_connections = 0;
        config.archive_dir = Some(PathBuf::new());
        config.tls.cert_file = Some("cert.pem".into());
        assert_eq!(
            problems(&config),
            [
                "archive_dir must not be empty",
                "listener.max_connections must be from 1 to 1000000",
                "reference_bits must be 8 or 16",
                "simulator.time_scale must be from 0.01 to 10000",
                "time_scale must be from 0.01 to 10000",
                "timing.lease_ms must be from 1 to 86400000",
                "timing.reconcile_interval_ms must be from 1 to 604800000",
                "tls.key_file must be set, because tls.cert_file is",
                "store_url must be sqlite:PATH or postgres://... (in the file, or as HERALD_STORE_URL)",
            ]
        );
    }

    #[test]
    fn a_provider_time_out_close_to_the_lease_is_refused() {
        let mut config = config();
        config.timing.lease_ms = Some(15_000);
        let found = problems(&config);
        assert!(found[0].starts_with("simulator.answer_timeout_ms (10000 ms)"), "{found:?}");
    }

    #[test]
    fn the_largest_spans_at_the_slowest_scale_do_not_overflow() {
        let mut config = config();
        config.time_scale = 0.01;
        config.timing = TimingConfig {
            lease_ms: Some(86_400_000),
            sweep_interval_ms: Some(86_400_000),
            offer_gap_ms: Some(60_000_000),
            unavailable_pause_ms: Some(86_400_000),
            reconcile_interval_ms: Some(604_800_000),
            retention_interval_ms: Some(604_800_000),
            watch_poll_ms: Some(86_400_000),
        };
        assert!(config.check().is_ok());
        assert_eq!(config.timing().lease, Duration::from_secs(86_400));
    }

    #[test]
    fn no_password_is_shown() {
        let config = Config { store_url: "postgres://herald:s3cret@db/herald".into(), ..Config::default() };
        let kind = config.store().expect("the URL names a store");
        for shown in [format!("{config:?}"), format!("{kind:?}")] {
            assert!(!shown.contains("s3cret") && shown.contains("herald:***@db"), "{shown}");
        }
    }

    #[test]
    fn roles_that_live_apart_need_engines_that_both_reach() {
        let mut config = Config { roles: Roles::Worker, ..config() };
        let found = problems(&config);
        assert!(found.len() == 2 && found[0].starts_with("queue.url must be set"), "{found:?}");
        assert!(found[1].starts_with("store_url must be postgres"), "{found:?}");
        config.store_url = "postgres://db/herald".into();
        config.queue.url = Some("nats://one:4222,two:4222".into());
        assert!(config.check().is_ok());
        config.roles = Roles::Both;
        assert!(config.check().is_ok());
        config.store_url = "sqlite:x.db".into();
        assert!(problems(&config)[0].starts_with("queue.url must not be set on SQLite"));
    }

    #[test]
    fn engines_are_what_their_settings_say() {
        let mut config = Config { store_url: "postgres://db/herald".into(), ..config() };
        config.queue.url = Some("redis://one".into());
        config.queue.prefix = "a.b".into();
        config.redis.url = Some("nats://one".into());
        config.queue.key_file = Some("key.pem".into());
        assert_eq!(
            problems(&config),
            [
                "queue.url must be nats://... or tls://...",
                "queue.prefix must be of letters, digits, `-` and `_`",
                "queue.cert_file must be set, because queue.key_file is",
                "redis.url must be redis://...",
            ]
        );
        config.queue = QueueConfig { credentials_file: Some("x.creds".into()), ..QueueConfig::default() };
        config.redis.url = None;
        assert_eq!(problems(&config), ["queue.url must be set, because queue.credentials_file is"]);
    }
}
