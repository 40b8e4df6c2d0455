//! PostgreSQL, NATS and Redis as servers of one test, which may be killed.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

/// A private server, or a cluster of them. Ended on drop.
pub(crate) struct Engine {
    /// The name of its script in `tests/services/`.
    name: &'static str,
    folder: PathBuf,
    pub(crate) url: String,
}

impl Engine {
    pub(crate) async fn start(name: &'static str, folder: &Path) -> Self {
        Self::start_as(name, "start", folder).await
    }

    /// NATS alone knows this: three servers.
    pub(crate) async fn start_cluster(name: &'static str, folder: &Path) -> Self {
        Self::start_as(name, "start-cluster", folder).await
    }

    async fn start_as(name: &'static str, verb: &str, folder: &Path) -> Self {
        let folder = folder.join(name);
        std::fs::create_dir(&folder).expect("a folder");
        // Before it runs, so that it is also stopped if this is given up meanwhile.
        let mut engine = Self { name, folder, url: String::new() };
        engine.url = run(name, verb, &engine.folder).await;
        engine
    }

    /// SIGKILL. What is on disk stays.
    pub(crate) async fn kill(&self) {
        run(self.name, "kill", &self.folder).await;
    }

    /// Starts it again at its old address.
    pub(crate) async fn restart(&self) {
        run(self.name, "restart", &self.folder).await;
    }

    /// Removes what it has on disk; it must be dead.
    pub(crate) async fn wipe(&self) {
        run(self.name, "wipe", &self.folder).await;
    }

    /// Changes a file of it; it must be dead.
    pub(crate) fn change(&self, file: &str, change: impl FnOnce(String) -> String) {
        let path = self.folder.join(file);
        let text = std::fs::read_to_string(&path).expect("it has the file");
        std::fs::write(path, change(text)).expect("the file can be written");
    }

    /// SIGSTOP: connections stay open, and nothing answers.
    pub(crate) async fn pause(&self) {
        self.signal(Signal::STOP).await;
    }

    /// SIGCONT.
    pub(crate) async fn resume(&self) {
        self.signal(Signal::CONT).await;
    }

    async fn signal(&self, signal: Signal) {
        for pid in run(self.name, "pids", &self.folder).await.split_whitespace() {
            let pid = pid.parse().ok().and_then(Pid::from_raw).expect("a process id");
            kill_process(pid, signal)
                .unwrap_or_else(|error| panic!("{} takes no signal: {error}", self.name));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let mut stop = std::process::Command::new(script(self.name));
        let stopped = stop.arg("stop").arg(&self.folder).stdin(Stdio::null()).status();
        if !stopped.is_ok_and(|status| status.success()) {
            eprintln!("{} was not stopped", self.name);
        }
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/services/{name}.sh"))
}

/// What it prints.
async fn run(name: &str, verb: &str, folder: &Path) -> String {
    let mut command = Command::new(script(name));
    command.arg(verb).arg(folder).stdin(Stdio::null()).kill_on_drop(true);
    let Output { status, stdout, stderr } = command.output().await.expect("the script runs");
    assert!(status.success(), "{name}.sh {verb}: {status}\n{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("it prints text").trim().to_owned()
}
