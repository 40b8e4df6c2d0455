//! From a folder of results to the document and its plot.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use bench_report::{BEGIN, END, render};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What `herald bench --nodes -o json` prints, as far as it is read.
fn load(by: &str, rate: Option<u32>) -> Value {
    let latency =
        |millis: f64| json!({ "p50": millis, "p99": 3.0 * millis, "p999": 4.0 * millis, "max": 90.0 });
    json!({
        "loop": if rate.is_some() { "open" } else { "closed" }, "rate": rate, "by": by, "burst": false,
        "clients": 1_000, "duration_seconds": 30.0, "connections": 4, "concurrency": 1_024,
        "accepted": 60_000, "accepted_in_all": 64_000, "accepted_per_second": 2_000.0,
        "accept_latency": latency(12.5), "errors": {}, "unsent": 0, "delivered_per_second": 1_900.0,
        "delivery_latency": latency(1_200.0), "ended": { "DELIVERED": 64_000 }, "open": 0, "drain_seconds": 16.0,
        "server": {
            "cpu_micros_per_message": { "api": 150.0, "worker": 90.0, "postgres": 300.0, "nats-server": 50.0,
                "redis-server": 10.0, "simulator": 40.0 },
            "disk_bytes_per_message": { "api": 0.0 }, "peak_mib": { "api": 60.2, "worker": 30.0, "simulator": 20.0 },
            "wal_bytes_per_message": 5_200.0, "accept_batch": 120.4,
        },
        "bare_postgres": { "messages_per_second": 50_000.0, "wal_bytes_per_message": 900.0 },
    })
}

fn embedded(by: &str, rate: Option<u32>) -> Value {
    let mut load = load(by, rate);
    load["server"]["cpu_micros_per_message"] = json!({ "herald": 350.0 });
    let rate =
        |rate: f64| json!({ "messages": 1, "rows": 6, "messages_per_second": rate, "rows_per_second": 1.0 });
    load["bare_sqlite"] = json!({ "batch": 100, "accept": rate(40_000.0), "life": rate(10_000.0) });
    load.as_object_mut().unwrap().remove("bare_postgres");
    load
}

struct Files {
    folder: TempDir,
    document: PathBuf,
    plot: PathBuf,
}

/// The results of those names, and a document.
fn files(results: &[(&str, Value)], document: &str) -> Files {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("machine.txt"), "2 virtual CPUs, at revision 0123abc.\n").unwrap();
    for (name, result) in results {
        std::fs::write(folder.path().join(name), result.to_string()).unwrap();
    }
    let (document, plot) = {
        let path = folder.path().join("performance.md");
        std::fs::write(&path, document).unwrap();
        (path, folder.path().join("performance.svg"))
    };
    Files { folder, document, plot }
}

impl Files {
    fn rendered(&self) -> (String, String) {
        render(self.folder.path(), &self.document, &self.plot).unwrap();
        (std::fs::read_to_string(&self.document).unwrap(), std::fs::read_to_string(&self.plot).unwrap())
    }
}

fn document() -> String {
    format!("# Performance\n\n{BEGIN}\nold\n{END}\n\nThe rest.\n")
}

#[test]
fn results_become_tables_between_the_markers_in_the_order_of_their_names() {
    let mut burst = load("stream", None);
    burst["burst"] = json!(true);
    let idle = json!({ "idle_subscribers": 10_000, "clients": 1, "connections": 100, "opening_seconds": 9.0,
        "duration_seconds": 30.0, "resident_mib_before": 40.0, "resident_mib": 130.0, "kib_per_subscriber": 9.2,
        "transactions_per_second_before": 1.0, "transactions_per_second": 2.5 });
    let results = [
        ("02-unary.json", load("unary", None)),
        ("01-stream.json", load("stream", None)),
        ("03-burst.json", burst),
        ("04-open.json", load("unary", Some(100))),
        ("05-embedded.json", embedded("unary", None)),
        ("06-embedded-open.json", embedded("unary", Some(500))),
        ("07-idle.json", idle),
    ];
    let (text, _) = files(&results, &document()).rendered();
    let begin = format!("# Performance\n\n{BEGIN}\n\n2 virtual CPUs, at revision 0123abc.\n\n![");
    assert!(text.starts_with(&begin) && text.contains("](performance.svg)\n\n**Nodes"), "{text}");
    assert!(text.ends_with(&format!("without them.\n\n{END}\n\nThe rest.\n")), "{text}");
    let rows: Vec<&str> =
        text.lines().filter(|line| line.starts_with("| ") && !line.contains("by |")).collect();
    let end_to_end = "1,000 | 1,024 | 30 | 2,000 | 12, 38, 50 ms | 1,900 | 1.20, 3.60, 4.80 s | \
                      150, 90, 300, 50, 10, 40 = 640 us | 5.2 kB | 60, 30 MiB | 50,000 | 0.04 |";
    assert_eq!(rows[0], format!("| stream | {end_to_end}"));
    assert_eq!(rows[1], format!("| unary | {end_to_end}"));
    assert!(rows[2].contains("| 64,000, 16.0 s (4,000/s) |"), "{}", rows[2]);
    assert!(rows[3].starts_with("| unary | 100 | 2,000 |"), "{}", rows[3]);
    assert!(rows[4].ends_with("| 40,000 | 0.05 | 10,000 | 0.19 |"), "{}", rows[4]);
    assert!(rows[5].starts_with("| unary | 500 |"), "{}", rows[5]);
    assert!(text.contains(
        "10,000 of 1 client on 100 connections for 30 s: the API node had 130 MiB resident, 9.2 KiB"
    ));
}

#[test]
fn what_did_not_go_as_planned_is_told() {
    let mut full = load("unary", Some(5_000));
    full["unsent"] = json!(12_000);
    full["errors"] = json!({ "OVERLOADED": 3 });
    full["ended"] = json!({ "DELIVERED": 1, "FAILED_PERM": 2 });
    full["open"] = json!(7);
    let (text, _) = files(&[("1.json", full)], &document()).rendered();
    let told = "- unary, 1,000 clients, 5,000 due per second: 12,000 were not sent, as all places in flight were taken; \
                3 ended with OVERLOADED; 2 ended FAILED_PERM; 7 had no final report.";
    assert!(text.contains(told), "{text}");
}

#[test]
fn the_plot_shows_the_runs_whose_messages_were_due_at_fixed_times() {
    let rates = [10, 100, 1_000].map(|rate| (format!("{rate:05}.json"), load("unary", Some(rate))));
    let results: Vec<(&str, Value)> =
        rates.iter().map(|(name, load)| (name.as_str(), load.clone())).collect();
    let (_, svg) = files(&results, &document()).rendered();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
    assert!(svg.contains("nodes: accept p99") && !svg.contains("embedded"), "{svg}");
    let dots = svg.matches("<circle").count();
    assert_eq!(dots, 3 * rates.len(), "{svg}");
}

#[test]
fn what_cannot_be_told_is_an_error_and_leaves_the_document_alone() {
    let good = [("1.json", load("unary", None))];
    for (results, text, why) in [
        (&good[..], "no markers", BEGIN),
        (&[][..], document().as_str(), "no results"),
        (&[("1.json", json!({ "by": "unary" }))][..], document().as_str(), "1.json"),
    ] {
        let files = files(results, text);
        let error = render(files.folder.path(), &files.document, &files.plot).unwrap_err();
        assert!(format!("{error:#}").contains(why), "{error:#}");
        assert_eq!(std::fs::read_to_string(&files.document).unwrap(), text);
        assert!(!files.plot.exists());
    }
}
