//! Transactions: load, write, commit.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use delivery::model::{Message, MessageKey};
use delivery::plan::{Loaded, Plan, RefBinding, StateChange, Wanted, Written};
use delivery::port::{StoreError, Transaction};
use message::Timestamp;
use message::status::LockState;
use tokio::sync::OwnedMutexGuard;

use super::state::{Bound, Lock, Ref};
use super::{ModelStore, State, check, refused};

/// Works on a copy, which the commit puts in place.
pub(super) struct ModelTransaction {
    store: ModelStore,
    state: State,
    now: Timestamp,
    _turn: OwnedMutexGuard<()>,
}

impl ModelStore {
    pub(super) async fn begin_transaction(&self) -> ModelTransaction {
        let turn = self.writer.clone().lock_owned().await;
        let now = self.tick();
        ModelTransaction { store: self.clone(), state: State::clone(&self.state()), now, _turn: turn }
    }
}

#[async_trait]
impl Transaction for ModelTransaction {
    async fn load(&mut self, wanted: &Wanted) -> Result<Loaded, StoreError> {
        self.now = self.store.tick();
        Ok(self.state.load(wanted, self.now))
    }

    async fn write(&mut self, plan: &Plan) -> Result<Written, StoreError> {
        self.state.write(plan, self.now)
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let Self { store, state, .. } = *self;
        store.commit(state);
        Ok(())
    }
}

impl State {
    fn load(&self, wanted: &Wanted, now: Timestamp) -> Loaded {
        let clients = wanted.clients.iter().filter_map(|id| Some((*id, self.client(*id)?)));
        let messages = wanted.messages.iter().filter_map(|key| Some((*key, self.open_message(*key)?)));
        let keys =
            wanted.keys.iter().filter_map(|key| Some((key.clone(), self.living_key(key, now)?.clone())));
        let is_pending = |id: &i64| self.reports.get(id).is_some_and(|row| !row.is_done);
        Loaded {
            now,
            clients: clients.collect::<BTreeMap<_, _>>(),
            messages: messages.collect(),
            keys: keys.collect::<HashMap<_, _>>(),
            pending_reports: wanted.reports.iter().copied().filter(is_pending).collect(),
            dead_letters: self.replays_of(&wanted.dead_letters),
        }
    }

    /// On an error the copy is spoilt, and must be dropped: so is its transaction.
    fn write(&mut self, plan: &Plan, now: Timestamp) -> Result<Written, StoreError> {
        for (client, head) in &plan.heads {
            *self.heads.get_mut(client).ok_or(StoreError::Conflict)? = *head;
        }
        for message in &plan.messages {
            self.insert_message(message)?;
        }
        for call in &plan.keys {
            self.keys.insert(call.key.clone(), call.clone());
        }
        for change in &plan.states {
            self.change_state(change)?;
        }
        for event in &plan.events {
            check::event(event)?;
            if self.events.insert((event.client, event.seq), event.clone()).is_some() {
                return Err(refused("the seq is taken"));
            }
        }
        let mut written = Written::default();
        for binding in &plan.refs {
            written.has_early_reports |= self.bind(binding, now);
        }
        for id in &plan.done_reports {
            if let Some(row) = self.reports.get_mut(id) {
                row.is_done = true;
            }
        }
        for letter in &plan.dead_letters {
            if self.dead_letters.insert(letter.key, letter.clone()).is_some() {
                return Err(refused("the message is a dead letter already"));
            }
        }
        for (key, message) in &plan.replays {
            let letter = self.dead_letters.get_mut(key).ok_or(StoreError::Conflict)?;
            if letter.replayed_as.replace(*message).is_some() {
                return Err(StoreError::Conflict);
            }
        }
        for entry in &plan.audit_entries {
            self.record(entry)?;
        }
        Ok(written)
    }

    fn insert_message(&mut self, message: &Message) -> Result<(), StoreError> {
        check::message(message)?;
        let key = message.record.key;
        if self.records.insert(key, message.record.clone()).is_some() {
            return Err(refused("the message is there already"));
        }
        self.states.insert(key, message.state.clone());
        self.locks.insert(key, Lock { amount: message.record.price_micros, state: LockState::Held });
        self.start_timer(key, message.state.timer_at)
    }

    fn change_state(&mut self, change: &StateChange) -> Result<(), StoreError> {
        check::state(&change.state)?;
        let stored = self.states.get_mut(&change.key).ok_or(StoreError::Conflict)?;
        if stored.fence != change.fence_before {
            return Err(StoreError::Conflict);
        }
        stored.clone_from(&change.state);
        if change.timer_before != change.state.timer_at {
            if let Some(before) = change.timer_before {
                self.timers.remove(&(before, change.key));
            }
            self.start_timer(change.key, change.state.timer_at)?;
        }
        if change.resolves_lock {
            let lock = self.locks.get_mut(&change.key).ok_or(StoreError::Conflict)?;
            if lock.state != LockState::Held {
                return Err(StoreError::Conflict);
            }
            lock.state = change.state.lock;
        }
        Ok(())
    }

    fn start_timer(&mut self, key: MessageKey, at: Option<Timestamp>) -> Result<(), StoreError> {
        match at {
            Some(at) if !self.timers.insert((at, key)) => Err(refused("the timer is there already")),
            _ => Ok(()),
        }
    }

    /// Whether a report has named the reference. One that is bound again is as young as a new one.
    fn bind(&mut self, binding: &RefBinding, now: Timestamp) -> bool {
        let name = (binding.provider.clone(), binding.reference.clone());
        let bound = Bound { key: binding.key, attempt: binding.attempt, part: binding.part };
        let row = self.refs.entry(name).or_insert(Ref { bound: None, is_reported: false, created_at: now });
        row.bound = Some(bound);
        row.created_at = now;
        row.is_reported
    }
}
