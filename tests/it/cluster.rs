//! `make cluster`: the cluster of the stories of chaos, for a person, who may break it by hand.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use herald_sdk::v1;
use tokio::signal::unix::{SignalKind, signal};

use crate::support::{Cluster, NODES, NewAccount, Program, Setup, span, take_machine};

const SEED: u64 = 1;
/// As long as any load lasts.
const CREDIT_MICROS: i64 = 1_000_000_000_000;
/// Between two looks at the nodes.
const LOOK: Duration = Duration::from_millis(200);
/// Long enough to see how the others go on.
const AWAY: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "stays until Ctrl-C: `make cluster`"]
async fn for_a_person() {
    let _machine = take_machine().await;
    let mut end = std::pin::pin!(told_to_end());
    // Retries and time limits as `herald dev` has them; the provider in real time.
    let setup = Setup::default()
        .set("HERALD_TIME_SCALE", 100)
        .set("HERALD_TIMING__LEASE_MS", 5_000)
        .set("HERALD_REDIS__TIMEOUT_MS", 100);
    println!("\nstarting three engines, a simulator and four nodes");
    let mut cluster = tokio::select! {
        cluster = Cluster::start_by(Program::present().apart(), setup, SEED, 1.0) => cluster,
        () = &mut end => return,
    };
    let new = NewAccount {
        client: v1::Client {
            name: "dev".into(),
            is_sandbox: true,
            report_timeout: Some(span(Duration::from_secs(60))),
            resend_after: Some(span(Duration::from_secs(10))),
            ..Default::default()
        },
        credit_micros: CREDIT_MICROS,
    };
    let account = cluster.account(new).await;
    write_private(&cluster.folder().join("client.key"), &account.key);
    write_private(&cluster.folder().join("postgres.url"), &cluster.postgres.url);
    write_private(&cluster.folder().join("redis.url"), &cluster.redis.url);
    println!("{}", banner(&cluster, &account.id));

    let mut away = Vec::new();
    while tokio::time::timeout(LOOK, &mut end).await.is_err() {
        for (name, how) in cluster.lost_nodes() {
            println!("{name} ended: {how}; it starts again in {} s", AWAY.as_secs());
            away.push((name, Instant::now() + AWAY));
        }
        for (name, _) in away.extract_if(.., |(_, back)| *back <= Instant::now()) {
            cluster.spawn_node(name);
            println!("{name} starts: pid {}", cluster.pid_of(name));
        }
    }
    println!("\ndraining");
    cluster.finish().await;
    println!("all have drained and ended; nothing is kept");
}

/// Ctrl-C, or the end of the terminal.
async fn told_to_end() {
    let [mut interrupt, mut terminate, mut hangup] =
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
            .map(|kind| signal(kind).expect("signals can be listened to"));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

fn write_private(file: &Path, text: &str) {
    let opened = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(file);
    writeln!(opened.expect("the folder is ours"), "{text}").expect("the folder is ours");
}

fn banner(cluster: &Cluster, client: &str) -> String {
    let (address, folder) = (cluster.address(), cluster.folder().display());
    let program = program();
    let flags = format!("--address {address} --api-key-file {folder}/client.key");
    let node = |(name, roles): &(&str, &str)| {
        let api =
            if *roles == "api" { format!("http://{}", cluster.address_of(name)) } else { String::new() };
        let (pid, metrics) = (cluster.pid_of(name), cluster.metrics_of(name));
        format!("\n  {name:<10} pid {pid:<8} {api:<22} http://{metrics}/metrics")
    };
    let nodes: String = NODES.iter().map(node).collect();
    format!(
        "
herald {version}   a cluster: two API nodes, two workers, PostgreSQL, NATS, Redis, simulator. No real SMS is sent.

  API        http://{address}    gRPC + reflection; spreads connections over the API nodes{nodes}
  simulator  pid {simulator_pid:<8} {simulator}
  PostgreSQL psql \"$(cat {folder}/postgres.url)\"
  NATS       {nats}
  Redis      redis-cli -u \"$(cat {folder}/redis.url)\"
  Keys       {folder}/client.key (send, read, billing)    {folder}/operator.key (admin)
  Logs       {folder}/*.stderr

Open a second terminal in this directory and paste:

  {program} watch {flags}   # reports, live
  {program} send +12025550100 \"Hello from Herald\" {flags}
  {program} bench --connect {flags}
  {program} balance --address {address} --api-key-file {folder}/operator.key --client {client}

Break something:

  kill -9 {victim}   # worker-1; a node that ended is told here, and starts again after {away} s
  tests/services/nats.sh kill {folder}/nats; tests/services/nats.sh restart {folder}/nats   # also postgres, redis

Retries and time-outs run 100x faster here. Ctrl-C drains and ends everything; nothing is kept.",
        version = env!("CARGO_PKG_VERSION"),
        simulator = cluster.simulator.address,
        simulator_pid = cluster.simulator.pid(),
        nats = cluster.nats.url,
        victim = cluster.pid_of("worker-1"),
        away = AWAY.as_secs(),
    )
}

/// The program, as it can be pasted in this directory.
fn program() -> String {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_herald"));
    let here = std::env::current_dir().ok();
    let relative = here.and_then(|here| program.strip_prefix(here).map(Path::to_owned).ok());
    relative.unwrap_or(program).display().to_string()
}
