//! The books, checkpoints, retention, purging.

use std::collections::BTreeMap;

use async_trait::async_trait;
use delivery::model::{AuditEntry, Message, MessageKey};
use delivery::port::{AuditStore, Books, Checkpoint, PurgeLimits, Purged, StoreError};
use delivery::timing::KEY_LIFETIME;
use message::Timestamp;
use message::event::{Event, TransactionType};
use message::id::{AuditEntryId, ClientId, MessageId};
use message::status::LockState;

use super::{ModelStore, State, first};

#[async_trait]
impl AuditStore for ModelStore {
    async fn books(&self, client: ClientId, stale_before: Timestamp) -> Result<Option<Books>, StoreError> {
        Ok(self.state().books(client, stale_before))
    }

    async fn write_checkpoint(&self, client: ClientId, checkpoint: Checkpoint) -> Result<(), StoreError> {
        self.transact(|state, _| {
            if let Some(stored) = state.checkpoints.get_mut(&client)
                && checkpoint.seq > stored.seq
            {
                *stored = checkpoint;
            }
            Ok(())
        })
        .await
    }

    async fn trim_events(&self, client: ClientId, through: i64) -> Result<i64, StoreError> {
        self.transact(|state, _| {
            let (Some(head), Some(checkpoint)) =
                (state.heads.get_mut(&client), state.checkpoints.get(&client))
            else {
                return Ok(1);
            };
            head.oldest_seq = head.oldest_seq.max(1 + through.min(checkpoint.seq));
            let oldest = head.oldest_seq;
            state.events.retain(|(owner, seq), _| *owner != client || *seq >= oldest);
            Ok(oldest)
        })
        .await
    }

    async fn old_messages(
        &self,
        client: ClientId,
        created_before: Timestamp,
        after: Option<MessageId>,
        limit: i64,
    ) -> Result<Vec<Message>, StoreError> {
        let state = self.state();
        let old = state.records.iter().filter(|(key, record)| {
            key.client == client
                && record.created_at < created_before
                && after.is_none_or(|after| key.id > after)
        });
        Ok(first(old.filter_map(|(key, _)| state.message(*key)), limit))
    }

    async fn remove_messages(&self, client: ClientId, ids: &[MessageId]) -> Result<u64, StoreError> {
        self.transact(|state, _| {
            let keys = ids.iter().map(|id| MessageKey { client, id: *id });
            Ok(keys.filter(|key| state.remove_message(*key)).count() as u64)
        })
        .await
    }

    async fn old_audit_entries(&self, before: Timestamp, limit: i64) -> Result<Vec<AuditEntry>, StoreError> {
        let state = self.state();
        let old = state.audit_log.values().filter(|entry| entry.at < before);
        Ok(first(old.cloned(), limit))
    }

    async fn remove_audit_entries(&self, ids: &[AuditEntryId]) -> Result<u64, StoreError> {
        self.transact(|state, _| {
            Ok(ids.iter().filter(|id| state.audit_log.remove(id).is_some()).count() as u64)
        })
        .await
    }

    async fn purge(&self, limits: &PurgeLimits, limit: i64) -> Result<Purged, StoreError> {
        self.transact(|state, now| {
            state.keys.retain(|_, call| now.since(call.created_at) < KEY_LIFETIME);
            let reports = state.reports.iter().map(|(id, row)| (row.stored_at, *id));
            let reports = oldest(reports, limits.reports_before, limit);
            let removed: Vec<_> = reports.iter().filter_map(|id| state.reports.remove(id)).collect();
            let refs = state.refs.iter().map(|(name, row)| (row.created_at, name.clone()));
            let refs = oldest(refs, limits.refs_before, limit);
            for name in &refs {
                state.refs.remove(name);
            }
            Ok(Purged {
                reports: reports.len() as u64,
                unmatched_reports: removed.iter().filter(|row| !row.is_done).count() as u64,
                refs: refs.len() as u64,
            })
        })
        .await
    }
}

/// The names of the oldest rows that are older than `before`.
fn oldest<T: Ord>(rows: impl Iterator<Item = (Timestamp, T)>, before: Timestamp, limit: i64) -> Vec<T> {
    let mut old: Vec<_> = rows.filter(|(at, _)| *at < before).collect();
    old.sort();
    first(old.into_iter().map(|(_, name)| name), limit)
}

impl State {
    /// `false` = it is not there, or it is not over yet.
    fn remove_message(&mut self, key: MessageKey) -> bool {
        let is_over = self
            .message(key)
            .is_some_and(|message| message.state.status.is_final() && message.state.lock != LockState::Held);
        if is_over {
            self.records.remove(&key);
            self.states.remove(&key);
            self.locks.remove(&key);
            self.dead_letters.remove(&key);
        }
        is_over
    }

    fn books(&self, client: ClientId, stale_before: Timestamp) -> Option<Books> {
        let (head, checkpoint) = (self.heads.get(&client)?, *self.checkpoints.get(&client)?);
        let events: Vec<&Event> = self.events_after(client, checkpoint.seq).collect();
        let mut books = Books {
            checkpoint,
            available: head.balance.available(),
            held: head.balance.held(),
            last_seq: head.last_seq,
            event_count: events.len() as i64,
            first_event_seq: events.first().map_or(0, |event| event.seq),
            last_event_seq: events.last().map_or(0, |event| event.seq),
            ..Books::default()
        };
        self.add_events(&mut books, &events);
        self.add_locks(&mut books, client, stale_before);
        Some(books)
    }

    fn add_events(&self, books: &mut Books, events: &[&Event]) {
        let from = books.checkpoint;
        let mut resolutions: BTreeMap<Option<MessageId>, u32> = BTreeMap::new();
        for event in events {
            if let Some(transaction) = &event.transaction {
                books.available_delta += transaction.available_delta;
                books.held_delta += transaction.held_delta;
                match transaction.kind {
                    TransactionType::TopUp | TransactionType::Adjustment => {}
                    TransactionType::Hold => {
                        let is_locked = self.has_lock(event, transaction.held_delta);
                        books.holds_without_lock += i64::from(!is_locked);
                    }
                    TransactionType::Capture | TransactionType::Release => {
                        *resolutions.entry(event.message()).or_default() += 1;
                    }
                }
            }
            let running = (from.available + books.available_delta, from.held + books.held_delta);
            let is_broken = (event.available_after, event.held_after) != running;
            books.broken_running_balances += i64::from(is_broken);
        }
        books.double_resolutions = resolutions.values().filter(|count| **count > 1).count() as i64;
    }

    fn has_lock(&self, hold: &Event, amount: i64) -> bool {
        let mut locks = self.locks.iter();
        locks.any(|(key, lock)| {
            key.client == hold.client && Some(key.id) == hold.message() && lock.amount == amount
        })
    }

    fn add_locks(&self, books: &mut Books, client: ClientId, stale_before: Timestamp) {
        let held =
            self.locks.iter().filter(|(key, lock)| key.client == client && lock.state == LockState::Held);
        for (key, lock) in held {
            let state = &self.states[key];
            let timer = state.timer_at.filter(|at| self.timers.contains(&(*at, *key)));
            books.held_locks += 1;
            books.held_lock_sum += lock.amount;
            books.final_but_held += i64::from(state.status.is_final());
            books.overdue += i64::from(timer.is_none_or(|at| at < stale_before));
        }
    }
}
