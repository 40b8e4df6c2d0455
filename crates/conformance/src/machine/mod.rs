//! The model and a store, step by step beside each other.
//!
//! proptest-state-machine draws the steps. The reference applies each to the [model](crate::model), the system under
//! test to a real store, through the same use cases; then their answers, and everything that can be read of
//! them, must be the same.

mod any;
mod operate;
mod run;
mod snapshot;
mod step;

use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use delivery::timing::Timing;
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;
use proptest::test_runner::{Config, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use crate::bench::{Bench, StoreFixture, TestClock};
use crate::model::{ModelStore, State};
use run::Session;
use snapshot::{Snapshot, brief, whole};
use step::Step;

/// Cases when PROPTEST_CASES does not say.
const CASES: u32 = 16;
/// Steps of a case.
const STEPS: std::ops::Range<usize> = 20..60;

/// Runs random steps on the model and on the fixture's store, and compares them after each.
pub fn run<F: StoreFixture>() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let steps = Reference::sequential_strategy(STEPS);
    let outcome = TestRunner::new(config.clone()).run(&steps, |(start, steps, seen)| {
        Beside::<F>::test_sequential(config.clone(), start, steps, seen);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("the store and the model differ: {failure}");
    }
}

/// The model between two steps.
#[derive(Clone, Debug, Default)]
struct Reference {
    state: Arc<State>,
    clock: i64,
    session: Session,
    /// Of the last step.
    answer: String,
    snapshot: Snapshot,
}

impl Reference {
    /// A bench on the model as it is.
    fn bench(&self) -> (Bench, ModelStore) {
        let clock = TestClock::default();
        clock.advance(Duration::from_micros(self.clock.unsigned_abs()));
        let store = ModelStore::from_state(State::clone(&self.state), clock.clone());
        let shared = Arc::new(store.clone());
        (timed(Bench::new(shared.clone(), shared, clock, ())), store)
    }
}

impl ReferenceStateMachine for Reference {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Step> {
        any::any_step(!state.session.clients.is_empty(), !state.session.messages.is_empty())
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        (!step.needs_client() || !state.session.clients.is_empty())
            && (!step.needs_message() || !state.session.messages.is_empty())
    }

    fn apply(mut reference: Self, step: &Step) -> Self {
        let (bench, store) = reference.bench();
        reference.answer = at_once(reference.session.run(&bench, step));
        reference.snapshot = at_once(brief(&bench, &reference.session));
        reference.clock = bench.clock.now().as_micros() - crate::bench::START.as_micros();
        reference.state = store.state();
        reference
    }
}

/// A store under test, with the runtime that it lives in.
struct Running {
    session: Session,
    /// Dropped before its runtime.
    bench: Bench,
    runtime: tokio::runtime::Runtime,
}

struct Beside<F>(PhantomData<F>);

impl<F: StoreFixture> StateMachineTest for Beside<F> {
    type SystemUnderTest = Running;
    type Reference = Reference;

    fn init_test(_: &Reference) -> Running {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        let bench = timed(runtime.block_on(F::fresh()));
        Running { session: Session::default(), bench, runtime }
    }

    fn apply(mut running: Running, reference: &Reference, step: Step) -> Running {
        let answer = running.runtime.block_on(running.session.run(&running.bench, &step));
        assert_eq!(answer, reference.answer, "the store's answer (left) to {step:?} is not the model's");
        let snapshot = running.runtime.block_on(brief(&running.bench, &running.session));
        snapshot.assert_same(&reference.snapshot);
        running
    }

    fn teardown(running: Running, reference: Reference) {
        let (bench, _) = reference.bench();
        let expected = at_once(whole(&bench, &reference.session));
        running.runtime.block_on(whole(&running.bench, &running.session)).assert_same(&expected);
    }
}

/// With few attempts, so that some messages are given up.
fn timed(mut bench: Bench) -> Bench {
    let retry_waits = vec![Duration::from_secs(5)];
    bench.timing = Arc::new(Timing { retry_waits, ..Timing::default() });
    bench
}

/// The model never waits.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("the model waits"),
    }
}
