//! What a node runs, and the engines that it shares with other nodes.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EngineUrl;
use super::problem::{Problem, pair_problem};

/// The parts of Herald that a node runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[schemars(inline)]
pub enum Roles {
    #[serde(rename = "api")]
    Api,
    #[serde(rename = "worker")]
    Worker,
    #[default]
    #[serde(rename = "api,worker")]
    Both,
}

/// The queue that spreads messages over workers, and the bell that wakes streams: NATS.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// The NATS servers, with JetStream: `nats://one:4222,two:4222`. Without it the queue is in the process, which one node
    /// with both roles can work with.
    pub url: Option<EngineUrl>,
    /// What the names of streams and subjects begin with, so that several installations can share a NATS.
    #[schemars(length(min = 1))]
    pub prefix: String,
    /// Copies of the stream, each on another server of a cluster.
    #[schemars(extend("enum" = [1, 3, 5]))]
    pub replicas: usize,
    /// How long the queue waits for a worker that took a message and says nothing, in milliseconds.
    #[schemars(range(min = 1_000, max = 3_600_000))]
    pub ack_wait_ms: u64,
    /// Who this node is to the NATS servers: a `.creds` file, with a user's JWT and seed. A password may be in `queue.url`
    /// instead.
    #[schemars(length(min = 1))]
    pub credentials_file: Option<PathBuf>,
    /// Roots of the NATS servers' certificates besides the system's, as PEM. For `tls://`.
    #[schemars(length(min = 1))]
    pub ca_file: Option<PathBuf>,
    /// This node's certificate for NATS servers that demand one, as PEM. Goes with `queue.key_file`.
    #[schemars(length(min = 1))]
    pub cert_file: Option<PathBuf>,
    /// The certificate's private key, as PEM. Goes with `queue.cert_file`.
    #[schemars(length(min = 1))]
    pub key_file: Option<PathBuf>,
}

/// Rate limits and answered calls, shared by all nodes.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// The Redis: `redis://host:6379/0`. Without it each node counts by itself.
    pub url: Option<EngineUrl>,
    /// What the names of keys begin with, so that several installations can share a Redis.
    #[schemars(length(min = 1))]
    pub prefix: String,
    /// How long a call waits for Redis, in milliseconds. Then this node counts by itself.
    #[schemars(range(min = 1, max = 1_000))]
    pub timeout_ms: u64,
    /// API nodes that share the limits: while Redis is away, each allows one and a half times its share.
    #[schemars(range(min = 1, max = 1_000))]
    pub api_nodes: u32,
}

impl Roles {
    pub const ALL: [Self; 3] = [Self::Api, Self::Worker, Self::Both];

    /// As it is written in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Both => "api,worker",
        }
    }

    pub fn is_api(self) -> bool {
        self != Self::Worker
    }

    pub fn is_worker(self) -> bool {
        self != Self::Api
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            url: None,
            prefix: "herald".to_owned(),
            replicas: 1,
            ack_wait_ms: 60_000,
            credentials_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
        }
    }
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self { url: None, prefix: "herald".to_owned(), timeout_ms: 10, api_nodes: 1 }
    }
}

impl QueueConfig {
    pub fn ack_wait(&self) -> Duration {
        Duration::from_millis(self.ack_wait_ms)
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.url.as_ref().is_some_and(|url| !url.has_scheme(&["nats", "tls"])) {
            problems.push(Problem::new("queue.url", "must be nats://... or tls://..."));
        }
        if !self.prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            problems.push(Problem::new("queue.prefix", "must be of letters, digits, `-` and `_`"));
        }
        let of_nats = [
            ("credentials_file", &self.credentials_file),
            ("ca_file", &self.ca_file),
            ("cert_file", &self.cert_file),
        ];
        if let (None, Some((name, _))) = (&self.url, of_nats.iter().find(|(_, file)| file.is_some())) {
            problems.push(Problem::new("queue.url", format!("must be set, because queue.{name} is")));
        }
        problems.extend(pair_problem("queue", &self.cert_file, &self.key_file));
        problems
    }
}

impl RedisConfig {
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub(super) fn problem(&self) -> Option<Problem> {
        let is_redis = |url: &EngineUrl| url.has_scheme(&["redis"]);
        let is_wrong = self.url.as_ref().is_some_and(|url| !is_redis(url));
        is_wrong.then(|| Problem::new("redis.url", "must be redis://..."))
    }
}
