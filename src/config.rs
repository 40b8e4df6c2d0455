//! Settings of a server: defaults < file < environment < flags. Unknown names are errors.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use delivery::timing::Timing;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

use crate::listener::{Limits, TlsConfig};

/// Variables with our prefix that are not settings of the server.
const OTHER_VARIABLES: [&str; 5] = ["address", "api_key", "api_key_file", "client_id", "log"];

/// What `herald serve` reads.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where `/metrics` listens; absent = not at all.
    pub metrics_listen: Option<SocketAddr>,
    /// `sqlite:PATH` or `postgres://...`.
    pub store_url: String,
    /// The file with the 32-byte secret that fingerprints API keys, as 64 hex digits.
    pub pepper_file: PathBuf,
    /// Where what retention removes is written first; absent = it is removed without an archive.
    pub archive_dir: Option<PathBuf>,
    /// Connections to PostgreSQL.
    pub store_connections: u32,
    /// Retries and time limits run this much faster.
    pub time_scale: f64,
    /// Single time limits, which win over `time_scale`.
    pub timing: TimingConfig,
    pub simulator: SimulatorConfig,
    pub limits: LimitsConfig,
    /// What the API's port allows.
    pub listener: Limits,
    /// TLS on the API's port.
    pub tls: TlsConfig,
    /// 8 or 16: the size of the concatenation reference of multi-part messages.
    pub reference_bits: u8,
    /// Silence on a stream after which a heartbeat is sent.
    pub heartbeat_ms: u64,
    /// bcrypt cost of new API keys, 4 to 12. The secret has 130 bits, so a low cost is enough.
    pub key_cost: u32,
}

/// Time limits in milliseconds; absent = the default.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimingConfig {
    pub lease_ms: Option<u64>,
    pub sweep_interval_ms: Option<u64>,
    pub offer_gap_ms: Option<u64>,
    pub unavailable_pause_ms: Option<u64>,
    pub reconcile_interval_ms: Option<u64>,
    pub retention_interval_ms: Option<u64>,
    pub watch_poll_ms: Option<u64>,
}

/// The simulator provider.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulatorConfig {
    /// A simulator process (`herald simulator`); absent = in this process.
    pub address: Option<SocketAddr>,
    /// Decides latencies and outcomes of the in-process simulator.
    pub seed: u64,
    /// Its delays run this much faster.
    pub time_scale: f64,
    /// Where it keeps the reports it still owes over a restart; absent = nowhere.
    pub journal: Option<PathBuf>,
    /// Submissions in flight at once.
    pub window: usize,
    /// How long a submission waits for its answer.
    pub answer_timeout_ms: u64,
}

/// What one caller may take of the server.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Proxies whose `x-forwarded-for` is believed, as CIDR ranges (`["10.0.0.0/8"]`). All who come through a proxy that is
    /// not in them are limited as one.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Calls a second that a source address (IPv6: a /64) may make to methods that need no key, such as health checks;
    /// and, counted apart, calls without a key, with a wrong one, or with one that this node has not seen yet.
    pub anonymous_per_second: u32,
    /// How many of each it may make at once.
    pub anonymous_burst: u32,
    /// Streams that one API key may have open on this node.
    pub streams_per_key: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            anonymous_per_second: 20,
            anonymous_burst: 100,
            streams_per_key: 100,
        }
    }
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            address: None,
            seed: 1,
            time_scale: 1.0,
            journal: None,
            window: 1_000,
            answer_timeout_ms: 10_000,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7670)),
            metrics_listen: None,
            store_url: String::new(),
            pepper_file: PathBuf::from("herald.pepper"),
            archive_dir: None,
            store_connections: 16,
            time_scale: 1.0,
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

