//! What clients may read. Every verb takes the client: a foreign id reads as an absent one.

use async_trait::async_trait;
use message::event::{Event, TransactionType};
use message::id::{ClientId, MessageId};
use message::status::Status;
use message::{PhoneNumber, Timestamp};

use super::{Scanned, StoreError};
use crate::model::{Client, Head, IdempotencyKey, Message, RememberedCall};

/// Reads of committed rows; no locks.
#[async_trait]
pub trait ViewStore: Send + Sync + 'static {
    async fn client(&self, id: ClientId) -> Result<Option<(Client, Head)>, StoreError>;

    async fn message(&self, client: ClientId, id: MessageId) -> Result<Option<Message>, StoreError>;

    /// The client's messages older than `before` that the filter shows, newest first, at most `limit`. Looks at
    /// `scan` rows at most.
    async fn messages(
        &self,
        client: ClientId,
        filter: &MessageFilter,
        before: Option<MessageId>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<Message, MessageId>, StoreError>;

    /// The events of one message in ascending order, by walking back from its newest along `previous_seq` as far
    /// as the log is kept.
    async fn history(&self, client: ClientId, id: MessageId) -> Result<Vec<Event>, StoreError>;

    /// Events with `seq > after` in ascending order without a gap, with the ends of the log as of the same
    /// snapshot. An unknown client has an empty log. With a limit of 0 only the ends are read.
    async fn events(&self, client: ClientId, after: i64, limit: i64) -> Result<EventPage, StoreError>;

    /// Several such pages, as many as are asked for and in that order. Each is as of one snapshot.
    async fn event_pages(&self, asked: &[PageAsked]) -> Result<Vec<EventPage>, StoreError> {
        let mut pages = Vec::with_capacity(asked.len());
        for &PageAsked { client, after, limit } in asked {
            pages.push(self.events(client, after, limit).await?);
        }
        Ok(pages)
    }

    /// Events that carry a transaction, with `filter.from_seq <= seq < before`, newest first.
    async fn transactions(
        &self,
        client: ClientId,
        filter: &TransactionFilter,
        before: i64,
        limit: i64,
    ) -> Result<Vec<Event>, StoreError>;

    /// Sums of the credit movements with `from <= seq < before` by type, in the order of the types; types without
    /// any are left out.
    async fn totals(&self, client: ClientId, from: i64, before: i64) -> Result<Vec<Total>, StoreError>;

    /// The newest `seq` of each of these clients.
    async fn last_seqs(&self, clients: &[ClientId]) -> Result<Vec<(ClientId, i64)>, StoreError>;

    /// `None` also for a key that is older than [`KEY_LIFETIME`](crate::timing::KEY_LIFETIME), by the store's clock.
    async fn remembered(&self, key: &IdempotencyKey) -> Result<Option<RememberedCall>, StoreError>;

    /// Identifies this history of the log: a new random value when a database is made, and
    /// [when an operator says so](super::AdminStore::renew_log_epoch).
    async fn log_epoch(&self) -> Result<u64, StoreError>;
}

/// Which page of whose event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageAsked {
    pub client: ClientId,
    /// The `seq` before its first.
    pub after: i64,
    pub limit: i64,
}

/// A page of a client's event log.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPage {
    pub events: Vec<Event>,
    /// `seq` of the newest event in the log; 0 = none.
    pub last_seq: i64,
    /// `seq` of the oldest event still kept; 1 in an empty log.
    pub oldest_seq: i64,
}

/// Which messages to list. Empty and `None` = all.
#[derive(Clone, Debug, Default)]
pub struct MessageFilter {
    pub statuses: Vec<Status>,
    pub to: Option<PhoneNumber>,
    pub sender: String,
    pub reference: String,
    /// Included.
    pub created_from: Option<Timestamp>,
    /// Not included.
    pub created_before: Option<Timestamp>,
}

/// The movements of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    pub kind: TransactionType,
    pub count: i64,
    pub available_delta: i64,
    pub held_delta: i64,
}

/// Which transactions to list.
#[derive(Clone, Debug, Default)]
pub struct TransactionFilter {
    /// The first `seq` to list; 0 = from the oldest.
    pub from_seq: i64,
    /// Empty = all.
    pub kinds: Vec<TransactionType>,
    pub message: Option<MessageId>,
}
