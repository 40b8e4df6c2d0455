//! Attacks on the port: each is ended or refused in time, costs little memory, and does not slow an honest caller. The
//! same attacks on a server with default settings succeed, so they are real.

mod attacks;
mod limits;
mod observe;
mod plain;
mod tls;
mod wire;

use std::fmt::{Debug, Formatter};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt};
use herald_sdk::Client;
use tokio::task::JoinSet;

use crate::support::{Account, Herald, Mode, NewAccount, Setup, take_machine};
use attacks::{End, Target};
use observe::{Caller, Memory};
use wire::LIMIT;

type Attack = fn(Target) -> BoxFuture<'static, End>;

macro_rules! attacks {
    ($($attack:ident),+ $(,)?) => {
        [$((stringify!($attack), (|target| attacks::$attack(target).boxed()) as Attack)),+]
    };
}

/// How long each fast attack is repeated, and how long the honest caller is watched alone before.
const SPAN: Duration = Duration::from_secs(2);
/// Other programs on the machine slow a caller now and then, an attack that works slows it every time.
const ROUNDS: usize = 3;
/// How much more memory an attack may cost.
const GROWTH_KIB: u64 = 64 * 1024;
/// Below this, a p99 says more about this machine than about the server: the attacker, the server and the caller share
/// its two cores with whatever else runs, so a caller waits for a turn of the scheduler or two.
const FLOOR: Duration = Duration::from_millis(20);

/// HTTP/2's ENHANCE_YOUR_CALM.
const CALM: u32 = 11;

/// A server with the limits that it has by itself.
async fn victim(setup: Setup) -> (Herald, Account) {
    let herald =
        Herald::start(Mode::Embedded, setup.without("HERALD_LISTENER__NEW_STREAMS_PER_SECOND")).await;
    let account = herald.account(NewAccount::default()).await;
    (herald, account)
}

/// The same for a test that has the machine.
async fn lone_victim() -> (Herald, Account) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let setup = Setup::default().without("HERALD_LISTENER__NEW_STREAMS_PER_SECOND");
    let herald = Herald::start_in(Mode::Embedded, setup, folder).await;
    let account = herald.account(NewAccount::default()).await;
    (herald, account)
}

