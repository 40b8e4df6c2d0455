//! What the measured server spent, as the kernel and its own metrics tell it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};

use super::Window;
use super::target::{Server, Target};

/// The unit of times in /proc/PID/stat: USER_HZ, which is 100 on every Linux (proc(5), time(7)).
const TICKS_PER_SECOND: f64 = 100.0;
const SCRAPE: Duration = Duration::from_secs(2);

/// Spent between the start and the end of the measurement; `None` = not known here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time of all its threads.
    pub cpu_seconds: Option<f64>,
    /// Bytes it caused to be written to disk.
    pub disk_bytes: Option<u64>,
    /// Messages in an accepting transaction, on average.
    pub accept_batch: Option<f64>,
}

/// Counters that only grow.
#[derive(Clone, Copy, Default)]
struct Reading {
    cpu_seconds: Option<f64>,
    disk_bytes: Option<u64>,
    /// Messages and transactions.
    batches: Option<(f64, f64)>,
}

impl Usage {
    /// Waits for the window to pass.
    pub async fn between(target: &Target, window: Window) -> Self {
        sleep_until(window.start).await;
        let first = read(target.server.as_ref()).await;
        sleep_until(window.end).await;
        let last = read(target.server.as_ref()).await;
        let batches =
            last.batches.zip(first.batches).map(|(last, first)| (last.0 - first.0, last.1 - first.1));
        Self {
            cpu_seconds: last.cpu_seconds.zip(first.cpu_seconds).map(|(last, first)| last - first),
            disk_bytes: last.disk_bytes.zip(first.disk_bytes).map(|(last, first)| last.saturating_sub(first)),
            accept_batch: batches.filter(|batches| batches.1 > 0.0).map(|(messages, count)| messages / count),
        }
    }
}

async fn read(server: Option<&Server>) -> Reading {
    let Some(server) = server else { return Reading::default() };
    let file = |name| std::fs::read_to_string(format!("/proc/{}/{name}", server.process)).ok();
    let metrics = match server.metrics {
        Some(address) => timeout(SCRAPE, scrape(address)).await.ok().and_then(Result::ok),
        None => None,
    };
    Reading {
        cpu_seconds: file("stat").and_then(|text| cpu_seconds(&text)),
        disk_bytes: file("io").and_then(|text| field(&text, "write_bytes:")).map(|bytes| bytes as u64),
        batches: metrics.and_then(|text| {
            Some((
                field(&text, "herald_accept_batch_size_sum ")?,
                field(&text, "herald_accept_batch_size_count ")?,
            ))
        }),
    }
}

/// utime and stime, the 14th and 15th field of proc_pid_stat(5). The second field may hold blanks.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}

/// The number after `name` on the line that begins with it.
fn field(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)).and_then(|value| value.trim().parse().ok())
}

async fn scrape(address: SocketAddr) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_past_a_name_with_blanks_and_brackets() {
        let stat = "77 (a (b) c) S 1 77 77 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds(""), None);
    }

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text = "# TYPE x summary\nx_sum 12.5\nx_summary 1\nx_count 5\n";
        assert_eq!(
            (field(text, "x_sum "), field(text, "x_count "), field(text, "y ")),
            (Some(12.5), Some(5.0), None)
        );
    }
}
