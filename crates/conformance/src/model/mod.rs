//! The reference model: a store of plain maps, as simple as the contract can be said. Slow, and right by reading.

mod admin;
mod audit;
mod audit_log;
mod check;
mod clients;
mod keys;
mod letters;
mod scan;
mod state;
mod view;
mod work;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use delivery::port::StoreError;
use message::Timestamp;

use crate::bench::{Bench, StoreFixture, TestClock};
pub use state::State;

/// A store in memory. Clones share it. One transaction at a time; readers see what is committed.
#[derive(Clone)]
pub struct ModelStore {
    committed: Arc<Mutex<Arc<State>>>,
    writer: Arc<tokio::sync::Mutex<()>>,
    clock: TestClock,
}

impl ModelStore {
    pub fn new(clock: TestClock) -> Self {
        Self::from_state(State::default(), clock)
    }

    /// Goes on from a state.
    pub fn from_state(state: State, clock: TestClock) -> Self {
        Self { committed: Arc::new(Mutex::new(Arc::new(state))), writer: Arc::default(), clock }
    }

    /// What is committed now.
    pub fn state(&self) -> Arc<State> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The time, which never goes back. It is the one thing that moves outside of transactions.
    fn tick(&self) -> Timestamp {
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now().max(committed.now);
        if now > committed.now {
            Arc::make_mut(&mut committed).now = now;
        }
        now
    }

    fn commit(&self, mut state: State) {
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        state.now = state.now.max(committed.now);
        *committed = Arc::new(state);
    }

    /// A transaction of one verb: all of `work`, or nothing of it.
    async fn transact<T>(
        &self,
        work: impl FnOnce(&mut State, Timestamp) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let _turn = self.writer.lock().await;
        let now = self.tick();
        let mut state = State::clone(&self.state());
        let done = work(&mut state, now)?;
        self.commit(state);
        Ok(done)
    }
}

/// A row that breaks a rule of the schema.
fn refused(why: &str) -> StoreError {
    StoreError::Refused(why.into())
}

/// At most `limit` items, in the order given.
fn first<T>(items: impl Iterator<Item = T>, limit: i64) -> Vec<T> {
    items.take(usize::try_from(limit).unwrap_or(0)).collect()
}

/// Hands the model itself to the suite.
pub struct ModelFixture;

impl StoreFixture for ModelFixture {
    async fn empty() -> Bench {
        let clock = TestClock::default();
        let store = Arc::new(ModelStore::new(clock.clone()));
        Bench::new(store.clone(), store, clock, ())
    }
}
