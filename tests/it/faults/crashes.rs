//! The server crashes at each point of each flow, and nothing that was promised is lost, doubled or invented.

use std::sync::Arc;
use std::time::Duration;

use delivery::faults::POINTS;
use herald_sdk::{Client, Config, RetryPolicy};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};

use super::errands::Errands;
use crate::crash::end::{assert_clean_books, assert_kept, seed};
use crate::crash::evidence::{Demand, Evidence, Micros};
use crate::crash::progress::{Progress, now};
use crate::crash::traffic::{Senders, Traffic};
use crate::support::{
    Account, Herald, Mode, NewAccount, Setup, SimulatorProcess, every_message, span, take_machine, tireless,
};

const SENDERS: Senders = Senders { connections: 2, per_connection: 8, messages: 0, under_way: usize::MAX };
/// Reports after half a second.
const SIMULATOR_SCALE: f64 = 2.0;
const REPORT_TIMEOUT: Duration = Duration::from_secs(15);
const CREDIT: i64 = 1_000_000_000;
/// How long a server works before it crashes: it takes up what the one before has left.
const WORKS: u32 = 800;
/// Points that a server passes once, while it starts or soon after.
const AT_START: [&str; 4] = ["gate.rates", "restock.", "purge.", "partition."];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_it_crashes_it_keeps_every_promise() {
    let _machine = take_machine().await;
    let seed = seed();
    let mut scene = Scene::set(seed).await;
    let evidence = scene.play(seed).await;
    assert_kept(&evidence, seed);
    scene.end().await;
}

struct Scene {
    herald: Herald,
    simulator: SimulatorProcess,
    account: Account,
    progress: Arc<Progress>,
    errands: Option<Errands>,
}

impl Scene {
    async fn set(seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let simulator = SimulatorProcess::start(folder.path(), seed, SIMULATOR_SCALE).await;
        let setup = Setup::default()
            .with_short_limits()
            .at_one_address()
            .set("HERALD_SIMULATOR__ADDRESS", simulator.address)
            // What was taken by a server that died comes again.
            .set("HERALD_QUEUE__ACK_WAIT_MS", 5_000);
        let herald = Herald::start_in(Mode::Engines, setup, folder).await;
        let mut new = NewAccount::with_credit(CREDIT);
        new.client.report_timeout = Some(span(REPORT_TIMEOUT));
        let account = herald.account(new).await;
        let config = |key: &str| Config::new(herald.url(), key);
        let impatient = |key: &str| {
            let config = Config { retry: RetryPolicy::none(), ..config(key) };
            Client::connect_lazy(config).expect("address and key are well formed")
        };
        let errands = Errands::start(&herald, |key| tireless(config(key)), impatient).await;
        Self { herald, simulator, account, progress: Arc::default(), errands: Some(errands) }
    }

    fn client(&self) -> Client {
        tireless(self.herald.config(&self.account.key))
    }

    async fn play(&mut self, seed: u64) -> Evidence {
        let mut traffic = Traffic::start(|| self.client(), self.progress.clone(), seed, &SENDERS);
        let points: Vec<&str> =
            POINTS.iter().copied().filter(|point| !point.starts_with("retention.")).collect();
        self.herald.kill().await;
        let mut kills = vec![now()];
        for point in &points {
            kills.push(self.crash_at(point, &mut traffic).await);
        }
        self.herald.start_server().await;
        let accounts = self.errands.take().expect("they run").end().await;
        let mut evidence = traffic.end(&self.client(), &self.simulator, CREDIT).await;
        println!("{} points, {} messages, {} events", points.len(), evidence.acks.len(), evidence.seen.len());
        // They are judged by their errands.
        for account in accounts {
            assert_clean_books(self.herald.database().open().await.as_ref(), &account.id).await;
            for message in every_message(&account.client).await {
                evidence.submits.remove(&message.id.parse().expect("the server gives ids"));
            }
        }
        let demand = Demand { messages: points.len(), kills: points.len() / 2, in_flight: 1 };
        Evidence { kills, demand, ..evidence }
    }

    /// Starts the server, which takes up its work and crashes at the point. Answers when that was.
    async fn crash_at(&mut self, point: &str, traffic: &mut Traffic) -> Micros {
        let is_at_start = AT_START.iter().any(|start| point.starts_with(start));
        if point.starts_with("restock.") {
            self.herald.lose_streams().await;
        }
        match point {
            "partition.detach" => self.add_old_partition(6).await,
            "partition.drop" => self.add_old_partition(7).await,
            _ => {}
        }
        let started = std::time::Instant::now();
        self.herald.start_faulty(&format!("crash={point}+{}", if is_at_start { 0 } else { WORKS }));
        self.herald.crashed_at(point).await;
        let died = now();
        println!("{point}: {:.1} s, {} accepted", started.elapsed().as_secs_f64(), self.progress.acked());
        traffic.check_senders();
        if let Some(errands) = &mut self.errands {
            errands.check();
        }
        died
    }

    /// One that may go: keys of long ago.
    async fn add_old_partition(&self, day: u32) {
        let options: PgConnectOptions = self.herald.database().url().parse().expect("it is PostgreSQL's");
        let mut connection = options.connect().await.expect("the database answers");
        let sql = format!(
            "CREATE TABLE idempotency_keys_2020010{day} PARTITION OF idempotency_keys
                FOR VALUES FROM ('2020-01-0{day}Z') TO ('2020-01-0{}Z')",
            day + 1
        );
        connection.execute(AssertSqlSafe(sql)).await.expect("the partition is made");
    }

    async fn end(mut self) {
        self.herald.finish().await;
        assert_clean_books(self.herald.database().open().await.as_ref(), &self.account.id).await;
    }
}
