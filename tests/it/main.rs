//! The product through its public API: real processes, on both stores. `make test` brings what the tests need.

#![allow(clippy::unwrap_used)]

mod architecture;
mod bad_input;
mod crash;
mod first_minute;
mod grpcurl;
mod idempotency;
mod isolation;
mod logs;
mod magic_recipients;
mod parts_oracle;
mod send;
mod shutdown;
mod stream;
mod support;