/// What the store URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Config {
    /// Reads the file, if any, then the environment (`HERALD_LISTEN`, `HERALD_TIMING__LEASE_MS`, ...).
    pub fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            if !file.is_file() {
                bail!("there is no configuration file {}", file.display());
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        let is_server_variable = |name: &figment::value::UncasedStr| {
            !OTHER_VARIABLES.iter().any(|other| name == other) && !name.starts_with("test_")
        };
        let environment = Env::prefixed("HERALD_").filter(is_server_variable).split("__");
        let config: Self = figment.merge(environment).extract().context("the configuration is not valid")?;
        config.check()?;
        Ok(config)
    }

    /// The cross-checks.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.time_scale.is_nan() || !(0.01..=10_000.0).contains(&self.time_scale) {
            bail!("time_scale must be from 0.01 to 10000");
        }
        if self.simulator.time_scale.is_nan() || !(0.01..=10_000.0).contains(&self.simulator.time_scale) {
            bail!("simulator.time_scale must be from 0.01 to 10000");
        }
        if !(4..=12).contains(&self.key_cost) {
            bail!("key_cost must be from 4 to 12");
        }
        if !matches!(self.reference_bits, 8 | 16) {
            bail!("reference_bits must be 8 or 16");
        }
        if self.simulator.window == 0 || self.simulator.window > 100_000 {
            bail!("simulator.window must be from 1 to 100000");
        }
        if self.heartbeat_ms == 0 || self.store_connections == 0 {
            bail!("heartbeat_ms and store_connections must not be 0");
        }
        let limits = &self.limits;
        let rates = [limits.anonymous_per_second, limits.anonymous_burst];
        if !rates.iter().all(|rate| (1..=1_000_000).contains(rate)) {
            bail!("limits.anonymous_per_second and limits.anonymous_burst must be from 1 to 1000000");
        }
        if limits.streams_per_key == 0 {
            bail!("limits.streams_per_key must not be 0");
        }
        self.listener.check()?;
        self.tls.check()?;
        let timing = self.timing();
        let answer_timeout = Duration::from_millis(self.simulator.answer_timeout_ms);
        if answer_timeout * 2 > timing.lease {
            bail!(
                "simulator.answer_timeout_ms ({} ms) must be at most half the lease ({} ms), or claims expire before their outcome is written",
                answer_timeout.as_millis(),
                timing.lease.as_millis()
            );
        }
        if timing.offer_gap > timing.offer_gap_max {
            bail!(
                "timing.offer_gap_ms must be at most {} ms, up to which the gap doubles",
                timing.offer_gap_max.as_millis()
            );
        }
        self.store()?;
        Ok(())
    }

    pub fn store(&self) -> anyhow::Result<StoreKind> {
        if let Some(path) = self.store_url.strip_prefix("sqlite:") {
            return Ok(StoreKind::Sqlite(PathBuf::from(path)));
        }
        if self.store_url.starts_with("postgres://") || self.store_url.starts_with("postgresql://") {
            return Ok(StoreKind::Postgres(self.store_url.clone()));
        }
        bail!("store_url must be sqlite:PATH or postgres://... (set it in the file or as HERALD_STORE_URL)")
    }

    /// The time limits after scaling and overrides.
    pub fn timing(&self) -> Timing {
        let mut timing = Timing::default();
        #[allow(clippy::float_cmp)] // Exactly the default means: not scaled.
        if self.time_scale != 1.0 {
            timing = timing.faster(self.time_scale);
        }
        let set = |span: &mut Duration, ms: Option<u64>| {
            if let Some(ms) = ms {
                *span = Duration::from_millis(ms.max(1));
            }
        };
        set(&mut timing.lease, self.timing.lease_ms);
        set(&mut timing.sweep_interval, self.timing.sweep_interval_ms);
        set(&mut timing.offer_gap, self.timing.offer_gap_ms);
        set(&mut timing.unavailable_pause, self.timing.unavailable_pause_ms);
        set(&mut timing.reconcile_interval, self.timing.reconcile_interval_ms);
        set(&mut timing.retention_interval, self.timing.retention_interval_ms);
        set(&mut timing.watch_poll, self.timing.watch_poll_ms);
        timing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config { store_url: "sqlite:x.db".into(), ..Config::default() }
    }

    #[test]
    fn the_defaults_need_only_a_store() {
        assert!(config().check().is_ok());
        assert!(Config::default().check().is_err());
    }

    #[test]
    fn a_provider_time_out_close_to_the_lease_is_refused() {
        let mut config = config();
        config.timing.lease_ms = Some(15_000);
        let error = config.check().expect_err("the time-out is over half the lease").to_string();
        assert!(error.contains("answer_timeout_ms"), "{error}");
    }

    #[test]
    fn an_unknown_name_in_the_file_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("herald.toml");
        std::fs::write(&file, "store_url = 'sqlite:x.db'\nlisten_on = 'x'\n").expect("a file");
        let error = format!("{:#}", Config::read(Some(&file)).expect_err("listen_on is unknown"));
        assert!(error.contains("listen_on"), "{error}");
    }
}
