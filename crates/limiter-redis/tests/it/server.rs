//! A Redis of a test's own, to be stopped, hung and emptied. It listens on a socket in its directory only.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

pub(crate) struct Server {
    dir: TempDir,
    process: Option<Process>,
}

struct Process {
    child: Child,
    /// Its log has a reader as long as it lives.
    _log: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Not started yet.
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), process: None }
    }

    pub(crate) async fn started() -> Self {
        let mut server = Self::new();
        server.start().await;
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", socket(self.dir.path()).display())
    }

    /// Answers when it takes calls.
    pub(crate) async fn start(&mut self) {
        let mut child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(socket(self.dir.path()))
            .arg("--dir")
            .arg(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server is on this machine");
        let mut log = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let line = log.next_line().await.unwrap().expect("redis-server starts");
            if line.to_lowercase().contains("ready to accept connections") {
                break;
            }
        }
        self.process = Some(Process { child, _log: log });
    }

    /// As a crash stops it.
    pub(crate) async fn stop(&mut self) {
        self.process.take().unwrap().child.kill().await.unwrap();
    }

    /// From now on connections stand and nothing is answered.
    pub(crate) fn hang(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// A call beside the limiter's.
    pub(crate) async fn run<T: deadpool_redis::redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let client = deadpool_redis::redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        deadpool_redis::redis::cmd(command[0]).arg(&command[1..]).query_async(&mut connection).await.unwrap()
    }

    fn signal(&self, signal: Signal) {
        let child = &self.process.as_ref().unwrap().child;
        let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("redis.sock")
}
