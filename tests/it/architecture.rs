//! The shape of the code, asserted from `cargo metadata` and from file names.
//!
//! The arrows run `src -> adapters -> delivery -> {provider, routing, ledger} -> message`. A new crate, or a new
//! arrow, is a decision: it is made by editing the tables below.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root package: the edge, which may use every crate that ships.
const ROOT: &str = "herald";

/// Each crate and the crates of this workspace that it may depend on. Dev-dependencies are free; that no list names
/// `conformance` makes it dev-only.
const ARROWS: &[(&str, &[&str])] = &[
    ("message", &[]),
    ("ledger", &["message"]),
    ("routing", &["message"]),
    ("provider", &["message"]),
    ("delivery", &["ledger", "message", "provider", "routing"]),
    ("memory", &["delivery", "message"]),
    ("limiter-redis", &["delivery", "message"]),
    ("queue-nats", &["delivery", "message"]),
    ("store-sqlite", &["delivery", "ledger", "message", "provider"]),
    ("store-postgres", &["delivery", "ledger", "message", "provider"]),
    ("provider-simulator", &["message", "provider"]),
    ("conformance", &["delivery", "ledger", "message", "provider", "routing"]),
    ("bench-report", &[]),
    ("herald-sdk", &[]),
    (
        ROOT,
        &[
            "delivery",
            "herald-sdk",
            "ledger",
            "limiter-redis",
            "memory",
            "message",
            "provider",
            "provider-simulator",
            "queue-nats",
            "routing",
            "store-postgres",
            "store-sqlite",
        ],
    ),
];

/// Rules without I/O, clock or randomness, and what would bring those in.
const PURE: &[&str] = &["message", "ledger", "routing"];
const IMPURE: &[&str] = &["chrono", "prost", "rand", "sqlx", "tokio", "tonic"];

/// Protobuf, HTTP and configuration belong to the edge and to the SDK.
const EDGE: &[&str] = &[ROOT, "herald-sdk"];
const EDGE_ONLY: &[&str] = &["axum", "clap", "figment", "http", "prost", "tonic"];

/// SQL belongs to the stores.
const STORES: &[&str] = &["store-postgres", "store-sqlite"];
const STORES_ONLY: &[&str] = &["sqlx"];

#[derive(Debug)]
struct Crate {
    name: String,
    /// What it is built from: normal and build dependencies, by package name.
    dependencies: Vec<String>,
}

#[test]
fn crates_depend_only_along_the_allowed_arrows() {
    let found = violations(&workspace());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_crate_of_the_tables_exists() {
    let names: BTreeSet<String> = workspace().into_iter().map(|each| each.name).collect();
    let listed: BTreeSet<String> = ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names, listed);
}

/// What one file on this machine has no need of: partitions, and the way to servers.
const POSTGRES_ALONE: [&str; 4] = ["connection.rs", "partitions.rs", "servers.rs", "spans.rs"];

