//! The results as tables of Markdown.

use std::fmt::Write;

use crate::run::{Idle, Latency, Load, Mode, Pace, Results};

/// Whose CPU is told, in the order of the column's head.
const PROCESSES: [&str; 6] = ["api", "worker", "postgres", "nats-server", "redis-server", "simulator"];

/// A column: its head, and what stands in it.
type Column = (&'static str, fn(&Load) -> String);

const BY: Column = ("by", by);
const CLIENTS: Column = ("clients", |it| grouped(it.clients as f64));
const IN_FLIGHT: Column = ("in flight", |it| grouped(it.concurrency as f64));
const SECONDS: Column = ("seconds", |it| format!("{:.0}", it.duration_seconds));
const DUE: Column = ("due per second", |it| grouped(it.rate.unwrap_or_default() as f64));
const ACCEPTED: Column = ("accepted/s", |it| grouped(it.accepted_per_second));
const ACCEPT: Column = ("accept p50, p99, p99.9", |it| latency(it.accept_latency));
const DELIVERED: Column = ("delivered/s", |it| grouped(it.delivered_per_second));
const DELIVERY: Column = ("receipt to DELIVERED p50, p99, p99.9", |it| latency(it.delivery_latency));
const BATCH: Column = ("messages a transaction", |it| known(it.server.accept_batch, grouped));
const CPU: Column = ("CPU per message: API, worker, PostgreSQL, NATS, Redis, provider", cpu);
const CPU_EMBEDDED: Column = ("CPU per message", cpu);
const WAL: Column = ("WAL per message", |it| known(it.server.wal_bytes_per_message, kilobytes));
const DISK: Column =
    ("disk per message", |it| known(it.server.disk_bytes_per_message.get("herald").copied(), kilobytes));
const MEMORY: Column = ("API, worker resident", |it| resident(it, &["api", "worker"]));
const MEMORY_API: Column = ("API resident", |it| resident(it, &["api"]));
const MEMORY_EMBEDDED: Column = ("resident", |it| resident(it, &["herald"]));
const DRAIN: Column = ("backlog, then delivered in", drain);
const BARE: Column = ("bare accept messages/s", |it| known(bare_accept(it), grouped));
const BARE_LIFE: Column = ("bare life messages/s", |it| known(bare_life(it), grouped));
const OF_BARE: Column =
    ("accepted ÷ bare accept", |it| known(bare_accept(it), |bare| ratio(it.accepted_per_second, bare)));
const OF_LIFE: Column =
    ("delivered ÷ bare life", |it| known(bare_life(it), |bare| ratio(it.delivered_per_second, bare)));

/// One table.
struct Table {
    title: &'static str,
    mode: Mode,
    pace: Pace,
    columns: &'static [Column],
}

const TABLES: [Table; 5] = [
    Table {
        title: "Nodes, end to end: what is accepted is sent, reported and pushed meanwhile (closed loop)",
        mode: Mode::Nodes,
        pace: Pace::Closed,
        columns: &[
            BY, CLIENTS, IN_FLIGHT, SECONDS, ACCEPTED, ACCEPT, DELIVERED, DELIVERY, CPU, WAL, MEMORY, BARE,
            OF_BARE,
        ],
    },
    Table {
        title: "Nodes, a burst: accepted without a worker, which is started afterwards (closed loop)",
        mode: Mode::Nodes,
        pace: Pace::Burst,
        columns: &[
            BY, CLIENTS, IN_FLIGHT, SECONDS, ACCEPTED, ACCEPT, DRAIN, CPU, WAL, MEMORY_API, BARE, OF_BARE,
        ],
    },
    Table {
        title: "Nodes, messages due at fixed times (open loop), with a provider that answers and reports at once",
        mode: Mode::Nodes,
        pace: Pace::Open,
        columns: &[BY, DUE, ACCEPTED, ACCEPT, DELIVERED, DELIVERY, BATCH, CPU, WAL],
    },
    Table {
        title: "Embedded (closed loop)",
        mode: Mode::Embedded,
        pace: Pace::Closed,
        columns: &[
            BY,
            CLIENTS,
            IN_FLIGHT,
            SECONDS,
            ACCEPTED,
            ACCEPT,
            DELIVERED,
            DELIVERY,
            BATCH,
            CPU_EMBEDDED,
            DISK,
            MEMORY_EMBEDDED,
            BARE,
            OF_BARE,
            BARE_LIFE,
            OF_LIFE,
        ],
    },
    Table {
        title: "Embedded, messages due at fixed times (open loop)",
        mode: Mode::Embedded,
        pace: Pace::Open,
        columns: &[BY, DUE, ACCEPTED, ACCEPT, DELIVERED, DELIVERY, BATCH, CPU_EMBEDDED, DISK],
    },
];

/// All tables that have rows, and under each what did not go as planned.
pub(crate) fn all(results: &Results) -> String {
    let mut told = Vec::new();
    for Table { title, mode, pace, columns } in TABLES {
        let loads = results.of(mode, pace);
        if loads.is_empty() {
            continue;
        }
        let heads = columns.iter().map(|(head, _)| (*head).to_owned()).collect();
        let rows = loads.iter().map(|load| columns.iter().map(|(_, cell)| cell(load)).collect());
        told.push(format!("**{title}**"));
        told.push(table(heads, rows));
        told.extend(left(&loads));
    }
    told.extend(results.idle.iter().map(idle));
    told.join("\n\n")
}

fn table(heads: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|{}", heads.join(" | "), "---|".repeat(heads.len()));
    for row in rows {
        // Writing to a string does not fail.
        let _ = write!(text, "\n| {} |", row.join(" | "));
    }
    text
}

/// Messages that were refused, not sent, or not delivered; `None` = there are none.
fn left(loads: &[&Load]) -> Option<String> {
    let of = |load: &Load| {
        let mut said = Vec::new();
        if load.unsent > 0 {
            said.push(format!(
                "{} were not sent, as all places in flight were taken",
                grouped(load.unsent as f64)
            ));
        }
        said.extend(
            load.errors.iter().map(|(why, count)| format!("{} ended with {why}", grouped(*count as f64))),
        );
        let others = load.ended.iter().filter(|(status, _)| *status != "DELIVERED");
        said.extend(others.map(|(status, count)| format!("{} ended {status}", grouped(*count as f64))));
        if load.open > 0 {
            said.push(format!("{} had no final report", grouped(load.open as f64)));
        }
        let due =
            load.rate.map(|rate| format!(", {} due per second", grouped(rate as f64))).unwrap_or_default();
        let clients = counted(load.clients, "client");
        (!said.is_empty()).then(|| format!("- {}, {clients}{due}: {}.", by(load), said.join("; ")))
    };
    let said: Vec<String> = loads.iter().filter_map(|load| of(load)).collect();
    (!said.is_empty()).then(|| format!("Of their messages:\n\n{}", said.join("\n")))
}

fn idle(idle: &Idle) -> String {
    let mut text = format!(
        "**Idle subscribers**: {} of {} on {} connections for {:.0} s: the API node had {} resident, {} for each of them.",
        grouped(idle.idle_subscribers as f64),
        counted(idle.clients, "client"),
        grouped(idle.connections as f64),
        idle.duration_seconds,
        known(idle.resident_mib, |mib| format!("{mib:.0} MiB")),
        known(idle.kib_per_subscriber, |kib| format!("{kib:.1} KiB")),
    );
    if let (Some(before), Some(with)) = (idle.transactions_per_second_before, idle.transactions_per_second) {
        let _ =
            write!(text, " PostgreSQL ran {with:.1} transactions a second, and {before:.1} without them.");
    }
    text
}

fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count as f64), if count == 1 { "" } else { "s" })
}

