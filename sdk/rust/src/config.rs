//! Which server, with which key, and how patiently.

use std::fmt::{Debug, Formatter};
use std::time::Duration;

use crate::retry::RetryPolicy;

/// What a [`Client`](crate::Client) needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// `http://HOST:PORT`.
    pub url: String,
    /// The API key.
    pub key: Key,
    /// The client that an operator key acts for (metadata `herald-client-id`). A client's own key needs none.
    pub client_id: Option<String>,
    /// Deadline of a call with all its retries; it is told to the server. Subscriptions and audits have none.
    pub timeout: Duration,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// Silence on a connection after which the peer is asked for a sign of life.
    pub keepalive_interval: Duration,
    /// How long that sign may take before the connection counts as dead.
    pub keepalive_timeout: Duration,
    /// When a failed call is made again.
    pub retry: RetryPolicy,
}

impl Config {
    /// The defaults: calls take up to 30 s, connections up to 5 s, and connections that are silent for 20 s are
    /// checked within 10 s.
    pub fn new(url: impl Into<String>, key: impl Into<Key>) -> Self {
        Self {
            url: url.into(),
            key: key.into(),
            client_id: None,
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
            retry: RetryPolicy::default(),
        }
    }
}

/// An API key. It never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Key {
    fn from(key: String) -> Self {
        Self(key)
    }
}

impl From<&str> for Key {
    fn from(key: &str) -> Self {
        Self(key.to_owned())
    }
}

impl Debug for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_does_not_show_its_key() {
        let config = Config::new("http://127.0.0.1:7670", "hk_test1_secret_sum");
        let shown = format!("{config:?}");
        assert!(shown.contains("***") && !shown.contains("secret"), "{shown}");
    }
}
