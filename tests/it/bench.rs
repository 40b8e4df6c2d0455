//! `herald bench`: all that it sends is accepted and delivered, and it tells what that took.

use std::path::Path;

use bench_report::{BEGIN, END};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Backing, Herald, Mode, Process, Program, Setup, in_both_modes};

in_both_modes! {
    a_bench_of_its_own_servers_tells_what_each_of_them_spent,
    a_bench_of_a_running_server_makes_clients_of_its_own,
    subscribers_that_get_nothing_are_measured_without_a_load,
    reads_beside_the_load_find_what_is_stored,
}

/// Runs a bench of about a second, and answers what it printed.
async fn bench(
    folder: &Path,
    settings: impl IntoIterator<Item = (&'static str, String)>,
    by: &[&str],
) -> Value {
    let mut command = Program::present().command();
    command.args(["bench", "-o", "json", "--warm-up", "0.2s", "--duration", "1s", "--concurrency", "50"]);
    command.args(by).envs(settings);
    let ended = Process::start("bench", folder, command).ended().await;
    assert!(ended.status.success(), "herald bench: {ended:?}");
    serde_json::from_str(&ended.stdout).expect("it prints one JSON object")
}

/// Where benches run servers of their own: nodes on the engines, or one process with everything.
struct Own {
    folder: TempDir,
    mode: Mode,
    backing: Backing,
}

impl Own {
    async fn of(mode: Mode) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let backing = mode.backing(folder.path()).await;
        Self { folder, mode, backing }
    }

    async fn bench(&self, by: &[&str]) -> Value {
        let place = self.folder.path().to_str().expect("a name in UTF-8");
        let nodes: &[&str] = if self.mode == Mode::Engines { &["--nodes"] } else { &[] };
        let settings = self.backing.settings().filter(|_| self.mode == Mode::Engines);
        bench(self.folder.path(), settings, &[by, &["--folder", place], nodes].concat()).await
    }

    /// What it printed is what the report reads.
    fn assert_is_told(&self, printed: &Value, by: &str) {
        let folder = self.folder.path();
        std::fs::write(folder.join("result.json"), printed.to_string()).expect("the folder takes files");
        std::fs::write(folder.join("machine.txt"), "Some machine.").expect("the folder takes files");
        let document = folder.join("performance.md");
        std::fs::write(&document, format!("{BEGIN}\n{END}\n")).expect("the folder takes files");
        bench_report::render(folder, &document, &folder.join("performance.svg")).expect("it can be read");
        let told = std::fs::read_to_string(&document).expect("it was written");
        assert!(told.contains(by), "{told}");
    }
}

fn assert_all_delivered(summary: &Value) {
    let accepted = summary["accepted_in_all"].as_u64().expect("a count");
    assert!(accepted > 0, "{summary}");
    assert_eq!(summary["ended"]["DELIVERED"].as_u64(), Some(accepted), "{summary}");
    assert_eq!(
        (summary["open"].as_u64(), summary["errors"].as_object().map(|it| it.len())),
        (Some(0), Some(0))
    );
    assert!(summary["accept_latency"]["p99"].as_f64().is_some_and(|p99| p99 > 0.0), "{summary}");
}

async fn a_bench_of_its_own_servers_tells_what_each_of_them_spent(mode: Mode) {
    let names: &[&str] = match mode {
        Mode::Embedded => &["herald"],
        Mode::Engines => &["api", "worker", "simulator", "postgres"],
    };
    let own = Own::of(mode).await;
    let summary = own.bench(&["--by", "stream", "--clients", "3"]).await;
    assert_all_delivered(&summary);
    assert_eq!((summary["by"].as_str(), summary["clients"].as_u64()), (Some("stream"), Some(3)));
    for name in names {
        let spent = &summary["server"]["cpu_micros_per_message"][name];
        assert!(spent.as_f64().is_some_and(|spent| spent > 0.0), "{name} in {summary}");
    }
    own.assert_is_told(&summary, "| stream | 3 |");
}

#[tokio::test]
async fn a_burst_is_accepted_without_a_worker_and_delivered_when_it_comes() {
    let own = Own::of(Mode::Engines).await;
    let summary = own.bench(&["--burst"]).await;
    assert_all_delivered(&summary);
    assert_eq!(
        (summary["burst"].as_bool(), summary["delivered_per_second"].as_f64()),
        (Some(true), Some(0.0))
    );
    let spent = &summary["server"]["cpu_micros_per_message"];
    assert!(spent["api"].is_number() && spent["worker"].is_null(), "{summary}");
    own.assert_is_told(&summary, "a burst");
}

async fn subscribers_that_get_nothing_are_measured_without_a_load(mode: Mode) {
    let own = Own::of(mode).await;
    let idle = own.bench(&["--idle-subscribers", "200", "--clients", "3", "--connections", "5"]).await;
    let counts = ["idle_subscribers", "clients", "connections"].map(|name| idle[name].as_u64());
    assert_eq!(counts, [Some(200), Some(3), Some(5)]);
    let [before, after, each] =
        ["resident_mib_before", "resident_mib", "kib_per_subscriber"].map(|name| idle[name].as_f64());
    assert!(before < after && each > Some(0.0), "{idle}");
    // Nobody gave it the program that counts them.
    assert!(idle["transactions_per_second"].is_null(), "{idle}");
    own.assert_is_told(&idle, "200 of 3 clients on 5 connections");
}

async fn a_bench_of_a_running_server_makes_clients_of_its_own(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = || {
        let key = herald.operator_key().to_owned();
        [("HERALD_ADDRESS", herald.address().to_string()), ("HERALD_API_KEY", key)]
    };
    let by = ["--connect", "--by", "batch", "--batch", "10", "--clients", "2", "--connections", "1"];
    let summary = bench(folder.path(), settings(), &by).await;
    assert_all_delivered(&summary);
    assert_eq!((summary["by"].as_str(), summary["batch"].as_u64()), (Some("batch"), Some(10)));
    let by = ["--connect", "--idle-subscribers", "20", "--clients", "2"];
    let idle = bench(folder.path(), settings(), &by).await;
    assert_eq!(idle["idle_subscribers"].as_u64(), Some(20));
    assert!(idle["resident_mib"].is_null(), "the memory of a process that is not its own: {idle}");
    herald.finish().await;
}

async fn reads_beside_the_load_find_what_is_stored(mode: Mode) {
    let own = Own::of(mode).await;
    let installation = own.folder.path().join("installation");
    let installation = installation.to_str().expect("a name in UTF-8");
    // Nodes are measured twice: what the first run has stored, the second finds.
    let (kept, runs): (&[&str], _) = match mode {
        Mode::Embedded => (&[], 1),
        Mode::Engines => (&["--installation", installation], 2),
    };
    let by = [&["--reads", "100", "--clients", "2"], kept].concat();
    for _ in 0..runs {
        let summary = own.bench(&by).await;
        assert_all_delivered(&summary);
        for kind in ["get_message", "first_page", "deep_page", "list_events"] {
            let read = &summary["reads"]["kinds"][kind];
            assert!(read["per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{kind} in {summary}");
            assert!(read["latency"]["p99"].as_f64().is_some_and(|p99| p99 > 0.0), "{kind} in {summary}");
            assert_eq!(read["errors"].as_object().map(|it| it.len()), Some(0), "{kind} in {summary}");
        }
    }
}
