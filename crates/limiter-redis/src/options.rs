//! How the shared limiter is reached, and how long it is waited for.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

/// Longest prefix, in characters.
const PREFIX_MAX: usize = 64;

/// The settings of one node. All nodes of an installation have the same `url`, `prefix` and `nodes`.
#[derive(Clone)]
pub struct Options {
    /// `redis://[user][:password@]host[:port][/database]`
    pub url: String,
    /// What every key begins with: 1 to 64 letters, digits, `.`, `_`, `:` or `-`.
    pub prefix: String,
    /// How many nodes take sends: what each allows by itself while Redis is away depends on it.
    pub nodes: NonZeroU32,
    /// Which history of the log this node's store has: copies of another one say nothing.
    pub log_epoch: u64,
    /// How long one call may take.
    pub call_limit: Duration,
    /// So many failures in a row end the use of Redis for now; those of calls under way together count once.
    pub failures_max: NonZeroU32,
    /// How long it stays away at least, and how often its return is looked for.
    pub probe_gap: Duration,
    pub clock: Clock,
}

/// Where buckets take their time from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// Redis's own clock.
    #[default]
    Redis,
    /// A test's: microseconds since the Unix epoch.
    Fixed(Arc<AtomicI64>),
}

/// Why a shared limiter cannot be made of its settings.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The cause does not hold the URL, which may hold a password.
    #[error("the URL of Redis cannot be used")]
    Url(#[source] deadpool_redis::redis::RedisError),
    #[error("there can be no pool of connections to Redis")]
    Pool(#[source] deadpool_redis::BuildError),
    #[error("a prefix has 1 to {PREFIX_MAX} letters, digits, '.', '_', ':' or '-'")]
    Prefix,
}

impl Options {
    /// One node, and the documented limits.
    pub fn new(url: impl Into<String>, log_epoch: u64) -> Self {
        Self {
            url: url.into(),
            prefix: "herald".into(),
            nodes: NonZeroU32::MIN,
            log_epoch,
            call_limit: Duration::from_millis(10),
            failures_max: NonZeroU32::MIN.saturating_add(2),
            probe_gap: Duration::from_secs(1),
            clock: Clock::Redis,
        }
    }

    /// Braces, of all characters, would move keys to another slot of a cluster.
    pub(crate) fn check_prefix(&self) -> Result<(), OptionsError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
        let is_fine = (1..=PREFIX_MAX).contains(&self.prefix.len()) && self.prefix.chars().all(is_plain);
        if is_fine { Ok(()) } else { Err(OptionsError::Prefix) }
    }
}
