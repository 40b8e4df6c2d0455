//! The provider as a process of its own: the witness of what was really submitted.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use provider_simulator::Witness;
use tokio::process::Command;

use super::process::{Process, herald};

/// `herald simulator`, with its log.
pub(crate) struct SimulatorProcess {
    pub(crate) address: SocketAddr,
    log: PathBuf,
    process: Process,
}

impl SimulatorProcess {
    /// Starts it on a free port. `seed` decides latencies and draws, `time_scale` how much faster it is than life.
    pub(crate) async fn start(folder: &Path, seed: u64, time_scale: f64) -> Self {
        Self::start_by(herald(), folder, seed, time_scale).await
    }

    /// `command` is the program without arguments.
    pub(super) async fn start_by(mut command: Command, folder: &Path, seed: u64, time_scale: f64) -> Self {
        let log = folder.join("witness.log");
        command
            .args(["simulator", "--listen", "127.0.0.1:0", "--seed", &seed.to_string()])
            .args(["--time-scale", &time_scale.to_string(), "--log"])
            .arg(&log);
        let process = Process::start("simulator", folder, command);
        let address = process
            .stdout()
            .find("the simulator's address", |line| {
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                line["address"].as_str()?.parse().ok()
            })
            .await;
        Self { address, log, process }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// All that it noted so far.
    pub(crate) fn witness(&self) -> Witness {
        Witness::read(&self.log).expect("the simulator's log can be read while it runs")
    }
}
