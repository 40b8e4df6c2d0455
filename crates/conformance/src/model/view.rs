//! What clients may read.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use delivery::model::{Client, Head, IdempotencyKey, Message, MessageKey, RememberedCall};
use delivery::port::{EventPage, MessageFilter, Scanned, StoreError, Total, TransactionFilter, ViewStore};
use message::Timestamp;
use message::event::{Event, TransactionType};
use message::id::{ClientId, Entropy, MessageId};

use super::scan::scanned;
use super::{ModelStore, State, first, refused};

#[async_trait]
impl ViewStore for ModelStore {
    async fn client(&self, id: ClientId) -> Result<Option<(Client, Head)>, StoreError> {
        Ok(self.state().client(id))
    }

    async fn message(&self, client: ClientId, id: MessageId) -> Result<Option<Message>, StoreError> {
        Ok(self.state().message(MessageKey { client, id }))
    }

    async fn messages(
        &self,
        client: ClientId,
        filter: &MessageFilter,
        before: Option<MessageId>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<Message, MessageId>, StoreError> {
        let state = self.state();
        let older = state.records.keys().rev().filter(|key| {
            key.client == client && before.is_none_or(|before| key.id < before) && may_show(filter, key.id)
        });
        let rows = older.filter_map(|key| Some((key.id, state.message(*key)?)));
        let rows = rows.map(|(id, message)| (id, shows(filter, &message).then_some(message)));
        Ok(scanned(rows, limit, scan))
    }

    async fn history(&self, client: ClientId, id: MessageId) -> Result<Vec<Event>, StoreError> {
        Ok(self.state().history(MessageKey { client, id }))
    }

    async fn events(&self, client: ClientId, after: i64, limit: i64) -> Result<EventPage, StoreError> {
        let state = self.state();
        let (last_seq, oldest_seq) =
            state.heads.get(&client).map_or((0, 1), |head| (head.last_seq, head.oldest_seq));
        Ok(EventPage {
            events: first(state.events_after(client, after).cloned(), limit),
            last_seq,
            oldest_seq,
        })
    }

    async fn transactions(
        &self,
        client: ClientId,
        filter: &TransactionFilter,
        before: i64,
        limit: i64,
    ) -> Result<Vec<Event>, StoreError> {
        let state = self.state();
        let is_wanted = |event: &&Event| {
            let Some(transaction) = &event.transaction else { return false };
            (filter.from_seq..before).contains(&event.seq)
                && (filter.kinds.is_empty() || filter.kinds.contains(&transaction.kind))
                && (filter.message.is_none() || event.message() == filter.message)
        };
        Ok(first(state.events_after(client, 0).rev().filter(is_wanted).cloned(), limit))
    }

    async fn totals(&self, client: ClientId, from: i64, before: i64) -> Result<Vec<Total>, StoreError> {
        let state = self.state();
        let mut totals: BTreeMap<TransactionType, Total> = BTreeMap::new();
        for event in state.events_after(client, 0).filter(|event| (from..before).contains(&event.seq)) {
            let Some(transaction) = &event.transaction else { continue };
            let kind = transaction.kind;
            let none = Total { kind, count: 0, available_delta: 0, held_delta: 0 };
            let total = totals.entry(kind).or_insert(none);
            total.count += 1;
            let sums = (
                total.available_delta.checked_add(transaction.available_delta),
                total.held_delta.checked_add(transaction.held_delta),
            );
            let (Some(available_delta), Some(held_delta)) = sums else {
                return Err(refused("a sum is past what it can hold"));
            };
            (total.available_delta, total.held_delta) = (available_delta, held_delta);
        }
        Ok(totals.into_values().collect())
    }

    async fn last_seqs(&self, clients: &[ClientId]) -> Result<Vec<(ClientId, i64)>, StoreError> {
        let state = self.state();
        Ok(clients.iter().filter_map(|id| Some((*id, state.heads.get(id)?.last_seq))).collect())
    }

    async fn remembered(&self, key: &IdempotencyKey) -> Result<Option<RememberedCall>, StoreError> {
        let now = self.tick();
        Ok(self.state().living_key(key, now).cloned())
    }

    async fn log_epoch(&self) -> Result<u64, StoreError> {
        Ok(1 + self.state().renewed_epochs)
    }
}

/// Whether a message with this id may have been accepted within the filter's times: ids begin with the millisecond.
fn may_show(filter: &MessageFilter, id: MessageId) -> bool {
    let first_of = |at: Timestamp| MessageId::new(at, Entropy([0; 10]));
    let end = filter.created_before.map(|at| first_of(at + Duration::from_micros(999)));
    filter.created_from.is_none_or(|from| id >= first_of(from)) && end.is_none_or(|end| id < end)
}

fn shows(filter: &MessageFilter, message: &Message) -> bool {
    let Message { record, state } = message;
    (filter.statuses.is_empty() || filter.statuses.contains(&state.status))
        && filter.to.as_ref().is_none_or(|to| record.to == *to)
        && (filter.sender.is_empty() || record.sender == filter.sender)
        && (filter.reference.is_empty() || record.reference == filter.reference)
        && filter.created_from.is_none_or(|from| record.created_at >= from)
        && filter.created_before.is_none_or(|before| record.created_at < before)
}

impl State {
    /// As far back as the log is kept.
    fn history(&self, key: MessageKey) -> Vec<Event> {
        let mut history = Vec::new();
        let mut seq = self.states.get(&key).map_or(0, |state| state.last_event_seq);
        while let Some(event) = self.events.get(&(key.client, seq)) {
            history.push(event.clone());
            seq = event.previous_seq;
        }
        history.reverse();
        history
    }
}
