//! The tables of the configuration file, but for the listener's.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use delivery::timing::Timing;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::{Problem, pair_problem};

// No span that a setting can name may overflow a time.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const WEEK_MS: u64 = 7 * DAY_MS;

/// Time limits in milliseconds; absent = the default, which `time_scale` divides.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimingConfig {
    /// How long a worker's claim on a message holds; then the attempt's outcome is unknown.
    #[schemars(range(min = 1, max = DAY_MS))]
    #[schemars(extend("default" = TimingConfig::of(&Timing::default()).lease_ms))]
    pub lease_ms: Option<u64>,
    /// How often due timers are looked for.
    #[schemars(range(min = 1, max = DAY_MS))]
    #[schemars(extend("default" = TimingConfig::of(&Timing::default()).sweep_interval_ms))]
    pub sweep_interval_ms: Option<u64>,
    /// Wait before a due message that nobody claimed is queued again. It doubles, up to 10 minutes (divided by
    /// `time_scale`), and cannot be set higher than that. In a long queue it is 10 minutes at least, and doubles further.
    #[schemars(range(min = 1, max = DAY_MS))]
    #[schemars(extend("default" = TimingConfig::of(&Timing::default()).offer_gap_ms))]
    pub offer_gap_ms: Option<u64>,
    /// Wait before a message is tried again whose provider could not be reached.
    #[schemars(range(min = 1, max = DAY_MS))]
    #[schemars(extend("default" = TimingConfig::of(&Timing::default()).unavailable_pause_ms))]
    pub unavailable_pause_ms: Option<u64>,
    /// How often every client's books are checked.
    #[schemars(range(min = 1, max = WEEK_MS))]
    #[schemars(extend("default" = TimingConfig::of(&Timing::default()).reconcile_interval_ms))]
    pub reconcile_interval_ms: Option<u64>,
    /// How often retention is applied.
    #[schemars(range(min = 1, max = WEEK_MS))]
    #[schemars(extend("default" = TimingConfig::of(&Timing::default()).retention_interval_ms))]
    pub retention_interval_ms: Option<u64>,
    /// How often streams look for events that they were not told of.
    #[schemars(range(min = 1, max = DAY_MS))]
    #[schemars(extend("default" = TimingConfig::of(&Timing::default()).watch_poll_ms))]
    pub watch_poll_ms: Option<u64>,
}

/// The simulated provider.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulatorConfig {
    /// The address of a `herald simulator` process. Without it the simulator is in the server's process.
    #[schemars(with = "Option<String>")]
    pub address: Option<SocketAddr>,
    /// Decides the latencies and outcomes of the simulator in the server's process.
    pub seed: u64,
    /// The simulator's delays run this much faster.
    #[schemars(range(min = 0.01, max = 10_000))]
    pub time_scale: f64,
    /// The file in which the simulator keeps the reports that it owes over a restart. Without it they are lost.
    #[schemars(length(min = 1))]
    pub journal: Option<PathBuf>,
    /// Submissions in flight at once.
    #[schemars(range(min = 1, max = 100_000))]
    pub window: usize,
    /// How long a submission waits for its answer, in milliseconds. At most half the lease (`timing.lease_ms`).
    #[schemars(range(min = 1, max = DAY_MS / 2))]
    pub answer_timeout_ms: u64,
}

/// What one caller may take of the server.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// The proxies whose `x-forwarded-for` is believed, as CIDR ranges: `["10.0.0.0/8"]`. All who come through a proxy that is
    /// not named count as one address.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
    /// Calls a second that a source address (of IPv6, a /64) may make to methods that need no key, such as health
    /// checks; and, counted apart, calls without a key, with a wrong one, or with one that this node has not seen yet.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub anonymous_per_second: u32,
    /// How many such calls an address may make at once, of each of the two kinds in `limits.anonymous_per_second`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub anonymous_burst: u32,
    /// Streams that one API key may have open on this node. One more is refused with TOO_MANY_STREAMS.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub streams_per_key: usize,
}

/// TLS on the API's port.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// The certificate and those between it and its root, as PEM. Goes with `tls.key_file`.
    #[schemars(length(min = 1))]
    pub cert_file: Option<PathBuf>,
    /// The certificate's private key, as PEM. Goes with `tls.cert_file`.
    #[schemars(length(min = 1))]
    pub key_file: Option<PathBuf>,
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

impl TimingConfig {
    /// With every limit set.
    pub(super) fn of(timing: &Timing) -> Self {
        let ms = |span: Duration| u64::try_from(span.as_millis()).ok();
        Self {
            lease_ms: ms(timing.lease),
            sweep_interval_ms: ms(timing.sweep_interval),
            offer_gap_ms: ms(timing.offer_gap),
            unavailable_pause_ms: ms(timing.unavailable_pause),
            reconcile_interval_ms: ms(timing.reconcile_interval),
            retention_interval_ms: ms(timing.retention_interval),
            watch_poll_ms: ms(timing.watch_poll),
        }
    }

    /// Replaces what is set.
    pub(super) fn apply(&self, timing: &mut Timing) {
        for (span, ms) in [
            (&mut timing.lease, self.lease_ms),
            (&mut timing.sweep_interval, self.sweep_interval_ms),
            (&mut timing.offer_gap, self.offer_gap_ms),
            (&mut timing.unavailable_pause, self.unavailable_pause_ms),
            (&mut timing.reconcile_interval, self.reconcile_interval_ms),
            (&mut timing.retention_interval, self.retention_interval_ms),
            (&mut timing.watch_poll, self.watch_poll_ms),
        ] {
            if let Some(ms) = ms {
                *span = Duration::from_millis(ms);
            }
        }
    }
}

impl TlsConfig {
    pub(super) fn problem(&self) -> Option<Problem> {
        pair_problem("tls", &self.cert_file, &self.key_file)
    }
}
