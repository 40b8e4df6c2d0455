//! The harness: real processes, real engines, and what every story asserts at its end.

mod account;
mod backup;
mod balancer;
mod cluster;
mod database;
mod engine;
mod herald;
mod metrics;
mod mode;
mod process;
pub(crate) mod raw;
pub(crate) mod read;
mod refusal;
mod removal;
mod simulator;
pub(crate) mod stated;
mod streams;
mod wait;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

pub(crate) use account::{Account, NewAccount, every_message, new_key, nothing_held, sms, span};
pub(crate) use backup::Backup;
pub(crate) use cluster::{Cluster, NODES};
pub(crate) use engine::Engine;
pub(crate) use herald::{
    DRAIN, Herald, PART_PRICE, Setup, served_address, share_machine, take_machine, tireless,
};
pub(crate) use metrics::metric;
pub(crate) use mode::{Backing, Mode, in_both_modes};
#[cfg(feature = "faults")]
pub(crate) use process::PLANTED;
pub(crate) use process::{Ended, Process, Program, herald};
pub(crate) use refusal::{assert_refused, item_error, refusal};
pub(crate) use simulator::SimulatorProcess;
pub(crate) use wait::{PATIENCE, soon, until, within};

/// A port that stays ours over a restart: below the range from which outgoing connections are given theirs.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = u16::try_from(std::process::id() % 500).expect("it is below 500") * 20;
    loop {
        let port = 10_000 + (base + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
