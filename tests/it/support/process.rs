//! The program under test as a process: what it prints, how it ends.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::wait::{PATIENCE, soon};

/// Lines shown of a process whose test fails.
const SHOWN: usize = 30;

/// A bug that is planted in every server of this process.
#[cfg(feature = "faults")]
pub(crate) const PLANTED: &str = "HERALD_TEST_PLANTED";

/// Adds the planted bug, if any, to other faults.
#[cfg(feature = "faults")]
pub(crate) fn with_planted(faults: &str) -> String {
    let planted = std::env::var(PLANTED).map(|bug| format!("plant={bug},")).unwrap_or_default();
    format!("{planted}{faults}")
}

/// The `herald` that is tested, instead of the one that was built with the tests.
const BINARY: &str = "HERALD_TEST_BINARY";

/// What processes of Herald are started by.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Program {
    binary: PathBuf,
    is_apart: bool,
}

impl Program {
    /// The present version.
    pub(crate) fn present() -> Self {
        Self::at(std::env::var_os(BINARY).unwrap_or_else(|| env!("CARGO_BIN_EXE_herald").into()).into())
    }

    /// Any version.
    pub(crate) fn at(binary: PathBuf) -> Self {
        Self { binary, is_apart: false }
    }

    /// Ctrl-C at the terminal does not reach it: whoever started it ends it.
    pub(crate) fn apart(self) -> Self {
        Self { is_apart: true, ..self }
    }

    /// With nothing of this test's environment that is meant for it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HERALD_"))
        {
            command.env_remove(name);
        }
        #[cfg(feature = "faults")]
        command.env("FAULTS", with_planted(""));
        if self.is_apart {
            command.process_group(0);
        }
        command.env("RUST_BACKTRACE", "1").stdin(Stdio::null());
        command
    }
}

/// A command of the present version.
pub(crate) fn herald() -> Command {
    Program::present().command()
}

/// A child process. Killed on drop; what it printed is shown when the test fails.
pub(crate) struct Process {
    name: String,
    child: Child,
    stdout: Printed,
    stderr: Printed,
}

/// What a process has printed so far on one of its streams.
#[derive(Clone)]
pub(crate) struct Printed(watch::Receiver<Lines>);

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    has_ended: bool,
}

/// What a command that has ended printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Process {
    /// Starts `command`; all it prints is also kept in `folder`, in files that begin with `name`.
    pub(crate) fn start(name: &str, folder: &Path, mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let file = |stream: &str| folder.join(format!("{name}.{stream}"));
        let stdout = read_lines(child.stdout.take().expect("it is piped"), file("stdout"));
        let stderr = read_lines(child.stderr.take().expect("it is piped"), file("stderr"));
        Self { name: name.to_owned(), child, stdout, stderr }
    }

    /// Its number, for looking at it in `/proc`.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_else(|| panic!("{} has ended before", self.name))
    }

    /// The most memory that it had resident so far (proc(5), VmHWM).
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it has memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    pub(crate) fn stdout(&self) -> Printed {
        self.stdout.clone()
    }

    pub(crate) fn stderr(&self) -> Printed {
        self.stderr.clone()
    }

    /// SIGKILL, then waits until the kernel has taken the process away.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap_or_else(|error| panic!("{} cannot be killed: {error}", self.name));
    }

    /// SIGTERM, then waits at most `limit` for the end.
    pub(crate) async fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(ended) => ended.expect("a child can be waited for"),
            Err(_) => panic!("{} did not end within {} s of SIGTERM", self.name, limit.as_secs()),
        }
    }

    /// As Ctrl-C does.
    pub(crate) async fn interrupt(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::INT);
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(ended) => ended.expect("a child can be waited for"),
            Err(_) => panic!("{} did not end within {} s of SIGINT", self.name, limit.as_secs()),
        }
    }

    /// SIGSTOP: it does nothing more, and its connections stay open.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pid = pid.unwrap_or_else(|| panic!("{} has ended before", self.name));
        kill_process(pid, signal).unwrap_or_else(|error| panic!("{} takes no signal: {error}", self.name));
    }

    /// How it ended, if it has.
    pub(crate) fn end(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits for the end by itself.
    pub(crate) async fn ended(mut self) -> Ended {
        let status = soon(&format!("the end of {}", self.name), self.child.wait()).await;
        let status = status.expect("a child can be waited for");
        Ended { status, stdout: self.stdout.to_the_end().await, stderr: self.stderr.to_the_end().await }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (stream, printed) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
                let printed = printed.0.borrow();
                let skipped = printed.lines.len().saturating_sub(SHOWN);
                eprintln!("--- {} {stream} ({skipped} lines before)", self.name);
                for line in &printed.lines[skipped..] {
                    eprintln!("{line}");
                }
            }
        }
    }
}

impl Printed {
    /// Waits for the first line in which `look` finds something.
    pub(crate) async fn find<T>(&self, what: &str, look: impl Fn(&str) -> Option<T>) -> T {
        let mut printed = self.0.clone();
        let mut seen = 0;
        let found = async {
            loop {
                {
                    let now = printed.borrow_and_update();
                    if let Some(found) = now.lines[seen..].iter().find_map(|line| look(line)) {
                        return found;
                    }
                    seen = now.lines.len();
                    assert!(!now.has_ended, "the process ended without {what}:\n{}", now.lines.join("\n"));
                }
                // The sender sets `has_ended` before it goes.
                let _ = printed.changed().await;
            }
        };
        soon(what, found).await
    }

    /// Every line so far.
    pub(crate) fn so_far(&self) -> Vec<String> {
        self.0.borrow().lines.clone()
    }

    /// All of it, once the process has closed the stream.
    pub(crate) async fn to_the_end(&self) -> String {
        let mut printed = self.0.clone();
        let ended = tokio::time::timeout(PATIENCE, printed.wait_for(|lines| lines.has_ended)).await;
        let ended =
            ended.expect("a process that has ended closes its streams").expect("the reader says when");
        ended.lines.join("\n")
    }
}

fn read_lines(stream: impl AsyncRead + Send + Unpin + 'static, file: PathBuf) -> Printed {
    use std::io::Write as _;
    let (sender, receiver) = watch::channel(Lines::default());
    tokio::spawn(async move {
        let mut kept = std::fs::OpenOptions::new().create(true).append(true).open(file).ok();
        let mut lines = BufReader::new(stream).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            let line = String::from_utf8_lossy(&line).into_owned();
            if let Some(kept) = &mut kept {
                // The file is for a person; the test reads the memory.
                let _ = writeln!(kept, "{line}");
            }
            sender.send_modify(|now| now.lines.push(line));
        }
        sender.send_modify(|now| now.has_ended = true);
    });
    Printed(receiver)
}