fn by(load: &Load) -> String {
    match load.batch {
        Some(batch) => format!("batches of {batch}"),
        None => load.by.clone(),
    }
}

fn cpu(load: &Load) -> String {
    let spent = &load.server.cpu_micros_per_message;
    match load.mode() {
        Mode::Embedded => known(spent.get("herald").copied(), |micros| format!("{} us", grouped(micros))),
        Mode::Nodes => {
            let each = PROCESSES.map(|name| known(spent.get(name).copied(), grouped));
            format!("{} = {} us", each.join(", "), grouped(spent.values().sum()))
        }
    }
}

fn resident(load: &Load, names: &[&str]) -> String {
    let each: Vec<_> =
        names.iter().map(|name| known(load.server.peak_mib.get(*name).copied(), grouped)).collect();
    format!("{} MiB", each.join(", "))
}

fn drain(load: &Load) -> String {
    let rate = load.accepted_in_all as f64 / load.drain_seconds.max(f64::MIN_POSITIVE);
    format!("{}, {:.1} s ({}/s)", grouped(load.accepted_in_all as f64), load.drain_seconds, grouped(rate))
}

fn bare_accept(load: &Load) -> Option<f64> {
    let bare = load.bare_postgres.as_ref().or(load.bare_sqlite.as_ref().map(|it| &it.accept));
    bare.map(|it| it.messages_per_second)
}

fn bare_life(load: &Load) -> Option<f64> {
    load.bare_sqlite.as_ref().map(|it| it.life.messages_per_second)
}

fn known(value: Option<f64>, told: impl Fn(f64) -> String) -> String {
    value.map_or("–".to_owned(), told)
}

fn ratio(ours: f64, bare: f64) -> String {
    format!("{:.2}", ours / bare)
}

fn kilobytes(bytes: f64) -> String {
    format!("{:.1} kB", bytes / 1_000.0)
}

/// In the unit that the first needs.
fn latency(Latency { p50, p99, p999 }: Latency) -> String {
    if p50 <= 0.0 {
        // None that was due in the time came to an answer.
        return "–".to_owned();
    }
    if p50 >= 1_000.0 {
        return format!("{:.2}, {:.2}, {:.2} s", p50 / 1_000.0, p99 / 1_000.0, p999 / 1_000.0);
    }
    let short = |value: f64| if value < 10.0 { format!("{value:.1}") } else { grouped(value) };
    format!("{}, {}, {} ms", short(p50), short(p99), short(p999))
}

/// A whole number, with a comma after each three digits.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!([7.0, 999.6, 12_345.0, 1_234_567.0].map(grouped), ["7", "1,000", "12,345", "1,234,567"]);
        assert_eq!(latency(Latency { p50: 3.21, p99: 17.0, p999: 1_250.0 }), "3.2, 17, 1,250 ms");
        assert_eq!(latency(Latency { p50: 1_220.0, p99: 1_350.0, p999: 1_400.0 }), "1.22, 1.35, 1.40 s");
        assert_eq!(known(None, grouped), "–");
    }
}
