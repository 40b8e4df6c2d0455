//! Nodes and engines of a whole cluster die, hang and come back under load, one after the other and in pairs, and
//! nothing that was promised is lost, doubled or invented.

mod fault;
mod nodes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::reconcile;
use delivery::timing::Timing;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use store_postgres::PostgresStore;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::crash::check::check;
use crate::crash::evidence::{Demand, Evidence, Micros, submits};
use crate::crash::progress::{Progress, now};
use crate::crash::{load, settle, subscriber};
use crate::support::{Account, Cluster, NewAccount, Setup, soon, span, take_machine, until};
use fault::ROUND;

/// Calls at once, over as many connections as there are groups of [`PER_CONNECTION`].
const SENDERS: usize = 16;
const PER_CONNECTION: usize = 4;
/// Reports after 2 s.
const SIMULATOR_SCALE: f64 = 0.5;
const REPORT_TIMEOUT: Duration = Duration::from_secs(15);
const CREDIT: i64 = 1_000_000_000;
const SEED: u64 = 20_260_101;
/// Acknowledgements between two faults: the cluster has recovered, and works.
const CALM: usize = 60;
/// Messages that must be under way when a fault comes.
const IN_FLIGHT: usize = 20;

/// In which everything settles after the last fault: what a dead node was doing is noticed when its lease ends (3 s); a
/// message whose offer was lost is offered again after at most 10 s; a report that will never come is waited for 15 s;
/// and the sweeper, the reconnecting and this machine take their part.
const SETTLED: Duration = Duration::from_secs(60);

/// How long faults go on; without it each comes once.
const SECONDS: &str = "HERALD_TEST_CHAOS_SECONDS";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dies_nothing_promised_is_lost_doubled_or_invented() {
    let _machine = take_machine().await;
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seed = number("HERALD_TEST_SEED").unwrap_or(SEED);
    println!("HERALD_TEST_SEED={seed}");
    let mut scene = Scene::set(seed).await;
    let (evidence, settled) = scene.play(seed, number(SECONDS).map(Duration::from_secs)).await;
    let findings = check(&evidence);
    assert!(
        findings.is_empty(),
        "seed {seed}: {} findings, the first:\n{}",
        findings.len(),
        findings[..findings.len().min(20)].join("\n")
    );
    assert!(settled < SETTLED, "settled only {settled:?} after the last fault");
    scene.end().await;
}

struct Scene {
    cluster: Cluster,
    account: Account,
    progress: Arc<Progress>,
}

impl Scene {
    async fn set(seed: u64) -> Self {
        let setup = Setup::default()
            .set("HERALD_SIMULATOR__ANSWER_TIMEOUT_MS", 1_500)
            .set("HERALD_TIMING__LEASE_MS", 3_000)
            .set("HERALD_TIMING__UNAVAILABLE_PAUSE_MS", 500);
        let cluster = Cluster::start(setup, seed, SIMULATOR_SCALE).await;
        let mut new = NewAccount::with_credit(CREDIT);
        new.client.report_timeout = Some(span(REPORT_TIMEOUT));
        let account = cluster.account(new).await;
        Self { cluster, account, progress: Arc::default() }
    }

