//! The product through its public API: real processes, in both modes. `make test` brings what the tests need.

#![allow(clippy::unwrap_used)]

mod admin_api;
mod architecture;
mod audit_trail;
mod bad_input;
mod bad_keys;
mod balance_watch;
mod batch;
mod bench;
mod canary;
mod cancel;
mod chaos;
mod cli;
mod cluster;
mod configuration;
mod contract;
mod crash;
mod dead_letters;
mod docs;
#[cfg(feature = "faults")]
mod faults;
mod first_minute;
mod grpcurl;
mod hostile;
mod idempotency;
mod isolation;
mod lists;
mod logs;
mod magic_recipients;
mod nats_tls;
mod parts_oracle;
mod preview;
mod push_reports;
mod quote;
mod restore;
mod retention;
mod schedule;
mod send;
mod shutdown;
mod stream;
mod support;
mod upgrade;
mod volume;
