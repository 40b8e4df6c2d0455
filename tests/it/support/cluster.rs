//! Herald as it runs in production: two API nodes and two workers on PostgreSQL, NATS and Redis, each a process that
//! may be killed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;

use delivery::port::Store;
use herald_sdk::{Client, Config, RetryPolicy};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::account::{Account, NewAccount};
use super::balancer::Balancer;
use super::database::open_postgres;
use super::engine::Engine;
use super::free_port;
use super::herald::{DRAIN, PART_PRICE, Setup, tireless};
use super::metrics::metric;
use super::process::{Process, Program};
use super::simulator::SimulatorProcess;
use super::wait::{PATIENCE, until};

/// The nodes by name, with their roles.
pub(crate) const NODES: [(&str, &str); 4] =
    [("api-1", "api"), ("api-2", "api"), ("worker-1", "worker"), ("worker-2", "worker")];

/// The queue's stream, as the nodes call it by default.
const STREAM: &str = "HERALD_SEND";

/// Everything, running.
pub(crate) struct Cluster {
    /// What every process of Herald is started by.
    pub(crate) program: Program,
    /// Declared before what they work with, so that they go first.
    nodes: BTreeMap<&'static str, Node>,
    balancer: Balancer,
    pub(crate) simulator: SimulatorProcess,
    pub(crate) postgres: Engine,
    pub(crate) nats: Engine,
    pub(crate) redis: Engine,
    common: Vec<(String, String)>,
    operator_key: String,
    folder: TempDir,
}

struct Node {
    settings: Vec<(String, String)>,
    listen: SocketAddr,
    metrics: SocketAddr,
    starts: u32,
    process: Option<Process>,
}

impl Cluster {
    /// `setup` holds for all nodes.
    pub(crate) async fn start(setup: Setup, seed: u64, simulator_scale: f64) -> Self {
        Self::start_by(Program::present(), setup, seed, simulator_scale).await
    }

    /// One whose nodes run another program.
    pub(crate) async fn start_by(program: Program, setup: Setup, seed: u64, simulator_scale: f64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // PostgreSQL runs under an account of its own.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        let path = folder.path();
        let (postgres, nats, redis, simulator) = tokio::join!(
            Engine::start("postgres", path),
            Engine::start_cluster("nats", path),
            Engine::start("redis", path),
            SimulatorProcess::start_by(program.command(), path, seed, simulator_scale),
        );
        let setup = setup
            .set("HERALD_STORE_URL", &postgres.url)
            .set("HERALD_QUEUE__URL", &nats.url)
            .set("HERALD_QUEUE__REPLICAS", 3)
            .set("HERALD_REDIS__URL", &redis.url)
            .set("HERALD_REDIS__API_NODES", 2)
            .set("HERALD_SIMULATOR__ADDRESS", simulator.address)
            .set("HERALD_PEPPER_FILE", path.join("pepper").display());
        let common = setup.settings();
        let key_file = path.join("operator.key");
        let mut command = program.command();
        command.args(["init", "--part-price-micros", &PART_PRICE.to_string(), "--key-file"]);
        command.arg(&key_file).envs(common.iter().cloned());
        let ended = Process::start("init", path, command).ended().await;
        assert!(ended.status.success(), "herald init: {ended:?}");
        let operator_key = std::fs::read_to_string(&key_file).expect("`herald init` wrote the operator key");

        let mut nodes = BTreeMap::new();
        for (name, roles) in NODES {
            let local = || SocketAddr::from(([127, 0, 0, 1], free_port()));
            let (listen, metrics) = (local(), local());
            let mut settings = common.to_vec();
            settings.push(("HERALD_ROLES".into(), roles.into()));
            settings.push(("HERALD_LISTEN".into(), listen.to_string()));
            settings.push(("HERALD_METRICS_LISTEN".into(), metrics.to_string()));
            nodes.insert(name, Node { settings, listen, metrics, starts: 0, process: None });
        }
        let apis = nodes.iter().filter(|(name, _)| name.starts_with("api")).map(|(_, node)| node.listen);
        let balancer = Balancer::start(apis.collect()).await;
        let operator_key = operator_key.trim().to_owned();
        let common = common.to_vec();
        let mut cluster =
            Self { program, nodes, balancer, simulator, postgres, nats, redis, common, operator_key, folder };
        for (name, _) in NODES {
            cluster.start_node(name).await;
        }
        cluster
    }

    /// Starts a node and waits until it says that it is ready.
    pub(crate) async fn start_node(&mut self, name: &str) {
        self.spawn_node(name);
        let metrics = self.metrics_of(name);
        until(&format!("{name}, ready"), async || TcpStream::connect(metrics).await.ok()).await;
    }