#[test]
fn both_stores_have_the_same_files() {
    let mut found = differences("crates/store-sqlite/src", "crates/store-postgres/src");
    found.retain(|line| !POSTGRES_ALONE.iter().any(|file| line.contains(file)));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn both_dialects_have_the_same_migrations() {
    let found = differences("migrations/sqlite", "migrations/postgres");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_forbidden_arrow_is_reported() {
    for (from, to) in [
        ("message", "ledger"),
        ("delivery", "store-sqlite"),
        ("memory", "provider"),
        ("store-sqlite", "store-postgres"),
        ("herald-sdk", "message"),
        ("delivery", "herald"),
        ("herald", "conformance"),
        ("store-sqlite", "conformance"),
    ] {
        assert_eq!(violations(&[made_of(from, &[to])]), [format!("{from} may not depend on {to}")]);
    }
}

#[test]
fn technology_behind_the_wall_is_reported() {
    for (from, to) in [
        ("ledger", "tokio-util"),
        ("routing", "chrono"),
        ("message", "rand_core"),
        ("delivery", "sqlx"),
        ("delivery", "tonic-types"),
        ("provider", "http"),
        ("store-sqlite", "prost"),
        ("herald", "sqlx"),
        ("conformance", "figment"),
    ] {
        let found = violations(&[made_of(from, &[to])]);
        assert!(!found.is_empty(), "{from} -> {to} went unnoticed");
        assert!(found.iter().all(|line| line.starts_with(&format!("{from} may not use {to}:"))), "{found:?}");
    }
}

#[test]
fn allowed_arrows_are_not_reported() {
    let crates = [
        made_of("message", &["serde", "uuid"]),
        made_of("delivery", &["message", "ledger", "routing", "provider", "tokio"]),
        made_of("store-sqlite", &["delivery", "sqlx", "tokio"]),
        made_of("herald-sdk", &["prost", "tonic"]),
        made_of("herald", &["herald-sdk", "store-sqlite", "clap", "tonic-health"]),
    ];
    assert_eq!(violations(&crates), Vec::<String>::new());
}

#[test]
fn a_crate_without_a_place_in_the_tables_is_reported() {
    assert_eq!(violations(&[made_of("newcomer", &["serde"])]), ["newcomer has no place among the arrows"]);
}

fn violations(crates: &[Crate]) -> Vec<String> {
    let own: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let mut found = Vec::new();
    for Crate { name, dependencies } in crates {
        let from = name.as_str();
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == from) else {
            found.push(format!("{from} has no place among the arrows"));
            continue;
        };
        for to in dependencies.iter().map(String::as_str) {
            if own.contains(to) && !allowed.contains(&to) {
                found.push(format!("{from} may not depend on {to}"));
            }
            let walls = [
                (PURE.contains(&from), IMPURE, "it is pure"),
                (!EDGE.contains(&from), EDGE_ONLY, "it is behind the edge"),
                (!STORES.contains(&from), STORES_ONLY, "it is no store"),
            ];
            for (stands, kept_out, why) in walls {
                if stands && kept_out.iter().any(|family| belongs(to, family)) {
                    found.push(format!("{from} may not use {to}: {why}"));
                }
            }
        }
    }
    found
}

/// Whether `name` is the crate `family` or one of its parts, as `tonic-types` is of `tonic`.
fn belongs(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

fn made_of(name: &str, dependencies: &[&str]) -> Crate {
    Crate { name: name.to_owned(), dependencies: dependencies.iter().map(|&each| each.to_owned()).collect() }
}

fn workspace() -> Vec<Crate> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a package name is a string").to_owned();
    let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
    packages
        .iter()
        .map(|package| Crate {
            name: text(&package["name"]),
            dependencies: package["dependencies"]
                .as_array()
                .expect("a package lists its dependencies")
                .iter()
                .filter(|dependency| dependency["kind"] != "dev")
                .map(|dependency| text(&dependency["name"]))
                .collect(),
        })
        .collect()
}

/// The files that only one of two directories has, by relative path; and each directory that has none at all.
fn differences(left: &str, right: &str) -> Vec<String> {
    let (left_files, right_files) = (files(left), files(right));
    let empty = [(left, &left_files), (right, &right_files)]
        .into_iter()
        .filter(|(_, files)| files.is_empty())
        .map(|(directory, _)| format!("{directory} is empty"));
    let only_left =
        left_files.difference(&right_files).map(|file| format!("only {left} has {}", file.display()));
    let only_right =
        right_files.difference(&left_files).map(|file| format!("only {right} has {}", file.display()));
    empty.chain(only_left).chain(only_right).collect()
}

fn files(directory: &str) -> BTreeSet<PathBuf> {
    let base = root().join(directory);
    let mut found = BTreeSet::new();
    let mut pending = vec![base.clone()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory of the repository can be read") {
            let path = entry.expect("a directory of the repository can be read").path();
            if path.is_dir() {
                pending.push(path);
            } else {
                found.insert(path.strip_prefix(&base).expect("it was found below").to_owned());
            }
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
