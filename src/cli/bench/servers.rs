//! The servers that run for a measurement: one process with everything, or nodes as in production.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::listener::Limits;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Streams that one key may have open: more than any bench has.
const STREAMS_PER_KEY: &str = "100000";

/// They live as long as the measurement.
pub struct Servers {
    pub url: String,
    pub operator_key: String,
    /// The first takes the calls.
    pub processes: Vec<Server>,
    folder: PathBuf,
    /// The worker, where it is started after the load.
    worker_later: Option<Node>,
}

/// What becomes a node.
struct Node {
    role: &'static str,
    metrics: SocketAddr,
    command: Command,
}

/// One process of Herald.
pub struct Server {
    pub name: &'static str,
    pub id: u32,
    pub metrics: Option<SocketAddr>,
    child: Child,
}

/// What `herald dev --json` prints when it is ready.
#[derive(Deserialize)]
struct Ready {
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    admin_key: String,
}

/// What `herald simulator` prints when it is ready.
#[derive(Deserialize)]
struct Simulator {
    address: SocketAddr,
}

impl Servers {
    /// `herald dev` in real time on a new folder within `parent`.
    pub async fn embedded(parent: &Path, seed: u64) -> anyhow::Result<Self> {
        let folder = new_folder(parent)?;
        let mut command = herald()?;
        command
            .args(["dev", "--json", "--time-scale", "1", "--listen", "127.0.0.1:0"])
            .args(["--metrics-listen", "127.0.0.1:0", "--seed", &seed.to_string(), "--data-dir"])
            .arg(&folder);
        let mut server = Server::spawn("herald", command)?;
        let ready: Ready = server.first_line().await?;
        server.metrics = ready.metrics_address;
        let url = format!("http://{}", ready.address);
        Ok(Self { url, operator_key: ready.admin_key, processes: vec![server], folder, worker_later: None })
    }

    /// An API node, a worker and a provider, on the engines that the environment names. The operator key and the pepper are in
    /// `installation`, if that is used again; else the database is empty. With `burst` the worker waits for
    /// [`Servers::start_worker`].
    pub async fn nodes(
        parent: &Path,
        installation: Option<&Path>,
        seed: u64,
        provider_scale: f64,
        burst: bool,
    ) -> anyhow::Result<Self> {
        let folder = new_folder(parent)?;
        std::fs::create_dir(&folder)?;
        let secrets = installation.unwrap_or(&folder);
        std::fs::create_dir_all(secrets)?;
        let key_file = secrets.join("operator.key");
        let pepper = secrets.join("pepper");
        let init = herald()?
            .arg("init")
            .args(installation.map(|_| "--if-needed"))
            .arg("--key-file")
            .arg(&key_file)
            .env("HERALD_PEPPER_FILE", &pepper)
            .stdout(Stdio::null())
            .status()
            .await?;
        if !init.success() {
            bail!("the database cannot be set up");
        }
        let operator_key = std::fs::read_to_string(&key_file)?.trim().to_owned();

        let mut simulator = herald()?;
        simulator
            .args(["simulator", "--listen", "127.0.0.1:0", "--seed", &seed.to_string()])
            .args(["--time-scale", &provider_scale.to_string(), "--log"])
            .arg(folder.join("simulator.log"));
        let mut simulator = Server::spawn("simulator", simulator)?;
        let provider: Simulator = simulator.first_line().await?;

        let listen = free_address()?;
        let api = Node::new("api", listen, &pepper, &provider)?.start().await?;
        let worker_later = Some(Node::new("worker", listen, &pepper, &provider)?);
        let url = format!("http://{listen}");
        let mut servers = Self { url, operator_key, processes: vec![api, simulator], folder, worker_later };
        if !burst {
            servers.start_worker().await?;
        }
        Ok(servers)
    }

    /// Starts the worker, if it waits for that.
    pub async fn start_worker(&mut self) -> anyhow::Result<()> {
        if let Some(worker) = self.worker_later.take() {
            self.processes.push(worker.start().await?);
        }
        Ok(())
    }

