//! `herald dev`: everything in one process, with nothing to install.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use delivery::model::{Client, ClientState, Scope};
use delivery::port::Store;
use delivery::top_up::{self, TopUp};
use ledger::Policy;
use message::id::{ClientId, Entropy};
use message::status::OnUnknown;
use rand::RngCore;

use super::exit::Failed;
use super::init::{self, NewKey};
use super::log;
use super::serve::shutdown_signal;
use crate::app::App;
use crate::config::{Config, SimulatorConfig};
use crate::engines;
use crate::grpc::convert;
use crate::grpc::trail::{Author, Deed};
use crate::listener::Limits;
use crate::node::Node;
use crate::proto_json::proto_json;
use crate::secrets;

/// The credit of the sandbox client.
const CREDIT_MICROS: i64 = 100_000_000;
/// The price of a part.
const PART_PRICE_MICROS: i64 = 7_500;

/// The sandbox client does not wait for days, to show what happens then.
const REPORT_TIMEOUT: Duration = Duration::from_secs(60);
const RESEND_AFTER: Duration = Duration::from_secs(10);

/// Arguments of `herald dev`.
#[derive(clap::Args)]
pub struct Args {
    /// Where the database and the keys are kept between runs.
    #[arg(long, default_value = ".herald")]
    data_dir: PathBuf,
    /// Where the API listens; port 0 = any free one.
    #[arg(long, default_value = "127.0.0.1:7670")]
    listen: SocketAddr,
    /// Where /metrics listens; port 0 = any free one.
    #[arg(long, default_value = "127.0.0.1:7671")]
    metrics_listen: SocketAddr,
    /// Print one line of JSON when ready, for programs.
    #[arg(long)]
    json: bool,
    /// Forget all data of earlier runs first.
    #[arg(long)]
    reset: bool,
    /// Retries and time limits run this much faster (1 = real).
    #[arg(long, default_value_t = 100.0)]
    time_scale: f64,
    /// Decides the simulator's latencies and outcomes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub async fn run(args: Args) -> Result<(), Failed> {
    let started = Instant::now();
    log::start(if args.json { log::Format::Json } else { log::Format::Plain }, "warn");
    let data = prepare_folder(&args.data_dir, args.reset)?;
    let config = Config {
        listen: args.listen,
        metrics_listen: Some(args.metrics_listen),
        store_url: format!("sqlite:{}", data.join("herald.db").display()).into(),
        pepper_file: data.join("pepper"),
        time_scale: args.time_scale,
        simulator: SimulatorConfig {
            seed: args.seed,
            journal: Some(data.join("simulator.log")),
            answer_timeout_ms: 2_000,
            ..SimulatorConfig::default()
        },
        listener: Limits::local(),
        ..Config::default()
    };
    config.check()?;
    let store = engines::open_store(&config).await?;
    store.migrate().await.map_err(anyhow::Error::from)?;
    let first = first_start(store.as_ref(), &config, &data).await?;
    let node = Node::start(&config, store.clone(), "embedded").await?;
    let served = node.served.as_ref().context("this node has no API")?;
    if first.is_new {
        give_credit(&served.app, first.client).await?;
    }
    let banner = Banner {
        args: &args,
        data: &data,
        address: served.address,
        metrics_address: node.metrics_address,
        client: first.client,
        store: &store,
    };
    if args.json {
        banner.print_json()?;
    } else {
        banner.print(started.elapsed()).await?;
    }
    node.run(shutdown_signal()).await?;
    if !args.json {
        eprintln!("drained; everything is kept in {}", data.display());
    }
    Ok(())
}

/// Makes the folder, readable by its owner only.
fn prepare_folder(folder: &Path, reset: bool) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    if reset && folder.exists() {
        // Only what this program made: a mistyped folder must not be emptied.
        for name in ["herald.db", "herald.db-wal", "herald.db-shm", "herald.db.lock"].into_iter().chain([
            "pepper",
            "client.id",
            "client.key",
            "admin.key",
            "simulator.log",
        ]) {
            match std::fs::remove_file(folder.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {name}"));
                }
                _ => {}
            }
        }
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder.to_owned())
}

struct First {
    client: ClientId,
    is_new: bool,
}

/// The first start makes a sandbox client and its keys; later ones find them.
async fn first_start(store: &dyn Store, config: &Config, data: &Path) -> anyhow::Result<First> {
    let pepper = secrets::pepper(&config.pepper_file, true)?;
    let id_file = data.join("client.id");
    let keys = [data.join("client.key"), data.join("admin.key")];
    if id_file.exists() && keys.iter().all(|key| key.exists()) {
        let client = secrets::read(&id_file)?.parse().context("client.id does not hold an id")?;
        if store.client(client).await?.is_none() {
            bail!("{} and its database do not belong together; start afresh with --reset", data.display());
        }
        return Ok(First { client, is_new: false });
    }
    // A first start that was cut short is begun again: its client has no key that anybody knows.
    for file in keys.iter().chain([&id_file]) {
        let _ = std::fs::remove_file(file);
    }
    init::put_default_rate(store, "USD", PART_PRICE_MICROS).await?;
    let client = create_sandbox_client(store).await?;
    let scopes = &[Scope::Send, Scope::Read, Scope::Billing];
    let key = NewKey { client: Some(client), is_sandbox: true, name: "dev", scopes };
    init::issue_key(store, &pepper, config.key_cost, key, &keys[0]).await?;
    let key = NewKey { client: None, is_sandbox: true, name: "dev operator", scopes: &[Scope::Admin] };
    init::issue_key(store, &pepper, config.key_cost, key, &keys[1]).await?;
    secrets::create(&id_file, &client.to_string())?;
    Ok(First { client, is_new: true })
}

