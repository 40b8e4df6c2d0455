//! The product through its public API: real processes, on both stores. `make test` brings what the tests need.

#![allow(clippy::unwrap_used)]

mod admin_api;
mod architecture;
mod audit_trail;
mod bad_input;
mod bad_keys;
mod balance_watch;
mod batch;
mod canary;
mod cancel;
mod chaos;
mod cli;
mod configuration;
mod contract;
mod crash;
mod dead_letters;
mod docs;
mod first_minute;
mod grpcurl;
mod hostile;
mod idempotency;
mod isolation;
mod lists;
mod logs;
mod magic_recipients;
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
