//! The server is killed again and again under load, and nothing that was promised is lost, doubled or invented.

mod check;
mod check_tests;
pub(crate) mod end;
pub(crate) mod evidence;
mod load;
pub(crate) mod progress;
mod subscriber;
pub(crate) mod traffic;

use std::sync::Arc;
use std::time::{Duration, Instant};

use herald_sdk::Client;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::{
    Account, Herald, Mode, NewAccount, Setup, SimulatorProcess, in_both_modes, span, take_machine, tireless,
    until,
};
use check::in_flight_at_kills;
use end::{assert_clean_books, assert_kept, seed};
use evidence::{Demand, Evidence, Micros};
use progress::{Progress, now};
use traffic::{Senders, Traffic};

/// Messages sent, at the least.
const MESSAGES: usize = 10_000;
/// Kills that must meet [`IN_FLIGHT`] messages; a few more are made.
const KILLS: usize = 20;
const KILLS_MADE: usize = 22;
const IN_FLIGHT: usize = 200;
/// The killer's own count runs behind by what the subscriber has not read yet.
const IN_FLIGHT_COUNTED: usize = 280;
const SENDERS: Senders =
    Senders { connections: 3, per_connection: 32, messages: MESSAGES, under_way: usize::MAX };
/// Reports after 2.5 s: enough is in flight also where a machine accepts only 120 messages a second.
const SIMULATOR_SCALE: f64 = 0.4;
const REPORT_TIMEOUT: Duration = Duration::from_secs(15);
const CREDIT: i64 = 1_000_000_000;

in_both_modes! {
    killed_at_random_under_load_it_keeps_every_promise,
}

async fn killed_at_random_under_load_it_keeps_every_promise(mode: Mode) {
    // Nothing else runs meanwhile: a machine that is busy with other tests would time out instead of crash.
    let _machine = take_machine().await;
    let seed = seed();
    let mut scene = Scene::set(mode, seed).await;
    let evidence = scene.play(seed).await;
    scene.report(&evidence);
    assert_kept(&evidence, seed);
    scene.end().await;
}

/// The processes of the test.
struct Scene {
    herald: Herald,
    simulator: SimulatorProcess,
    account: Account,
    progress: Arc<Progress>,
    started: Instant,
}

impl Scene {
    async fn set(mode: Mode, seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let simulator = SimulatorProcess::start(folder.path(), seed, SIMULATOR_SCALE).await;
        let setup = Setup::default()
            .with_short_limits()
            .at_one_address()
            .set("HERALD_SIMULATOR__ADDRESS", simulator.address)
            // What was taken by a server that died comes again.
            .set("HERALD_QUEUE__ACK_WAIT_MS", 5_000);
        let herald = Herald::start_in(mode, setup, folder).await;
        let mut new = NewAccount::with_credit(CREDIT);
        new.client.report_timeout = Some(span(REPORT_TIMEOUT));
        let account = herald.account(new).await;
        Self { herald, simulator, account, progress: Arc::default(), started: Instant::now() }
    }

    fn client(&self) -> Client {
        tireless(self.herald.config(&self.account.key))
    }

    async fn play(&mut self, seed: u64) -> Evidence {
        let mut traffic = Traffic::start(|| self.client(), self.progress.clone(), seed, &SENDERS);
        let kills = self.kill_at_random(seed, &mut traffic).await;
        let evidence = traffic.end(&self.client(), &self.simulator, CREDIT).await;
        let demand = Demand { messages: MESSAGES, kills: KILLS, in_flight: IN_FLIGHT };
        Evidence { kills, demand, ..evidence }
    }

    /// Kills and restarts the server at moments that the seed draws, whenever enough is in flight.
    async fn kill_at_random(&mut self, seed: u64, traffic: &mut Traffic) -> Vec<Micros> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut kills = Vec::new();
        for _ in 0..KILLS_MADE {
            let wanted = self.progress.acked() + random.random_range(150..650);
            let progress = &self.progress;
            until("messages in flight", async || {
                traffic.check_senders();
                (progress.acked() >= wanted && progress.in_flight() >= IN_FLIGHT_COUNTED).then_some(())
            })
            .await;
            // Not a wait for anything: the moment itself is what is drawn.
            tokio::time::sleep(Duration::from_micros(random.random_range(0..150_000))).await;
            kills.push(now());
            self.herald.kill().await;
            self.herald.start_server().await;
        }
        kills
    }

    /// Figures for a person.
    fn report(&self, evidence: &Evidence) {
        let mut in_flight = in_flight_at_kills(evidence);
        in_flight.sort_unstable();
        let unknown = evidence.seen.iter().filter(|event| event.kind == "message.unknown").count();
        let submits: usize = evidence.submits.values().map(Vec::len).sum();
        println!(
            "{} messages, {} events, {submits} submits, {unknown} unknown outcomes; {} kills with {:?} in flight; {:.0} s",
            evidence.acks.len(),
            evidence.seen.len(),
            evidence.kills.len(),
            in_flight,
            self.started.elapsed().as_secs_f64(),
        );
    }

    /// The books, by the server and then by the reconciler itself on the store.
    async fn end(mut self) {
        self.herald.finish().await;
        assert_clean_books(self.herald.database().open().await.as_ref(), &self.account.id).await;
    }
}
