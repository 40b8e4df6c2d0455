//! What clients may read. Every query names the client.

use async_trait::async_trait;
use delivery::model::{Client, Head, IdempotencyKey, Message, RememberedCall};
use delivery::port::{EventPage, MessageFilter, Scanned, StoreError, Total, TransactionFilter, ViewStore};
use delivery::timing::KEY_LIFETIME;
use message::PhoneNumber;
use message::event::Event;
use message::id::{ClientId, MessageId, end_id, first_id};
use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::SqliteStore;
use crate::error::store_error;
use crate::rows::{
    self, batch, client_columns, event_columns, hex, opt_micros, record_columns, state_columns,
};

#[async_trait]
impl ViewStore for SqliteStore {
    async fn client(&self, id: ClientId) -> Result<Option<(Client, Head)>, StoreError> {
        let sql = concat!(
            "-- read client\nSELECT ",
            client_columns!(),
            " FROM clients AS c JOIN client_heads AS h ON h.client_id = c.id WHERE c.id = ?1"
        );
        let row = sqlx::query(sql).bind(id.as_uuid()).fetch_optional(self.readers()).await;
        let read = |row: SqliteRow| Ok((rows::client(&row)?, rows::head(&row)?));
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
              WHERE r.client_id = ?1 AND r.id = ?2"
        );
        let row =
            sqlx::query(sql).bind(client.as_uuid()).bind(id.as_uuid()).fetch_optional(self.readers()).await;
        row.and_then(|row| row.as_ref().map(rows::message).transpose()).map_err(store_error)
    }

    async fn messages(
        &self,
        client: ClientId,
        filter: &MessageFilter,
        before: Option<MessageId>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<Message, MessageId>, StoreError> {
        self.read_messages(client, filter, before, limit, scan).await.map_err(store_error)
    }

    async fn history(&self, client: ClientId, id: MessageId) -> Result<Vec<Event>, StoreError> {
        // CROSS JOIN: or SQLite reads the client's whole log to find the few events of the chain in it.
        let sql = concat!(
            "-- history
            WITH RECURSIVE chain (seq) AS (
                SELECT last_event_seq FROM message_states WHERE client_id = ?1 AND id = ?2
                UNION ALL
                SELECT e.previous_seq FROM chain JOIN events AS e ON e.client_id = ?1 AND e.seq = chain.seq
                WHERE e.previous_seq > 0
            )
            SELECT ",
            event_columns!(),
            " FROM chain CROSS JOIN events AS e ON e.client_id = ?1 AND e.seq = chain.seq ORDER BY e.seq"
        );
        let rows = sqlx::query(sql).bind(client.as_uuid()).bind(id.as_uuid()).fetch_all(self.readers()).await;
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
                (filter.from_seq..before).contains(&event.seq)
                    && kind.is_some_and(|kind| filter.kinds.is_empty() || filter.kinds.contains(&kind))
            };
            let history = self.history(client, message).await?.into_iter().rev();
            return Ok(history.filter(is_wanted).take(usize::try_from(limit).unwrap_or(0)).collect());
        }
        let sql = concat!(
            "-- list transactions\nSELECT ",
            event_columns!(),
            " FROM events AS e WHERE e.client_id = ?1 AND e.seq >= ?2 AND e.seq < ?3
              AND e.transaction_kind IS NOT NULL
              AND (?4 = '[]' OR e.transaction_kind IN (SELECT value FROM json_each(?4)))
              ORDER BY e.seq DESC LIMIT ?5"
        );
        let kinds = batch(filter.kinds.iter().map(|kind| json!(kind.as_str())));
        let rows = sqlx::query(sql)
            .bind(client.as_uuid())
            .bind(filter.from_seq)
            .bind(before)
            .bind(kinds)
            .bind(limit)
            .fetch_all(self.readers())
            .await;
        rows.and_then(|rows| rows.iter().map(rows::event).collect()).map_err(store_error)
    }

    async fn totals(&self, client: ClientId, from: i64, before: i64) -> Result<Vec<Total>, StoreError> {
        let sql = "-- totals
            SELECT transaction_kind, COUNT(*) AS count, SUM(available_delta) AS available, SUM(held_delta) AS held
            FROM events WHERE client_id = ?1 AND seq >= ?2 AND seq < ?3 AND transaction_kind IS NOT NULL
            GROUP BY transaction_kind";
        let rows =
            sqlx::query(sql).bind(client.as_uuid()).bind(from).bind(before).fetch_all(self.readers()).await;
        let totals = rows.and_then(|rows| rows.iter().map(total).collect::<Result<Vec<_>, _>>());
        let mut totals = totals.map_err(store_error)?;
        totals.sort_by_key(|total| total.kind);
        Ok(totals)
    }

    async fn last_seqs(&self, clients: &[ClientId]) -> Result<Vec<(ClientId, i64)>, StoreError> {
        let sql = "-- last seqs
            SELECT h.client_id, h.last_seq
            FROM json_each(?1) AS k JOIN client_heads AS h ON h.client_id = unhex(k.value)";
        let ids = batch(clients.iter().map(|id| json!(hex(id.as_uuid()))));
        let rows = sqlx::query(sql).bind(ids).fetch_all(self.readers()).await;
        let read = |row: &SqliteRow| Ok((rows::client_id(row, "client_id")?, row.try_get("last_seq")?));
        rows.and_then(|rows| rows.iter().map(read).collect()).map_err(store_error)
    }

    async fn remembered(&self, key: &IdempotencyKey) -> Result<Option<RememberedCall>, StoreError> {
        let sql = "-- read key
            SELECT client_id, kind, key, fingerprint, message_id, event_seq, created_at
            FROM idempotency_keys WHERE client_id = ?1 AND kind = ?2 AND key = ?3 AND created_at > ?4";
        let living_since = self.read_now().await? - KEY_LIFETIME;
        let row = sqlx::query(sql)
            .bind(key.client.as_uuid())
            .bind(key.kind.as_str())
            .bind(&key.key)
            .bind(living_since.as_micros())
            .fetch_optional(self.readers())
            .await;
        row.and_then(|row| row.as_ref().map(rows::remembered).transpose()).map_err(store_error)
    }

    async fn log_epoch(&self) -> Result<u64, StoreError> {
        let epoch: i64 = sqlx::query_scalar("-- log epoch\nSELECT log_epoch FROM installation WHERE one = 1")
            .fetch_one(self.readers())
            .await
            .map_err(store_error)?;
        Ok(epoch.unsigned_abs())
    }
}

