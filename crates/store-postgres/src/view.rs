//! What clients may read. Every query names the client.

use async_trait::async_trait;
use delivery::model::{Client, Head, IdempotencyKey, Message, RememberedCall};
use delivery::port::{EventPage, StoreError, TransactionFilter, ViewStore};
use message::event::Event;
use message::id::{ClientId, MessageId};
use sqlx::Row;
use sqlx::postgres::{PgBindIterExt, PgRow};
use uuid::Uuid;

use crate::PostgresStore;
use crate::error::store_error;
use crate::rows::{self, client_columns, event_columns, record_columns, state_columns};

#[async_trait]
impl ViewStore for PostgresStore {
    async fn client(&self, id: ClientId) -> Result<Option<(Client, Head)>, StoreError> {
        let sql = concat!(
            "-- read client\nSELECT ",
            client_columns!(),
            " FROM clients AS c JOIN client_heads AS h ON h.client_id = c.id WHERE c.id = $1"
        );
        let row = sqlx::query(sql).bind(id.as_uuid()).fetch_optional(self.pool()).await;
        let read = |row: PgRow| Ok((rows::client(&row)?, rows::head(&row)?));
        row.and_then(|row| row.map(read).transpose()).map_err(store_error)
    }

    async fn message(&self, client: ClientId, id: MessageId) -> Result<Option<Message>, StoreError> {
        let sql = concat!(
            "-- read message\nSELECT ",
            record_columns!(),
            ", ",
            state_columns!(),
            " FROM messages AS r
              JOIN message_states AS m ON m.client_id = r.client_id AND m.id = r.id
              JOIN credit_locks AS l ON l.client_id = r.client_id AND l.message_id = r.id
              WHERE r.client_id = $1 AND r.id = $2"
        );
        let row =
            sqlx::query(sql).bind(client.as_uuid()).bind(id.as_uuid()).fetch_optional(self.pool()).await;
        row.and_then(|row| row.as_ref().map(rows::message).transpose()).map_err(store_error)
    }

    async fn messages(
        &self,
        client: ClientId,
        before: Option<MessageId>,
        limit: i64,
    ) -> Result<Vec<Message>, StoreError> {
        let sql = concat!(
            "-- list messages
            WITH page AS (
                SELECT ",
            record_columns!(),
            "   FROM messages AS r WHERE r.client_id = $1 AND r.id < $2 ORDER BY r.id DESC LIMIT $3
            )
            SELECT ",
            record_columns!(),
            ", ",
            state_columns!(),
            " FROM page AS r
              JOIN message_states AS m ON m.client_id = r.client_id AND m.id = r.id
              JOIN credit_locks AS l ON l.client_id = r.client_id AND l.message_id = r.id
              ORDER BY r.id DESC"
        );
        let before = before.map_or(Uuid::max(), |id| *id.as_uuid());
        let rows =
            sqlx::query(sql).bind(client.as_uuid()).bind(before).bind(limit).fetch_all(self.pool()).await;
        rows.and_then(|rows| rows.iter().map(rows::message).collect()).map_err(store_error)
    }

    async fn history(&self, client: ClientId, id: MessageId) -> Result<Vec<Event>, StoreError> {
        let sql = concat!(
            "-- history
            WITH RECURSIVE chain (client_id, seq) AS (
                SELECT client_id, last_event_seq FROM message_states WHERE client_id = $1 AND id = $2
                UNION ALL
                SELECT e.client_id, e.previous_seq
                FROM chain AS c JOIN events AS e ON e.client_id = c.client_id AND e.seq = c.seq
                WHERE e.previous_seq > 0
            )
            SELECT ",
            event_columns!(),
            " FROM chain AS c JOIN events AS e ON e.client_id = c.client_id AND e.seq = c.seq ORDER BY e.seq"
        );
        let rows = sqlx::query(sql).bind(client.as_uuid()).bind(id.as_uuid()).fetch_all(self.pool()).await;
        rows.and_then(|rows| rows.iter().map(rows::event).collect()).map_err(store_error)
    }

    async fn events(&self, client: ClientId, after: i64, limit: i64) -> Result<EventPage, StoreError> {
        self.read_events(client, after, limit).await.map_err(store_error)
    }