    async fn play(&mut self, seed: u64, length: Option<Duration>) -> (Evidence, Duration) {
        let client = || self.cluster.client(&self.account.key);
        let mut followers = JoinSet::new();
        followers.spawn(subscriber::follow_by_hand(client(), self.progress.clone()));
        let (tell_last, last) = watch::channel(None);
        let by_sdk = tokio::spawn(subscriber::follow_by_sdk(client(), last));
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS / PER_CONNECTION {
            let client = client();
            for _ in 0..PER_CONNECTION {
                // As many as there is time for.
                senders.spawn(load::send_all(client.clone(), self.progress.clone(), seed, 0));
            }
        }
        let (faults, times) = self.break_things(seed, length, &mut senders).await;
        self.progress.calm();
        let calm = Instant::now();
        while let Some(sent) = soon("the last acknowledgement", senders.join_next()).await {
            sent.expect("no sender was refused");
        }
        let client = self.cluster.client(&self.account.key);
        let (balance, listed) = settle(&client, &self.cluster.simulator).await;
        let settled = calm.elapsed();
        until("the subscriber's last event", async || {
            assert!(followers.try_join_next().is_none(), "the subscriber ended");
            (self.progress.last_seq() >= balance.seq).then_some(())
        })
        .await;
        tell_last.send_replace(Some(balance.seq));
        let (seqs, connections) = soon("the SDK's last event", by_sdk).await.expect("it ends well");
        assert!(seqs.iter().copied().eq(1..=balance.seq), "the SDK's subscription has a gap or a repetition");
        assert!(connections > 1, "the SDK's subscription never had to resume");
        let evidence = Evidence {
            acks: self.progress.acks(),
            submits: submits(&self.cluster.simulator.witness()),
            listed,
            seen: self.progress.seen(),
            kills: times,
            available: balance.available_micros,
            held: balance.held_micros,
            last_seq: balance.seq,
            topped_up: CREDIT,
            max_attempts: Timing::default().max_attempts(),
            demand: Demand { messages: faults * CALM, kills: faults, in_flight: IN_FLIGHT },
        };
        println!(
            "{} messages, {} events, {faults} faults; settled {:.0} s after the last",
            evidence.acks.len(),
            evidence.seen.len(),
            settled.as_secs_f64()
        );
        (evidence, settled)
    }

    /// Injects faults, each when the cluster works again after the one before. Answers how many, and each moment at
    /// which something was broken, to the second.
    async fn break_things(
        &mut self,
        seed: u64,
        length: Option<Duration>,
        senders: &mut JoinSet<()>,
    ) -> (usize, Vec<Micros>) {
        let mut random = StdRng::seed_from_u64(seed);
        let (began, mut faults, mut times) = (Instant::now(), 0, Vec::new());
        loop {
            let mut round = ROUND.to_vec();
            round.shuffle(&mut random);
            for fault in round {
                if length.is_some_and(|length| began.elapsed() >= length) {
                    return (faults, times);
                }
                self.work_on(senders).await;
                // Not a wait for anything: the moment itself is what is drawn.
                tokio::time::sleep(Duration::from_micros(random.random_range(0..300_000))).await;
                let (acked, from) = (self.progress.acked(), now());
                fault.inject(&mut self.cluster).await;
                let to = now();
                times.extend((from..to).step_by(1_000_000).chain([to]));
                faults += 1;
                println!(
                    "{fault:?}: {} s, {} accepted meanwhile",
                    (to - from) / 1_000_000,
                    self.progress.acked() - acked
                );
            }
            if length.is_none() {
                return (faults, times);
            }
        }
    }

    /// Waits until the cluster accepts and ends messages again.
    async fn work_on(&self, senders: &mut JoinSet<()>) {
        let wanted = self.progress.acked() + CALM;
        let seen = self.progress.last_seq();
        until("work to go on", async || {
            if let Some(Err(error)) = senders.try_join_next() {
                std::panic::resume_unwind(error.into_panic());
            }
            let is_working = self.progress.acked() >= wanted && self.progress.last_seq() > seen;
            (is_working && self.progress.in_flight() >= 2 * IN_FLIGHT).then_some(())
        })
        .await;
    }

    /// The nodes drain, and the reconciler itself looks at the books.
    async fn end(self) {
        let url = self.cluster.postgres.url.clone();
        let client = self.account.id.parse().expect("the server gives ids");
        let store = PostgresStore::connect(
            &url,
            store_postgres::PoolOptions::default(),
            store_postgres::Clock::Database,
        );
        let store = store.await.expect("the store opens");
        let audited = reconcile::audit(&store, &Timing::default(), client).await;
        let (audit, _) = audited.expect("the store can be read").expect("the client exists");
        assert_eq!(audit.violations, Vec::<String>::new());
        self.cluster.finish().await;
    }
}
