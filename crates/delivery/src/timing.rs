//! Every span the use cases wait for, in one place, so that a test or `herald dev` can scale them.

use std::time::Duration;

/// The longest that an idempotency key is remembered.
pub const KEY_LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// The time limits of an installation. The defaults are the documented production values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a claim holds: well above a provider's time-out and a commit.
    pub lease: Duration,
    /// Waits after the 1st, 2nd ... temporary failure; one more attempt than there are waits.
    pub retry_waits: Vec<Duration>,
    /// First gap before an unclaimed due message is offered again; the gap doubles up to `offer_gap_max`, or,
    /// while more wait than a taker gets through soon, from there on without a bound.
    pub offer_gap: Duration,
    pub offer_gap_max: Duration,
    /// Wait before a message is tried again when its provider could not be reached.
    pub unavailable_pause: Duration,
    /// How often the sweeper looks.
    pub sweep_interval: Duration,
    /// How often the hub polls for rings it missed.
    pub watch_poll: Duration,
    /// How often the reconciler checks every client.
    pub reconcile_interval: Duration,
    /// How often retention is applied.
    pub retention_interval: Duration,
    /// How long an idempotency key is remembered: [`KEY_LIFETIME`] at most.
    pub key_lifetime: Duration,
    /// How long an unmatched report and a provider reference are kept.
    pub report_lifetime: Duration,
    pub ref_lifetime: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Self {
            lease: Duration::from_secs(60),
            retry_waits: vec![
                Duration::from_secs(5),
                Duration::from_secs(15),
                Duration::from_secs(45),
                minutes(2),
                minutes(5),
                minutes(15),
                minutes(30),
                minutes(60),
                minutes(120),
            ],
            offer_gap: Duration::from_secs(10),
            offer_gap_max: minutes(10),
            unavailable_pause: Duration::from_secs(5),
            sweep_interval: Duration::from_secs(1),
            watch_poll: Duration::from_secs(5),
            reconcile_interval: Duration::from_secs(60),
            retention_interval: minutes(60),
            key_lifetime: KEY_LIFETIME,
            report_lifetime: Duration::from_secs(72 * 3_600),
            ref_lifetime: Duration::from_secs(14 * 24 * 3_600),
        }
    }
}

impl Timing {
    /// Retries and limits `scale` times faster. The lease has a floor of 5 s, below which a busy machine would
    /// lose claims it still works on; memories (keys, reports, references) are not scaled.
    pub fn faster(&self, scale: f64) -> Self {
        let by = |span: Duration| span.div_f64(scale.max(f64::MIN_POSITIVE)).max(Duration::from_millis(1));
        Self {
            lease: by(self.lease).max(Duration::from_secs(5).min(self.lease)),
            retry_waits: self.retry_waits.iter().map(|wait| by(*wait)).collect(),
            offer_gap: by(self.offer_gap).max(Duration::from_secs(2)),
            offer_gap_max: by(self.offer_gap_max).max(Duration::from_secs(10)),
            unavailable_pause: by(self.unavailable_pause).max(Duration::from_millis(50)),
            sweep_interval: by(self.sweep_interval).max(Duration::from_millis(20)),
            watch_poll: self.watch_poll,
            reconcile_interval: self.reconcile_interval,
            ..self.clone()
        }
    }

    /// The most attempts a message gets.
    pub fn max_attempts(&self) -> i32 {
        i32::try_from(self.retry_waits.len() + 1).unwrap_or(i32::MAX)
    }
}