async fn create_sandbox_client(store: &dyn Store) -> anyhow::Result<ClientId> {
    let now = store.now().await?;
    let mut entropy = [0; 10];
    rand::rng().fill_bytes(&mut entropy);
    let client = Client {
        id: ClientId::new(now, Entropy(entropy)),
        name: "dev".into(),
        state: ClientState::Active,
        suspend_reason: String::new(),
        currency: "USD".into(),
        is_sandbox: true,
        policy: Policy::default(),
        report_timeout: REPORT_TIMEOUT,
        on_unknown: OnUnknown::Wait,
        resend_after: RESEND_AFTER,
        parts_per_second: 0,
        burst_parts: 0,
        default_sender: String::new(),
        max_parts: 10,
        low_balance_micros: 0,
        created_at: now,
        revision: 1,
    };
    let deed = Deed::new("AdminService.CreateClient", Some(client.id))
        .change("", proto_json(&convert::client::client(&client)))
        .note("first start");
    store.create_client(&client, None, &Author::server().entry(now, deed)).await?;
    Ok(client.id)
}

async fn give_credit(app: &App, client: ClientId) -> anyhow::Result<()> {
    let request = TopUp {
        client,
        amount_micros: CREDIT_MICROS,
        currency: "USD".into(),
        idempotency_key: "first-start".into(),
        note: "first start".into(),
    };
    top_up::top_up(app.store.as_ref(), app.bell.as_ref(), &app.timing, &request, None).await?;
    Ok(())
}

struct Banner<'a> {
    args: &'a Args,
    data: &'a Path,
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    client: ClientId,
    store: &'a Arc<dyn Store>,
}

impl Banner<'_> {
    fn print_json(&self) -> anyhow::Result<()> {
        let line = serde_json::json!({
            "address": self.address.to_string(),
            "metrics_address": self.metrics_address.map(|address| address.to_string()),
            "client_id": self.client.to_string(),
            "api_key": secrets::read(&self.data.join("client.key"))?,
            "admin_key": secrets::read(&self.data.join("admin.key"))?,
        });
        println!("{line}");
        Ok(())
    }

    async fn print(&self, took: Duration) -> anyhow::Result<()> {
        let balance = match self.store.client(self.client).await? {
            Some((client, head)) => {
                format!("{} {}", super::output::money(head.balance.available()), client.currency)
            }
            None => String::new(),
        };
        let program = program_path();
        let (bold, plain) = if super::output::has_colour() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        let address = self.address;
        let data = self.data.display();
        // The pasted calls find the address and the key in ./.herald by themselves; elsewhere they are told.
        let is_usual = self.data == Path::new(".herald") && address.to_string() == "127.0.0.1:7670";
        let flags = if is_usual {
            String::new()
        } else {
            format!(" --address {address} --api-key-file {data}/client.key")
        };
        let metrics =
            self.metrics_address.map(|at| format!("\n  Metrics    http://{at}/metrics")).unwrap_or_default();
        println!(
            "{bold}herald {version}{plain}   embedded: SQLite, in-process queue, simulator. No real SMS is sent.

  API        http://{address}    gRPC + reflection{metrics}
  Data       {data}/   kept between runs; start afresh with --reset
  Client     dev  {client}   balance {balance}
  Keys       {data}/client.key (send, read, billing)    {data}/admin.key (admin)

Open a second terminal in this directory and paste:

  {program} watch{flags}                                    # reports, live
  {program} send +12025550100 \"Hello from Herald\"{flags}

With grpcurl:
  grpcurl -plaintext -H \"x-api-key: $(cat {data}/client.key)\" \\
    -d '{{\"to\":\"+12025550100\",\"text\":\"Hello\"}}' \\
    {address} herald.v1.MessagingService/SendMessage

Try +12025550111 (undeliverable), ..0123 (3 retries), ..0140 (no report: settled after a minute). All: docs/magic-recipients.md
Retries and time-outs run {scale}x faster here (--time-scale 1 = real). Ctrl-C drains; nothing is lost.
ready in {seconds:.1} s",
            version = env!("CARGO_PKG_VERSION"),
            client = self.client,
            scale = self.args.time_scale,
            seconds = took.as_secs_f64(),
        );
        Ok(())
    }
}

/// The running program, as it can be pasted in this directory.
fn program_path() -> String {
    let Ok(program) = std::env::current_exe() else { return "herald".into() };
    let here = std::env::current_dir().ok();
    let relative = here.and_then(|here| program.strip_prefix(here).map(Path::to_owned).ok());
    relative.unwrap_or(program).display().to_string()
}
