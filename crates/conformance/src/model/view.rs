//! What clients may read.

use async_trait::async_trait;
use delivery::model::{Client, Head, IdempotencyKey, Message, MessageKey, RememberedCall};
use delivery::port::{EventPage, StoreError, TransactionFilter, ViewStore};
use message::event::Event;
use message::id::{ClientId, MessageId};

use super::{ModelStore, State, first};

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
        before: Option<MessageId>,
        limit: i64,
    ) -> Result<Vec<Message>, StoreError> {
        let state = self.state();
        let keys = state.records.keys().rev().filter(|key| key.client == client);
        let older = keys.filter(|key| before.is_none_or(|before| key.id < before));
        Ok(first(older.filter_map(|key| state.message(*key)), limit))
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
            event.seq < before
                && (filter.kinds.is_empty() || filter.kinds.contains(&transaction.kind))
                && (filter.message.is_none() || event.message() == filter.message)
        };
        Ok(first(state.events_after(client, 0).rev().filter(is_wanted).cloned(), limit))
    }

    async fn last_seqs(&self, clients: &[ClientId]) -> Result<Vec<(ClientId, i64)>, StoreError> {
        let state = self.state();
        Ok(clients.iter().filter_map(|id| Some((*id, state.heads.get(id)?.last_seq))).collect())
    }

    async fn remembered(&self, key: &IdempotencyKey) -> Result<Option<RememberedCall>, StoreError> {
        Ok(self.state().keys.get(key).cloned())
    }

    async fn log_epoch(&self) -> Result<u64, StoreError> {
        Ok(1)
    }
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