    /// Starts a node, which may fail.
    pub(crate) fn spawn_node(&mut self, name: &str) {
        let folder: PathBuf = self.folder.path().to_owned();
        let mut command = self.program.command();
        let node = self.nodes.get_mut(name).expect("there is such a node");
        assert!(node.process.is_none(), "{name} runs already");
        node.starts += 1;
        command.arg("serve").envs(node.settings.iter().cloned());
        node.process = Some(Process::start(&format!("{name}-{}", node.starts), &folder, command));
    }

    /// Runs a command of this version with the settings of all nodes; it must succeed. Answers what it printed.
    pub(crate) async fn run_of(&self, program: &Program, name: &str, arguments: &[&str]) -> String {
        let mut command = program.command();
        command.args(arguments).envs(self.common.iter().cloned());
        let ended = Process::start(name, self.folder.path(), command).ended().await;
        assert!(ended.status.success(), "herald {arguments:?}: {ended:?}");
        ended.stdout
    }

    /// SIGKILL.
    pub(crate) async fn kill_node(&mut self, name: &str) {
        self.node(name).process.take().expect("it runs").kill().await;
    }

    /// SIGTERM: it must drain and end well, in time.
    pub(crate) async fn stop_node(&mut self, name: &str) {
        let mut process = self.node(name).process.take().expect("it runs");
        let status = process.terminate(2 * DRAIN).await;
        assert!(status.success(), "{name} ended with {status}");
    }

    pub(crate) fn pause_node(&mut self, name: &str) {
        self.node(name).process.as_ref().expect("it runs").pause();
    }

    pub(crate) fn resume_node(&mut self, name: &str) {
        self.node(name).process.as_ref().expect("it runs").resume();
    }

    /// Those that ended without being told to, since the last call, and how.
    pub(crate) fn lost_nodes(&mut self) -> Vec<(&'static str, ExitStatus)> {
        let lost = self.nodes.iter_mut().filter_map(|(name, node)| {
            let end = node.process.as_mut()?.end()?;
            node.process = None;
            Some((*name, end))
        });
        lost.collect()
    }

    /// While it runs.
    pub(crate) fn pid_of(&self, name: &str) -> u32 {
        self.nodes[name].process.as_ref().expect("it runs").pid()
    }

    fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(name).expect("there is such a node")
    }

    /// Where everything keeps its files: `operator.key`, what each process printed, a folder for each engine.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address of the balancer.
    pub(crate) fn address(&self) -> SocketAddr {
        self.balancer.address
    }

    /// The address of one API node, without the balancer.
    pub(crate) fn address_of(&self, name: &str) -> SocketAddr {
        self.nodes[name].listen
    }

    pub(crate) fn metrics_of(&self, name: &str) -> SocketAddr {
        self.nodes[name].metrics
    }

    /// What the running nodes have counted since each started, together.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let mut sum = 0.0;
        for node in self.nodes.values().filter(|node| node.process.is_some()) {
            sum += metric(&node.metrics.to_string(), name).await;
        }
        sum
    }

    /// The most memory that a node had resident since it started.
    pub(crate) fn peak_kib(&self, name: &str) -> u64 {
        self.nodes[name].process.as_ref().expect("it runs").peak_kib()
    }

    /// As an operator does by mistake: the queue's stream is gone, and every id in it.
    pub(crate) async fn delete_stream(&self) {
        let client = async_nats::connect(self.nats.url.split(',').collect::<Vec<_>>()).await;
        let jetstream = async_nats::jetstream::new(client.expect("NATS runs"));
        // Right after another fault it may be without a leader, or about to be made anew.
        until("the stream's end", async || jetstream.delete_stream(STREAM).await.ok()).await;
    }

    /// A client of its own connection that comes by the balancer and never tires.
    pub(crate) fn client(&self, key: &str) -> Client {
        tireless(Config::new(format!("http://{}", self.balancer.address), key))
    }

    /// One that waits for an answer as long as a busy machine may take: what it asked twice might be answered twice.
    pub(crate) fn patient_client_at(address: SocketAddr, key: &str) -> Client {
        let config = Config { timeout: PATIENCE, ..Config::new(format!("http://{address}"), key) };
        Client::connect_lazy(config).expect("address and key are well formed")
    }

    /// One that gives every error at once.
    pub(crate) fn impatient_client_at(address: SocketAddr, key: &str) -> Client {
        let config = Config { retry: RetryPolicy::none(), ..Config::new(format!("http://{address}"), key) };
        Client::connect_lazy(config).expect("address and key are well formed")
    }

    pub(crate) fn operator(&self) -> Client {
        self.client(&self.operator_key)
    }

    pub(crate) async fn account(&self, new: NewAccount) -> Account {
        new.create(&self.operator(), |key| self.client(key)).await
    }

    /// Opens the store beside the nodes.
    pub(crate) async fn open_store(&self) -> Arc<dyn Store> {
        open_postgres(&self.postgres.url).await
    }

    /// Every node that runs drains and ends well.
    pub(crate) async fn finish(mut self) {
        for (name, _) in NODES {
            if self.nodes[name].process.is_some() {
                self.stop_node(name).await;
            }
        }
    }
}