fn target(herald: &Herald, account: &Account) -> Target {
    Target {
        address: herald.address(),
        path: "/herald.v1.BillingService/GetBalance".into(),
        key: account.key.clone(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_are_stopped_and_honest_callers_do_not_notice() {
    let _machine = take_machine().await;
    let (mut herald, account) = lone_victim().await;
    let (mut neighbour, theirs) = lone_victim().await;
    let honest = herald.account(NewAccount::default()).await;
    let target = target(&herald, &account);
    for (name, attack) in attacks![
        rapid_reset,
        made_you_reset,
        ten_thousand_streams,
        continuation_flood,
        settings_flood,
        ping_flood,
        empty_data_flood,
        hpack_bomb,
        large_metadata,
    ] {
        let mut rounds = Vec::new();
        while !rounds.last().is_some_and(Round::is_unnoticed) {
            assert!(rounds.len() < ROUNDS, "{name} is noticed: {rounds:?}");
            let round = Round::of(attack, &target, herald.pid(), &honest.client, &theirs.client).await;
            assert!(!round.ends.contains(&End::Borne), "{name} is borne: {round:?}");
            assert!(round.growth_kib <= GROWTH_KIB, "{name} costs memory: {round:?}");
            assert!(round.cpu <= round.took, "{name} costs more than a core: {round:?}");
            rounds.push(round);
        }
        eprintln!("{name}: {rounds:?}");
    }
    herald.finish().await;
    neighbour.finish().await;
}

/// Up to what p99 an honest caller notices nothing: less than double. Where other programs keep the machine busy, the
/// time alone was measured in another moment, so a caller of another server at the same time counts too.
fn allowed(alone: Duration, elsewhere: Duration) -> Duration {
    FLOOR.max(2 * alone).max(2 * elsewhere)
}

/// One attack, repeated for a while, beside an honest caller.
struct Round {
    ends: Vec<End>,
    took: Duration,
    p99: Duration,
    /// Just before.
    p99_alone: Duration,
    /// Of a caller of another server, at the same time: what the machine does to everybody.
    p99_elsewhere: Duration,
    growth_kib: u64,
    cpu: Duration,
}

impl Round {
    async fn of(attack: Attack, target: &Target, pid: u32, honest: &Client, elsewhere: &Client) -> Self {
        let p99_alone = Caller::start(honest).after(SPAN).await;
        let memory = Memory::watch(pid);
        let (caller, elsewhere) = (Caller::start(honest), Caller::start(elsewhere));
        let (began, cpu) = (Instant::now(), observe::cpu(pid));
        let mut ends = Vec::new();
        while began.elapsed() < SPAN {
            ends.push(attack(target.clone()).await);
        }
        Self {
            ends,
            took: began.elapsed(),
            p99: caller.stop().await,
            p99_alone,
            p99_elsewhere: elsewhere.stop().await,
            growth_kib: memory.growth_kib(),
            cpu: observe::cpu(pid) - cpu,
        }
    }

    fn is_unnoticed(&self) -> bool {
        self.p99 <= allowed(self.p99_alone, self.p99_elsewhere)
    }
}

impl Debug for Round {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { ends, took, p99, p99_alone, p99_elsewhere, growth_kib, cpu } = self;
        let (first, times) = (ends.first(), ends.len());
        write!(
            f,
            "{times} times {first:?}, p99 {p99:?}, alone {p99_alone:?}, elsewhere {p99_elsewhere:?}, "
        )?;
        write!(f, "{growth_kib} KiB more, {cpu:?} of CPU time in {took:?}")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_peers_are_cut_off_in_time_here_and_never_by_a_server_with_default_settings() {
    let _machine = take_machine().await;
    let (mut herald, account) = lone_victim().await;
    let plain = plain::Server::start().await;
    let (ours, theirs) = (target(&herald, &account), plain.target());
    let memory = Memory::watch(herald.pid());
    let honest = herald.account(NewAccount::default()).await;
    let (mut neighbour, elsewhere) = lone_victim().await;
    let alone = Caller::start(&honest.client).after(SPAN).await;
    let (caller, elsewhere) = (Caller::start(&honest.client), Caller::start(&elsewhere.client));
    let mut running = JoinSet::new();
    for (name, attack) in attacks![
        silent_connection,
        half_preface,
        silence_after_the_preface,
        slow_headers,
        headers_without_an_end,
        slow_body,
        zero_window,
    ] {
        for (is_ours, target) in [(true, ours.clone()), (false, theirs.clone())] {
            running.spawn(async move {
                let began = Instant::now();
                let end = attack(target).await;
                (name, is_ours, end, began.elapsed())
            });
        }
    }
    let (mut borne_here, mut stopped_there) = (Vec::new(), Vec::new());
    while let Some(ended) = running.join_next().await {
        let (name, is_ours, end, took) = ended.expect("the attack ran");
        eprintln!("{name} on {}: {end:?} after {took:?}", if is_ours { "herald" } else { "tonic" });
        match (is_ours, end == End::Borne || took > LIMIT) {
            (true, true) => borne_here.push(name),
            (false, false) => stopped_there.push(name),
            _ => {}
        }
    }
    assert_eq!((borne_here, stopped_there), (vec![], vec![]));
    let (p99, elsewhere, growth) = (caller.stop().await, elsewhere.stop().await, memory.growth_kib());
    assert!(p99 <= allowed(alone, elsewhere), "p99 {p99:?}, alone {alone:?}, elsewhere {elsewhere:?}");
    assert!(growth <= GROWTH_KIB, "{growth} KiB more");
    herald.finish().await;
    neighbour.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_default_settings_bears_the_floods() {
    let _machine = take_machine().await;
    let plain = plain::Server::start().await;
    for (name, attack) in attacks![made_you_reset, ten_thousand_streams, settings_flood, ping_flood] {
        assert_eq!(attack(plain.target()).await, End::Borne, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_told_to_calm_down() {
    let (mut herald, account) = victim(Setup::default()).await;
    let end = attacks::continuation_flood(target(&herald, &account)).await;
    assert_eq!(end, End::Closed(Some(CALM)));
    herald.finish().await;
}
