//! What the measured servers spent, as the kernel and their own metrics tell it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};

use super::servers::{Server, Servers};
use super::target::Target;
use super::{Window, bare};

/// The unit of times in /proc/PID/stat: USER_HZ, which is 100 on every Linux (proc(5), time(7)).
const TICKS_PER_SECOND: f64 = 100.0;
const SCRAPE: Duration = Duration::from_secs(2);

/// Programs that serve Herald's nodes, by the name that the kernel knows them by: all that run on this machine are counted.
const ENGINES: [&str; 3] = ["postgres", "nats-server", "redis-server"];

/// Spent between the start and the end of the measurement; empty = not known here.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// User and system time of all threads, by process.
    pub cpu_seconds: BTreeMap<&'static str, f64>,
    /// Bytes that each of our processes caused to be written to disk.
    pub disk_bytes: BTreeMap<&'static str, f64>,
    /// The most memory that each of our processes has had resident, so far.
    pub peak_bytes: BTreeMap<&'static str, f64>,
    /// Bytes of PostgreSQL's WAL.
    pub wal_bytes: Option<f64>,
    /// Messages in an accepting transaction, on average.
    pub accept_batch: Option<f64>,
}

/// Counters that only grow.
#[derive(Clone, Default)]
struct Reading {
    cpu_seconds: BTreeMap<&'static str, f64>,
    disk_bytes: BTreeMap<&'static str, f64>,
    peak_bytes: BTreeMap<&'static str, f64>,
    /// Messages and transactions.
    batches: Option<(f64, f64)>,
}

impl Usage {
    /// Waits for the window to pass.
    pub async fn between(target: &Target, window: Window, bare_postgres: Option<&Path>) -> Self {
        let Some(servers) = &target.servers else { return Self::default() };
        let wal = async || match bare_postgres {
            Some(program) => bare::counters(program).await.ok().map(|it| it.wal_bytes),
            None => None,
        };
        sleep_until(window.start).await;
        let (first, wal_first) = (read(servers).await, wal().await);
        sleep_until(window.end).await;
        let (last, wal_last) = (read(servers).await, wal().await);
        let batches =
            last.batches.zip(first.batches).map(|(last, first)| (last.0 - first.0, last.1 - first.1));
        Self {
            cpu_seconds: grown(last.cpu_seconds, &first.cpu_seconds),
            disk_bytes: grown(last.disk_bytes, &first.disk_bytes),
            peak_bytes: last.peak_bytes,
            wal_bytes: wal_last.zip(wal_first).map(|(last, first)| last - first),
            accept_batch: batches.filter(|batches| batches.1 > 0.0).map(|(messages, count)| messages / count),
        }
    }
}

/// Memory that a process of ours has resident now, in bytes; `None` = not known here.
pub fn resident_bytes(server: &Server) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id)).ok()?;
    Some(kib(&status, "VmRSS:")? * 1_024.0)
}

/// A line of proc_pid_status(5).
fn kib(status: &str, name: &str) -> Option<f64> {
    field(&status.replace(" kB", ""), name)
}

fn grown(
    mut last: BTreeMap<&'static str, f64>,
    first: &BTreeMap<&'static str, f64>,
) -> BTreeMap<&'static str, f64> {
    for (name, value) in &mut last {
        *value -= first.get(name).copied().unwrap_or(0.0);
    }
    // Another server of that name has ended and taken its counts along.
    last.retain(|_, value| *value >= 0.0);
    last
}

async fn read(servers: &Servers) -> Reading {
    let mut reading = Reading::default();
    for server in &servers.processes {
        let file = |name| std::fs::read_to_string(format!("/proc/{}/{name}", server.id)).ok();
        reading.cpu_seconds.extend(file("stat").and_then(|it| Some((server.name, cpu_seconds(&it, OWN)?))));
        reading.disk_bytes.extend(file("io").and_then(|it| Some((server.name, field(&it, "write_bytes:")?))));
        let peak = file("status").and_then(|it| kib(&it, "VmHWM:"));
        reading.peak_bytes.extend(peak.map(|kib| (server.name, kib * 1_024.0)));
    }
    if servers.processes.len() > 1 {
        reading.cpu_seconds.extend(engines());
    }
    let first = servers.processes.first().and_then(|server| server.metrics);
    let metrics = match first {
        Some(address) => timeout(SCRAPE, scrape(address)).await.ok().and_then(Result::ok),
        None => None,
    };
    reading.batches = metrics.and_then(|text| {
        Some((
            field(&text, "herald_accept_batch_size_sum ")?,
            field(&text, "herald_accept_batch_size_count ")?,
        ))
    });
    reading
}

/// The memory that each of our processes has resident, and that the processes of each engine have to themselves: what
/// PostgreSQL's share would count many times.
pub fn memory_mib(servers: &Servers) -> BTreeMap<&'static str, f64> {
    let resident = |server: &Server| Some((server.name, resident_bytes(server)? / f64::from(1 << 20)));
    let mut memory: BTreeMap<&'static str, f64> = servers.processes.iter().filter_map(resident).collect();
    for (engine, folder) in engine_processes() {
        let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
        *memory.entry(engine).or_default() += kib(&status, "RssAnon:").unwrap_or(0.0) / 1_024.0;
    }
    memory
}

/// The CPU time of each engine's processes that run now, and of those that have ended under them.
fn engines() -> BTreeMap<&'static str, f64> {
    let mut spent = BTreeMap::new();
    for (engine, folder) in engine_processes() {
        let stat = std::fs::read_to_string(folder.join("stat")).unwrap_or_default();
        *spent.entry(engine).or_default() += cpu_seconds(&stat, OWN + ENDED).unwrap_or(0.0);
    }
    spent
}

/// Each engine's processes, with their folders in /proc.
fn engine_processes() -> impl Iterator<Item = (&'static str, PathBuf)> {
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|process| process.path());
    folders.filter_map(|folder| {
        let name = std::fs::read_to_string(folder.join("comm")).ok()?;
        let engine = ENGINES.into_iter().find(|engine| *engine == name.trim_end())?;
        Some((engine, folder))
    })
}

/// utime and stime, the 14th and 15th field of proc_pid_stat(5).
const OWN: usize = 2;
/// cutime and cstime after them: of children that have ended.
const ENDED: usize = 2;

/// The sum of so many of those fields. The second field of all may hold blanks.
fn cpu_seconds(stat: &str, fields: usize) -> Option<f64> {
    let ticks = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(fields);
    Some(ticks.map(|it| it.parse::<f64>().ok()).sum::<Option<f64>>()? / TICKS_PER_SECOND)
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
        let stat = "77 (a (b) c) S 1 77 77 0 -1 4194560 100 0 0 0 250 50 60 40 20 0 5 0 1 2 3";
        assert_eq!(cpu_seconds(stat, OWN), Some(3.0));
        assert_eq!(cpu_seconds(stat, OWN + ENDED), Some(4.0));
        assert_eq!(cpu_seconds("", OWN), None);
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