    /// Ends them and removes their files. There is nothing to drain.
    pub async fn stop(self) {
        for mut server in self.processes {
            if let Err(error) = server.child.kill().await {
                eprintln!("{} did not end: {error}", server.name);
            }
        }
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("{} was not removed: {error}", self.folder.display());
        }
    }
}

impl Node {
    fn new(
        role: &'static str,
        listen: SocketAddr,
        pepper: &Path,
        provider: &Simulator,
    ) -> anyhow::Result<Self> {
        let metrics = free_address()?;
        let mut command = herald()?;
        command
            .arg("serve")
            .env("HERALD_ROLES", role)
            .env("HERALD_LISTEN", listen.to_string())
            .env("HERALD_METRICS_LISTEN", metrics.to_string())
            .env("HERALD_PEPPER_FILE", pepper)
            .env("HERALD_SIMULATOR__ADDRESS", provider.address.to_string())
            // The load comes from one address on few connections.
            .envs(limits())
            .env("HERALD_LIMITS__STREAMS_PER_KEY", STREAMS_PER_KEY)
            .env("HERALD_LOG", "warn");
        Ok(Self { role, metrics, command })
    }

    /// Answers when it is ready.
    async fn start(self) -> anyhow::Result<Server> {
        let mut server = Server::spawn(self.role, self.command)?;
        server.metrics = Some(self.metrics);
        server.ready().await?;
        Ok(server)
    }
}

impl Server {
    fn spawn(name: &'static str, mut command: Command) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let id = child.id().context("the server ended at once")?;
        Ok(Self { name, id, metrics: None, child })
    }

    /// What it says about itself. It says nothing more.
    async fn first_line<T: for<'de> Deserialize<'de>>(&mut self) -> anyhow::Result<T> {
        let out = self.child.stdout.take().context("its output is not piped")?;
        let mut lines = BufReader::new(out).lines();
        let line = timeout(START, lines.next_line()).await.context("it does not get ready")??;
        let line = line.context("it ended before it was ready")?;
        serde_json::from_str(&line).context("it printed something else than its address")
    }

    /// Metrics are served once everything else is.
    async fn ready(&mut self) -> anyhow::Result<()> {
        let out = self.child.stdout.take().context("its output is not piped")?;
        tokio::spawn(async move {
            let mut lines = BufReader::new(out).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                eprintln!("{line}");
            }
        });
        let metrics = self.metrics.context("it has metrics")?;
        let answers = async {
            while TcpStream::connect(metrics).await.is_err() {
                if let Some(status) = self.child.try_wait()? {
                    bail!("the {} ended with {status}", self.name);
                }
                sleep(LOOK_EVERY).await;
            }
            Ok(())
        };
        timeout(START, answers).await.context("it does not get ready")?
    }
}

fn herald() -> anyhow::Result<Command> {
    Ok(Command::new(std::env::current_exe().context("cannot find this program")?))
}

/// The listener's limits that `herald dev` has, by the names of their environment variables.
fn limits() -> [(&'static str, String); 5] {
    let limits = Limits::local();
    [
        ("HERALD_LISTENER__MAX_CONNECTIONS_PER_ADDRESS", limits.max_connections_per_address.to_string()),
        ("HERALD_LISTENER__MAX_CONCURRENT_STREAMS", limits.max_concurrent_streams.to_string()),
        ("HERALD_LISTENER__NEW_STREAMS_PER_SECOND", limits.new_streams_per_second.to_string()),
        ("HERALD_LISTENER__CONTROL_FRAMES_PER_SECOND", limits.control_frames_per_second.to_string()),
        ("HERALD_LISTENER__STREAM_WINDOW_BYTES", limits.stream_window_bytes.to_string()),
    ]
}

fn new_folder(parent: &Path) -> anyhow::Result<PathBuf> {
    let folder = parent.join(format!(".herald-bench-{}", std::process::id()));
    if folder.exists() {
        bail!("{} exists", folder.display());
    }
    Ok(folder)
}

/// Free until somebody takes it.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