impl SqliteStore {
    async fn read_messages(
        &self,
        client: ClientId,
        filter: &MessageFilter,
        before: Option<MessageId>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<Message, MessageId>, sqlx::Error> {
        let (from, end) = range(filter, before);
        let sql = "-- messages: end of the window
            SELECT id FROM messages WHERE client_id = ?1 AND id >= ?2 AND id < ?3 ORDER BY id DESC LIMIT 1 OFFSET ?4 - 1";
        let last = sqlx::query(sql)
            .bind(client.as_uuid())
            .bind(from)
            .bind(end)
            .bind(scan)
            .fetch_optional(self.readers())
            .await?;
        let last = last.map(|row| rows::message_id(&row, "id")).transpose()?;
        let sql = concat!(
            "-- list messages\nSELECT ",
            record_columns!(),
            ", ",
            state_columns!(),
            " FROM messages AS r
              JOIN message_states AS m ON m.client_id = r.client_id AND m.id = r.id
              JOIN credit_locks AS l ON l.client_id = r.client_id AND l.message_id = r.id
              WHERE r.client_id = ?1 AND r.id >= ?2 AND r.id < ?3
              AND r.created_at >= ?4 AND r.created_at < ?5
              AND (?6 = '[]' OR m.status IN (SELECT value FROM json_each(?6)))
              AND (?7 IS NULL OR r.recipient = ?7)
              AND (?8 = '' OR r.sender = ?8) AND (?9 = '' OR r.reference = ?9)
              ORDER BY r.id DESC LIMIT ?10"
        );
        let rows = sqlx::query(sql)
            .bind(client.as_uuid())
            .bind(last.map_or(from, |id| *id.as_uuid()))
            .bind(end)
            .bind(opt_micros(filter.created_from).unwrap_or(i64::MIN))
            .bind(opt_micros(filter.created_before).unwrap_or(i64::MAX))
            .bind(batch(filter.statuses.iter().map(|status| json!(status.as_str()))))
            .bind(filter.to.as_ref().map(PhoneNumber::as_str))
            .bind(&filter.sender)
            .bind(&filter.reference)
            .bind(limit)
            .fetch_all(self.readers())
            .await?;
        let items = rows.iter().map(rows::message).collect::<Result<_, _>>()?;
        Ok(rows::scanned(items, limit, last))
    }

    /// The page and the ends of the log as of one snapshot.
    async fn read_events(&self, client: ClientId, after: i64, limit: i64) -> Result<EventPage, sqlx::Error> {
        let mut snapshot = self.readers().begin().await?;
        let ends = sqlx::query(
            "-- ends of the log\nSELECT last_seq, oldest_seq FROM client_heads WHERE client_id = ?1",
        )
        .bind(client.as_uuid())
        .fetch_optional(&mut *snapshot)
        .await?;
        let (last_seq, oldest_seq) = match ends {
            Some(row) => (row.try_get("last_seq")?, row.try_get("oldest_seq")?),
            None => (0, 1),
        };
        let mut events = Vec::new();
        if limit > 0 && after < last_seq {
            let sql = concat!(
                "-- read events\nSELECT ",
                event_columns!(),
                " FROM events AS e WHERE e.client_id = ?1 AND e.seq > ?2 ORDER BY e.seq LIMIT ?3"
            );
            let rows = sqlx::query(sql)
                .bind(client.as_uuid())
                .bind(after)
                .bind(limit)
                .fetch_all(&mut *snapshot)
                .await?;
            events = rows.iter().map(rows::event).collect::<Result<_, _>>()?;
        }
        snapshot.rollback().await?;
        Ok(EventPage { events, last_seq, oldest_seq })
    }
}

/// From the first id (included) to the last (not included) that a list may show.
fn range(filter: &MessageFilter, before: Option<MessageId>) -> (Uuid, Uuid) {
    let from = filter.created_from.map_or(Uuid::nil(), first_id);
    let end = filter.created_before.map_or(Uuid::max(), end_id);
    (from, before.map_or(end, |before| end.min(*before.as_uuid())))
}

fn total(row: &SqliteRow) -> Result<Total, sqlx::Error> {
    Ok(Total {
        kind: rows::word(row, "transaction_kind")?,
        count: row.try_get("count")?,
        available_delta: row.try_get("available")?,
        held_delta: row.try_get("held")?,
    })
}
