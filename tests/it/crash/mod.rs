//! The server is killed again and again under load, and nothing that was promised is lost, doubled or invented.

pub(crate) mod check;
mod check_tests;
mod end;
pub(crate) mod evidence;
pub(crate) mod load;
pub(crate) mod progress;
pub(crate) mod subscriber;

use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::reconcile;
use delivery::timing::Timing;
use herald_sdk::{Client, Config, RetryPolicy};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::{
    Account, Herald, Mode, NewAccount, Setup, SimulatorProcess, free_port, on_both_stores, soon, span,
    take_machine, until,
};
use check::{check, in_flight_at_kills};
pub(crate) use end::settle;
use evidence::{Demand, Evidence, Micros, submits};
use progress::{Progress, now};

/// Messages sent, at the least.
const MESSAGES: usize = 10_000;
/// Kills that must meet [`IN_FLIGHT`] messages; a few more are made.
const KILLS: usize = 20;
const KILLS_MADE: usize = 22;
const IN_FLIGHT: usize = 200;
/// The killer's own count runs behind by what the subscriber has not read yet.
const IN_FLIGHT_COUNTED: usize = 280;
/// Calls at once, over as many connections as there are groups of [`PER_CONNECTION`].
const SENDERS: usize = 96;
const PER_CONNECTION: usize = 32;
/// Reports after 2.5 s: enough is in flight also where a machine accepts only 120 messages a second.
const SIMULATOR_SCALE: f64 = 0.4;
const REPORT_TIMEOUT: Duration = Duration::from_secs(15);
const CREDIT: i64 = 1_000_000_000;
/// Drawn from when `HERALD_TEST_SEED` is not set.
const SEED: u64 = 20_260_101;

on_both_stores! {
    killed_at_random_under_load_it_keeps_every_promise,
}

async fn killed_at_random_under_load_it_keeps_every_promise(mode: Mode) {
    // Nothing else runs meanwhile: a machine that is busy with other tests would time out instead of crash.
    let _machine = take_machine().await;
    let seed = std::env::var("HERALD_TEST_SEED")
        .map_or(SEED, |seed| seed.parse().expect("HERALD_TEST_SEED is a number"));
    println!("{mode:?}: HERALD_TEST_SEED={seed}");
    let mut scene = Scene::set(mode, seed).await;
    let evidence = scene.play(seed).await;
    scene.report(&evidence);
    let findings = check(&evidence);
    assert!(
        findings.is_empty(),
        "seed {seed}: {} findings, the first:\n{}",
        findings.len(),
        findings[..findings.len().min(20)].join("\n")
    );
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
            // Restarts are at the same address, as they are in life.
            .set("HERALD_LISTEN", format!("127.0.0.1:{}", free_port()))
            .set("HERALD_SIMULATOR__ADDRESS", simulator.address)
            .set("HERALD_SIMULATOR__ANSWER_TIMEOUT_MS", 1_500)
            .set("HERALD_TIMING__LEASE_MS", 3_000)
            .set("HERALD_TIMING__UNAVAILABLE_PAUSE_MS", 500);
        let herald = Herald::start_in(mode, setup, folder).await;
        let mut new = NewAccount::with_credit(CREDIT);
        new.client.report_timeout = Some(span(REPORT_TIMEOUT));
        let account = herald.account(new).await;
        Self { herald, simulator, account, progress: Arc::default(), started: Instant::now() }
    }

    /// A client of its own connection that never tires.
    fn client(&self) -> Client {
        let retry = RetryPolicy {
            max_attempts: u32::MAX,
            base_pause: Duration::from_millis(20),
            max_pause: Duration::from_millis(200),
        };
        let config =
            Config { retry, timeout: Duration::from_secs(10), ..self.herald.config(&self.account.key) };
        Client::connect_lazy(config).expect("address and key are well formed")
    }

    async fn play(&mut self, seed: u64) -> Evidence {
        let mut followers = JoinSet::new();
        followers.spawn(subscriber::follow_by_hand(self.client(), self.progress.clone()));
        let (tell_last, last) = watch::channel(None);
        let by_sdk = tokio::spawn(subscriber::follow_by_sdk(self.client(), last));
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS / PER_CONNECTION {
            let client = self.client();
            for _ in 0..PER_CONNECTION {
                senders.spawn(load::send_all(client.clone(), self.progress.clone(), seed, MESSAGES));
            }
        }
        let kills = self.kill_at_random(seed, &mut senders).await;
        self.progress.calm();
        while let Some(sent) = soon("the last acknowledgement", senders.join_next()).await {
            sent.expect("no sender was refused");
        }
        let (balance, listed) = settle(&self.client(), &self.simulator).await;
        until("the subscriber's last event", async || {
            assert!(followers.try_join_next().is_none(), "the subscriber ended");
            (self.progress.last_seq() >= balance.seq).then_some(())
        })
        .await;
        tell_last.send_replace(Some(balance.seq));
        self.check_sdk(soon("the SDK's last event", by_sdk).await.expect("it ends well"), balance.seq);
        Evidence {
            acks: self.progress.acks(),
            submits: submits(&self.simulator.witness()),
            listed,
            seen: self.progress.seen(),
            kills,
            available: balance.available_micros,
            held: balance.held_micros,
            last_seq: balance.seq,
            topped_up: CREDIT,
            max_attempts: Timing::default().max_attempts(),
            demand: Demand { messages: MESSAGES, kills: KILLS, in_flight: IN_FLIGHT },
        }
    }

    /// Kills and restarts the server at moments that the seed draws, whenever enough is in flight.
    async fn kill_at_random(&mut self, seed: u64, senders: &mut JoinSet<()>) -> Vec<Micros> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut kills = Vec::new();
        for _ in 0..KILLS_MADE {
            let wanted = self.progress.acked() + random.random_range(150..650);
            let progress = &self.progress;
            until("messages in flight", async || {
                if let Some(Err(error)) = senders.try_join_next() {
                    std::panic::resume_unwind(error.into_panic());
                }
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

    fn check_sdk(&self, (seqs, connections): (Vec<i64>, u64), last_seq: i64) {
        assert!(seqs.iter().copied().eq(1..=last_seq), "the SDK's subscription has a gap or a repetition");
        assert!(connections > 1, "the SDK's subscription never had to resume");
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
        let client = self.account.id.parse().expect("the server gives ids");
        let store = self.herald.database().open().await;
        let audited = reconcile::audit(store.as_ref(), &Timing::default(), client).await;
        let (audit, _) = audited.expect("the store can be read").expect("the client exists");
        assert_eq!(audit.violations, Vec::<String>::new());
    }
}
