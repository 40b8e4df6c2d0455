//! What an attack costs: the server's memory, and an honest caller's time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use herald_sdk::Client;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// Between two calls of the honest caller: well below what one connection may make.
const CALL_EVERY: Duration = Duration::from_millis(10);
/// Between two looks at the memory.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A caller that keeps calling, and times each call.
pub(super) struct Caller {
    is_over: Arc<AtomicBool>,
    calls: JoinHandle<Vec<Duration>>,
}

impl Caller {
    pub(super) fn start(client: &Client) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let calls = tokio::spawn(call(client.clone(), is_over.clone()));
        Self { is_over, calls }
    }

    /// Calls for a while, and answers the 99th percentile.
    pub(super) async fn after(self, span: Duration) -> Duration {
        tokio::time::sleep(span).await;
        self.stop().await
    }

    /// The 99th percentile of all calls.
    pub(super) async fn stop(self) -> Duration {
        self.is_over.store(true, Ordering::Relaxed);
        let mut calls = self.calls.await.expect("every call succeeds");
        calls.sort_unstable();
        calls[calls.len() * 99 / 100]
    }
}

async fn call(client: Client, is_over: Arc<AtomicBool>) -> Vec<Duration> {
    let mut calls = Vec::new();
    let mut tick = tokio::time::interval(CALL_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !is_over.load(Ordering::Relaxed) {
        tick.tick().await;
        let began = Instant::now();
        client.balance().await.expect("an honest call succeeds");
        calls.push(began.elapsed());
    }
    calls
}

/// Looks at the memory of a process (Linux).
pub(super) struct Memory {
    before: u64,
    most: Arc<AtomicU64>,
    looks: JoinHandle<()>,
}

impl Memory {
    pub(super) fn watch(pid: u32) -> Self {
        let before = resident_kib(pid).expect("the process runs, and Linux tells its memory");
        let most = Arc::new(AtomicU64::new(before));
        let seen = most.clone();
        let looks = tokio::spawn(async move {
            // Until the process ends.
            while let Some(now) = resident_kib(pid) {
                seen.fetch_max(now, Ordering::Relaxed);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self { before, most, looks }
    }

    /// How much more it was at its most.
    pub(super) fn growth_kib(&self) -> u64 {
        self.most.load(Ordering::Relaxed) - self.before
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.looks.abort();
    }
}

fn resident_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// CPU time that a process has used (proc(5), `stat`): fields 14 and 15, in hundredths of a second.
pub(super) fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in parentheses");
    let ticks = |field: usize| fields.split(' ').nth(field - 3).unwrap().parse::<u64>().expect("a number");
    Duration::from_millis(10 * (ticks(14) + ticks(15)))
}
