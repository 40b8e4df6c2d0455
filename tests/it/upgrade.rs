//! One node after the other is replaced by a newer version while clients send and listen, and nobody notices.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Executor, PgConnection};

use crate::crash::end::{assert_clean_books, assert_kept, seed};
use crate::crash::evidence::{Demand, Evidence};
use crate::crash::progress::{Progress, now};
use crate::crash::traffic::{Senders, Traffic};
use crate::support::{Account, Cluster, NODES, NewAccount, Program, Setup, span, take_machine};

/// The `herald` to upgrade from; without it, the present one.
const OLD_BINARY: &str = "HERALD_TEST_OLD_BINARY";

const SENDERS: Senders = Senders { connections: 4, per_connection: 4, messages: 0, under_way: usize::MAX };
/// Reports after 2 s.
const SIMULATOR_SCALE: f64 = 0.5;
const REPORT_TIMEOUT: Duration = Duration::from_secs(15);
const CREDIT: i64 = 1_000_000_000;
/// Acknowledgements between two steps.
const CALM: usize = 100;
const IN_FLIGHT: usize = 20;
/// A client of the SDK tries again for about that long.
const PATIENCE_OF_CLIENTS: Duration = Duration::from_secs(10);

/// What a later version may add, while nodes of this one run: a column of a hot and partitioned table, a table, and an index
/// of a hot table. The last of them is in the list of applied migrations.
const EXPANSION: [&str; 4] = [
    "ALTER TABLE message_states ADD COLUMN later TEXT",
    "CREATE TABLE later (one INTEGER PRIMARY KEY)",
    "CREATE INDEX CONCURRENTLY later_timers ON timers (message_id)",
    "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
     VALUES (9999, 'later', true, '\\x00', 1)",
];
const LATER: &str = "9999 later";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_replaced_one_by_one_under_load_and_nobody_notices() {
    let _machine = take_machine().await;
    let seed = seed();
    let old = std::env::var(OLD_BINARY).map_or_else(|_| Program::present(), |path| Program::at(path.into()));
    let mut scene = Scene::set(&old, seed).await;
    let evidence = scene.play(&old, seed).await;
    assert_kept(&evidence, seed);
    let slowest = scene.progress.slowest();
    println!("{} messages; the slowest answer took {:.1} s", evidence.acks.len(), slowest.as_secs_f64());
    assert!(slowest < PATIENCE_OF_CLIENTS, "a client would have given up: {slowest:?}");
    scene.end().await;
}

struct Scene {
    cluster: Cluster,
    account: Account,
    progress: Arc<Progress>,
}

impl Scene {
    async fn set(old: &Program, seed: u64) -> Self {
        let setup = Setup::default().with_short_limits();
        let cluster = Cluster::start_by(old.clone(), setup, seed, SIMULATOR_SCALE).await;
        let mut new = NewAccount::with_credit(CREDIT);
        new.client.report_timeout = Some(span(REPORT_TIMEOUT));
        let account = cluster.account(new).await;
        Self { cluster, account, progress: Arc::default() }
    }

    async fn play(&mut self, old: &Program, seed: u64) -> Evidence {
        let connect = || self.cluster.client(&self.account.key);
        let mut traffic = Traffic::start(connect, self.progress.clone(), seed, &SENDERS);
        traffic.work_on(CALM, IN_FLIGHT).await;

        self.cluster.run_of(&Program::present(), "migrate", &["migrate"]).await;
        self.expand().await;
        traffic.work_on(CALM, IN_FLIGHT).await;

        // A node of the old version that dies now starts again on a schema that is newer than it.
        let mut kills = Vec::new();
        for node in ["worker-1", "api-1"] {
            kills.push(now());
            self.cluster.kill_node(node).await;
            self.cluster.start_node(node).await;
            traffic.work_on(CALM, IN_FLIGHT).await;
        }
        self.check_migrate(old).await;

        self.cluster.program = Program::present();
        for (node, _) in NODES {
            let from = now();
            self.cluster.stop_node(node).await;
            self.cluster.start_node(node).await;
            // Of two reports, the one that the node did not take any more may come again after the other.
            kills.extend((from..now()).step_by(1_000_000));
            traffic.work_on(CALM, IN_FLIGHT).await;
        }
        let client = self.cluster.client(&self.account.key);
        let evidence = traffic.end(&client, &self.cluster.simulator, CREDIT).await;
        let steps = 4 + NODES.len();
        let demand = Demand { messages: steps * CALM, kills: steps - 2, in_flight: IN_FLIGHT };
        Evidence { kills, demand, ..evidence }
    }

    /// As the migration of a later version does.
    async fn expand(&self) {
        let options = PgConnectOptions::from_str(&self.cluster.postgres.url).expect("a URL");
        let mut connection: PgConnection = options.connect().await.expect("PostgreSQL runs");
        for statement in EXPANSION {
            connection.execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// Whoever rolls back by hand, or starts `init` with each node as compose.yaml does, is told and not stopped.
    async fn check_migrate(&self, old: &Program) {
        let commands: [&[&str]; 3] = [&["migrate", "--status"], &["migrate"], &["init", "--if-needed"]];
        for arguments in commands {
            let printed = self.cluster.run_of(&Program::present(), "later", arguments).await;
            assert!(arguments[0] == "init" || printed.contains(LATER), "{arguments:?} printed {printed}");
        }
        if *old == Program::present() {
            return;
        }
        // An older version says what it said then.
        self.cluster.run_of(old, "old-migrate", &["migrate"]).await;
    }

    async fn end(self) {
        assert_clean_books(self.cluster.open_store().await.as_ref(), &self.account.id).await;
        self.cluster.finish().await;
    }
}
