//! Nodes and engines of a whole cluster die, hang and come back under load, one after the other and in pairs, and
//! nothing that was promised is lost, doubled or invented.

mod backlog;
mod fault;
mod nodes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::crash::end::{assert_clean_books, assert_kept, seed};
use crate::crash::evidence::{Demand, Evidence, Micros};
use crate::crash::progress::{Progress, now};
use crate::crash::traffic::{Senders, Traffic};
use crate::support::{Account, Cluster, NewAccount, Setup, span, take_machine};
use fault::ROUND;

/// They send as much as there is time for, and do not let more wait than settles in some ten seconds on a slow machine.
const SENDERS: Senders = Senders { connections: 4, per_connection: 4, messages: 0, under_way: 2_000 };
/// Reports after 2 s.
const SIMULATOR_SCALE: f64 = 0.5;
const REPORT_TIMEOUT: Duration = Duration::from_secs(15);
const CREDIT: i64 = 1_000_000_000;
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
    let seed = seed();
    let length = std::env::var(SECONDS).ok().map(|seconds| seconds.parse().expect("a number of seconds"));
    let mut scene = Scene::set(seed).await;
    let (evidence, settled) = scene.play(seed, length.map(Duration::from_secs)).await;
    assert_kept(&evidence, seed);
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
        let setup = Setup::default().with_short_limits();
        let cluster = Cluster::start(setup, seed, SIMULATOR_SCALE).await;
        let mut new = NewAccount::with_credit(CREDIT);
        new.client.report_timeout = Some(span(REPORT_TIMEOUT));
        let account = cluster.account(new).await;
        Self { cluster, account, progress: Arc::default() }
    }

    /// What is known in the end, and how long after the last fault that was.
    async fn play(&mut self, seed: u64, length: Option<Duration>) -> (Evidence, Duration) {
        let connect = || self.cluster.client(&self.account.key);
        let mut traffic = Traffic::start(connect, self.progress.clone(), seed, &SENDERS);
        let (faults, kills) = self.break_things(seed, length, &mut traffic).await;
        let calm = Instant::now();
        let client = self.cluster.client(&self.account.key);
        let evidence = traffic.end(&client, &self.cluster.simulator, CREDIT).await;
        let settled = calm.elapsed();
        println!(
            "{} messages, {} events, {faults} faults; settled {:.0} s after the last",
            evidence.acks.len(),
            evidence.seen.len(),
            settled.as_secs_f64()
        );
        let demand = Demand { messages: faults * CALM, kills: faults, in_flight: IN_FLIGHT };
        (Evidence { kills, demand, ..evidence }, settled)
    }

    /// Injects faults, each when the cluster works again after the one before. Answers how many, and each moment at
    /// which something was broken, to the second.
    async fn break_things(
        &mut self,
        seed: u64,
        length: Option<Duration>,
        traffic: &mut Traffic,
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
                traffic.work_on(CALM, IN_FLIGHT).await;
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

    /// The nodes drain, and the reconciler itself looks at the books.
    async fn end(self) {
        assert_clean_books(self.cluster.open_store().await.as_ref(), &self.account.id).await;
        self.cluster.finish().await;
    }
}
