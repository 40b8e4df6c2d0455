//! The limiter on Redis against what every one must satisfy, and without Redis. Needs a server, and `redis-server` to
//! start others that are stopped: `make test` brings both.
#![allow(clippy::unwrap_used)]

mod bench;
mod keys;
mod options;
mod outage;
mod server;

use bench::RedisFixture;

conformance::limiter_suite!(RedisFixture);
conformance::shared_limiter_suite!(RedisFixture);
