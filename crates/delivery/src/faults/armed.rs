//! What goes wrong in this process, as the environment variable `FAULTS` says: a list, separated by commas, of
//!
//! * `crash=POINT+MILLIS`: the process aborts at the point, the first time so long after it passed its first point;
//! * `stall=POINT+MILLIS`: whoever comes to the point first stays there so long;
//! * `plant=BUG`: the bug is there.
//!
//! A list that does not read ends the process, for its test means something else.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Bug, POINTS};

static ARMED: LazyLock<Armed> = LazyLock::new(|| {
    let told = std::env::var("FAULTS").unwrap_or_default();
    Armed::read(&told).unwrap_or_else(|problem| {
        eprintln!("FAULTS={told}: {problem}");
        std::process::exit(64)
    })
});

struct Armed {
    began: Instant,
    crashes: Vec<Timed>,
    stalls: Vec<(Timed, AtomicBool)>,
    planted: Vec<Bug>,
}

struct Timed {
    point: String,
    time: Duration,
}

impl Armed {
    fn read(told: &str) -> Result<Self, String> {
        let began = Instant::now();
        let mut armed = Self { began, crashes: Vec::new(), stalls: Vec::new(), planted: Vec::new() };
        for fault in told.split(',').filter(|fault| !fault.is_empty()) {
            match fault.split_once('=') {
                Some(("crash", timed)) => armed.crashes.push(Timed::read(timed)?),
                Some(("stall", timed)) => armed.stalls.push((Timed::read(timed)?, AtomicBool::new(false))),
                Some(("plant", bug)) => armed.planted.push(bug.parse()?),
                _ => return Err(format!("{fault} is no fault")),
            }
        }
        Ok(armed)
    }

    async fn pass(&self, point: &str) {
        for (stall, is_over) in &self.stalls {
            if stall.point == point && !is_over.swap(true, Ordering::Relaxed) {
                eprintln!("stalled at {point}");
                tokio::time::sleep(stall.time).await;
            }
        }
        let is_due = |crash: &Timed| crash.point == point && self.began.elapsed() >= crash.time;
        if self.crashes.iter().any(is_due) {
            // As sudden as SIGKILL: nothing is flushed, nothing is told.
            eprintln!("crashed at {point}");
            std::process::abort();
        }
    }
}

impl Timed {
    fn read(told: &str) -> Result<Self, String> {
        let (point, millis) = told.split_once('+').ok_or_else(|| format!("{told} has no time"))?;
        if !POINTS.contains(&point) {
            return Err(format!("there is no point {point}"));
        }
        let millis = millis.parse().map_err(|_| format!("{millis} is no time"))?;
        Ok(Self { point: point.to_owned(), time: Duration::from_millis(millis) })
    }
}

/// Does the work, then passes the point.
pub async fn after<T>(point: impl Into<Cow<'static, str>>, work: impl Future<Output = T>) -> T {
    let done = work.await;
    ARMED.pass(&point.into()).await;
    done
}

/// Whether `FAULTS` plants this bug.
pub fn is_planted(bug: Bug) -> bool {
    ARMED.planted.contains(&bug)
}