    async fn transactions(
        &self,
        client: ClientId,
        filter: &TransactionFilter,
        before: i64,
        limit: i64,
    ) -> Result<Vec<Event>, StoreError> {
        if let Some(message) = filter.message {
            let is_wanted = |event: &Event| {
                let kind = event.transaction.as_ref().map(|transaction| transaction.kind);
                event.seq < before
                    && kind.is_some_and(|kind| filter.kinds.is_empty() || filter.kinds.contains(&kind))
            };
            let history = self.history(client, message).await?.into_iter().rev();
            return Ok(history.filter(is_wanted).take(usize::try_from(limit).unwrap_or(0)).collect());
        }
        let sql = concat!(
            "-- list transactions\nSELECT ",
            event_columns!(),
            " FROM events AS e WHERE e.client_id = $1 AND e.seq < $2 AND e.transaction_kind IS NOT NULL
              AND (cardinality($3::text[]) = 0 OR e.transaction_kind = ANY($3))
              ORDER BY e.seq DESC LIMIT $4"
        );
        let rows = sqlx::query(sql)
            .bind(client.as_uuid())
            .bind(before)
            .bind(filter.kinds.iter().map(|kind| kind.as_str()).bind_iter())
            .bind(limit)
            .fetch_all(self.pool())
            .await;
        rows.and_then(|rows| rows.iter().map(rows::event).collect()).map_err(store_error)
    }

    async fn last_seqs(&self, clients: &[ClientId]) -> Result<Vec<(ClientId, i64)>, StoreError> {
        let sql = "-- last seqs
            SELECT h.client_id, h.last_seq FROM client_heads AS h WHERE h.client_id = ANY($1::uuid[])";
        let ids = clients.iter().map(|id| id.as_uuid()).bind_iter();
        let rows = sqlx::query(sql).bind(ids).fetch_all(self.pool()).await;
        let read = |row: &PgRow| Ok((rows::client_id(row, "client_id")?, row.try_get("last_seq")?));
        rows.and_then(|rows| rows.iter().map(read).collect()).map_err(store_error)
    }

    async fn remembered(&self, key: &IdempotencyKey) -> Result<Option<RememberedCall>, StoreError> {
        let sql = "-- read key
            SELECT client_id, kind, key, fingerprint, message_id, event_seq, created_at
            FROM idempotency_keys WHERE client_id = $1 AND kind = $2 AND key = $3";
        let row = sqlx::query(sql)
            .bind(key.client.as_uuid())
            .bind(key.kind.as_str())
            .bind(&key.key)
            .fetch_optional(self.pool())
            .await;
        row.and_then(|row| row.as_ref().map(rows::remembered).transpose()).map_err(store_error)
    }

    async fn log_epoch(&self) -> Result<u64, StoreError> {
        let epoch: i64 = sqlx::query_scalar("-- log epoch\nSELECT log_epoch FROM installation WHERE one = 1")
            .fetch_one(self.pool())
            .await
            .map_err(store_error)?;
        Ok(epoch.unsigned_abs())
    }
}

impl PostgresStore {
    /// The page and the ends of the log as of one snapshot: that of the one statement.
    async fn read_events(&self, client: ClientId, after: i64, limit: i64) -> Result<EventPage, sqlx::Error> {
        let sql = concat!(
            "-- read events\nSELECT h.last_seq, h.oldest_seq, ",
            event_columns!(),
            " FROM client_heads AS h
              LEFT JOIN LATERAL (
                  SELECT ",
            event_columns!(),
            "     FROM events AS e WHERE e.client_id = h.client_id AND e.seq > $2 ORDER BY e.seq LIMIT $3
              ) AS e ON true
              WHERE h.client_id = $1 ORDER BY e.seq"
        );
        let rows =
            sqlx::query(sql).bind(client.as_uuid()).bind(after).bind(limit).fetch_all(self.pool()).await?;
        let Some(first) = rows.first() else {
            return Ok(EventPage { events: Vec::new(), last_seq: 0, oldest_seq: 1 });
        };
        let (last_seq, oldest_seq) = (first.try_get("last_seq")?, first.try_get("oldest_seq")?);
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            // An empty page is one row of the ends alone.
            if row.try_get::<Option<i64>, _>("seq")?.is_some() {
                events.push(rows::event(row)?);
            }
        }
        Ok(EventPage { events, last_seq, oldest_seq })
    }
}
