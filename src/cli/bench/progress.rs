//! A line on the terminal that tells how it goes.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use super::deliveries::Deliveries;

const EVERY: Duration = Duration::from_millis(500);

/// Shows it until the task is aborted; nothing if standard error is no terminal.
pub fn show(deliveries: Arc<Deliveries>, begin: Instant, end: Instant) -> JoinHandle<()> {
    tokio::spawn(async move {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let mut ticks = interval(EVERY);
        let mut last = (0, 0);
        let _line = Line;
        loop {
            ticks.tick().await;
            let now = (deliveries.accepted.load(Ordering::Relaxed), deliveries.ended.load(Ordering::Relaxed));
            let per_second = |now: u64, last: u64| (now - last) as f64 / EVERY.as_secs_f64();
            let state = if Instant::now() < end { "" } else { "  waiting for the last reports" };
            let text = format!(
                "{:5.1} s  accepted {:6.0}/s  ended {:6.0}/s  open {:6}  refused {}{state}",
                begin.elapsed().as_secs_f64(),
                per_second(now.0, last.0),
                per_second(now.1, last.1),
                deliveries.open(),
                deliveries.refused.load(Ordering::Relaxed),
            );
            // A terminal that is gone is no reason to stop.
            let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
            last = now;
        }
    })
}

/// Wipes the line when it is dropped.
struct Line;

impl Drop for Line {
    fn drop(&mut self) {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}
