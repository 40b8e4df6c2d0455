//! The `herald` program: the server in its modes, and the command line that talks to one.
//! The only crate that knows protobuf, HTTP, configuration and the process.

// Nothing of a program is reachable from outside, so the lint that keeps the crates' surfaces small says nothing here.
#![allow(unreachable_pub)]

mod app;
mod archive;
mod auth;
mod cli;
mod codec;
mod config;
mod engines;
mod grpc;
mod layers;
mod listener;
mod metrics;
mod node;
mod proto;
mod proto_json;
mod secrets;
mod status;
mod token;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
