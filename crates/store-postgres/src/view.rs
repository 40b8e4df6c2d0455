//! What clients may read. Every query names the client.

use async_trait::async_trait;
use delivery::model::{Client, Head, IdempotencyKey, Message, RememberedCall};
use delivery::planted;
use delivery::port::{
    EventPage, MessageFilter, PageAsked, Scanned, StoreError, Total, TransactionFilter, ViewStore,
};
use delivery::timing::KEY_LIFETIME;
use message::PhoneNumber;
use message::event::Event;
use message::id::{ClientId, MessageId, end_id, first_id};
use message::time::micros;
use sqlx::postgres::{PgBindIterExt, PgRow};
use sqlx::{Row, SqlStr};
use uuid::Uuid;

use crate::PostgresStore;
use crate::clock::Time;
use crate::error::store_error;
use crate::rows::{self, Columns, changed, client_columns, event_columns, record_columns, state_columns};
use crate::spans;

/// Where a page of messages is looked for: those of client $1, below id $2 and not below $3.
macro_rules! message_window {
    () => {
        " FROM messages AS r WHERE r.client_id = $1 AND r.id < $2 AND r.id >= $3 ORDER BY r.id DESC "
    };
}

/// The time from which client $1's events are that begin with $2, if they are of the newest span; else of no use.
macro_rules! log_from {
    () => {
        "(SELECT CASE WHEN $2 >= h.span_seq THEN h.span_at ELSE '-infinity' END FROM client_heads AS h
          WHERE h.client_id = $1)"
    };
}

/// The oldest `seq` that client $1's log is kept from. What is older waits for its partition to go.
macro_rules! log_oldest {
    () => {
        "(SELECT h.oldest_seq FROM client_heads AS h WHERE h.client_id = $1)"
    };
}

#[async_trait]
impl ViewStore for PostgresStore {
    async fn client(&self, id: ClientId) -> Result<Option<(Client, Head)>, StoreError> {
        let sql = concat!(
            "-- read client\nSELECT ",
            client_columns!(),
            " FROM clients AS c JOIN client_heads AS h ON h.client_id = c.id WHERE c.id = $1"
        );
        let row = sqlx::query(sql).bind(id.as_uuid()).fetch_optional(self.reader()).await;
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
        let sql = match () {
            () if planted!(MissingClientPredicate) => changed(sql, "r.client_id = $1", "$1 IS NOT NULL"),
            () => SqlStr::from_static(sql),
        };
        let row =
            sqlx::query(sql).bind(client.as_uuid()).bind(id.as_uuid()).fetch_optional(self.reader()).await;
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
        // No event of a message is older than the message.
        let sql = concat!(
            "-- history
            WITH RECURSIVE chain (client_id, seq) AS (
                SELECT client_id, last_event_seq FROM message_states WHERE client_id = $1 AND id = $2
                UNION ALL
                SELECT e.client_id, e.previous_seq
                FROM chain AS c JOIN events AS e ON e.client_id = c.client_id AND e.seq = c.seq AND e.at >= $3
                WHERE e.previous_seq > 0
            )
            SELECT ",
            event_columns!(),
            " FROM chain AS c JOIN events AS e ON e.client_id = c.client_id AND e.seq = c.seq AND e.at >= $3
              WHERE e.seq >= ",
            log_oldest!(),
            " ORDER BY e.seq"
        );
        let rows = sqlx::query(sql)
            .bind(client.as_uuid())
            .bind(id.as_uuid())
            .bind(Time(spans::time_of(id.as_uuid())))
            .fetch_all(self.reader())
            .await;
        rows.and_then(|rows| rows.iter().map(rows::event).collect()).map_err(store_error)
    }

    async fn events(&self, client: ClientId, after: i64, limit: i64) -> Result<EventPage, StoreError> {
        let mut pages = self.event_pages(&[PageAsked { client, after, limit }]).await?;
        Ok(pages.swap_remove(0))
    }

    async fn event_pages(&self, asked: &[PageAsked]) -> Result<Vec<EventPage>, StoreError> {
        self.read_events(asked).await.map_err(store_error)
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
            " FROM events AS e WHERE e.client_id = $1 AND e.seq >= $2 AND e.seq < $3 AND e.transaction_kind IS NOT NULL
              AND e.seq >= ",
            log_oldest!(),
            " AND e.at >= ",
            log_from!(),
            " AND (cardinality($4::text[]) = 0 OR e.transaction_kind = ANY($4))
              ORDER BY e.seq DESC LIMIT $5"
        );
        let rows = sqlx::query(sql)
            .bind(client.as_uuid())
            .bind(filter.from_seq)
            .bind(before)
            .bind(filter.kinds.iter().map(|kind| kind.as_str()).bind_iter())
            .bind(limit)
            .fetch_all(self.reader())
            .await;
        rows.and_then(|rows| rows.iter().map(rows::event).collect()).map_err(store_error)
    }

    async fn totals(&self, client: ClientId, from: i64, before: i64) -> Result<Vec<Total>, StoreError> {
        // Sums of BIGINT are NUMERIC.
        let sql = concat!(
            "-- totals
            SELECT transaction_kind, COUNT(*) AS count, SUM(available_delta)::bigint AS available,
                SUM(held_delta)::bigint AS held
            FROM events WHERE client_id = $1 AND seq >= $2 AND seq < $3 AND transaction_kind IS NOT NULL
              AND seq >= ",
            log_oldest!(),
            " AND at >= ",
            log_from!(),
            " GROUP BY transaction_kind LIMIT 100"
        );
        let rows =
            sqlx::query(sql).bind(client.as_uuid()).bind(from).bind(before).fetch_all(self.reader()).await;
        let mut totals: Vec<Total> =
            rows.and_then(|rows| rows.iter().map(total).collect()).map_err(store_error)?;
        totals.sort_by_key(|total| total.kind);
        Ok(totals)
    }

    async fn last_seqs(&self, clients: &[ClientId]) -> Result<Vec<(ClientId, i64)>, StoreError> {
        let sql = "-- last seqs
            SELECT h.client_id, h.last_seq FROM client_heads AS h WHERE h.client_id = ANY($1::uuid[])";
        let ids = clients.iter().map(|id| id.as_uuid()).bind_iter();
        let rows = sqlx::query(sql).bind(ids).fetch_all(self.reader()).await;
        let read = |row: &PgRow| Ok((rows::client_id(row, "client_id")?, row.try_get("last_seq")?));
        rows.and_then(|rows| rows.iter().map(read).collect()).map_err(store_error)
    }

    async fn remembered(&self, key: &IdempotencyKey) -> Result<Option<RememberedCall>, StoreError> {
        let sql = "-- read key
            SELECT client_id, kind, key, fingerprint, message_id, event_seq, created_at
            FROM idempotency_keys
            WHERE client_id = $1 AND kind = $2 AND key = $3
              AND created_at > COALESCE($4, now()) - $5 * interval '1 microsecond'
              AND created_at < COALESCE($4, now()) + $5 * interval '1 microsecond'
            ORDER BY created_at DESC LIMIT 1";
        let row = sqlx::query(sql)
            .bind(key.client.as_uuid())
            .bind(key.kind.as_str())
            .bind(&key.key)
            .bind(self.shared.ticker.fixed())
            .bind(micros(KEY_LIFETIME))
            .fetch_optional(self.reader())
            .await;
        row.and_then(|row| row.as_ref().map(rows::remembered).transpose()).map_err(store_error)
    }

    async fn log_epoch(&self) -> Result<u64, StoreError> {
        let epoch: i64 = sqlx::query_scalar("-- log epoch\nSELECT log_epoch FROM installation WHERE one = 1")
            .fetch_one(self.reader())
            .await
            .map_err(store_error)?;
        Ok(epoch.unsigned_abs())
    }
}

impl PostgresStore {
    async fn read_messages(
        &self,
        client: ClientId,
        filter: &MessageFilter,
        before: Option<MessageId>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<Message, MessageId>, sqlx::Error> {
        // A status is looked up only for what the rest of the filter shows, and only if it matters.
        let sql = concat!(
            "-- list messages
            WITH page AS MATERIALIZED (
                SELECT ",
            record_columns!(),
            "   FROM (SELECT ",
            record_columns!(),
            message_window!(),
            "   LIMIT $10) AS r
                WHERE ($4::text IS NULL OR r.recipient = $4) AND ($5 = '' OR r.sender = $5)
                  AND ($6 = '' OR r.reference = $6) AND ($7::timestamptz IS NULL OR r.created_at >= $7)
                  AND ($8::timestamptz IS NULL OR r.created_at < $8)
                  AND (cardinality($9::text[]) = 0 OR (SELECT m.status FROM message_states AS m
                      WHERE m.client_id = r.client_id AND m.id = r.id) = ANY($9))
                ORDER BY r.id DESC LIMIT $11
            )
            SELECT s.id AS scanned_to, ",
            record_columns!(),
            ", ",
            state_columns!(),
            " FROM (SELECT (COUNT(*) < $11)::int AS is_short FROM page) AS p
              LEFT JOIN LATERAL (SELECT r.id",
            message_window!(),
            "   OFFSET $10 - 1 LIMIT p.is_short) AS s ON true
              LEFT JOIN (page AS r
                  JOIN message_states AS m ON m.client_id = r.client_id AND m.id = r.id
                    AND m.id < $2 AND m.id >= $3
                  JOIN credit_locks AS l ON l.client_id = r.client_id AND l.message_id = r.id
                    AND l.message_id < $2 AND l.message_id >= $3) ON true
              ORDER BY r.id DESC"
        );
        let before = before.map_or(Uuid::max(), |id| *id.as_uuid());
        let rows = sqlx::query(sql)
            .bind(client.as_uuid())
            .bind(filter.created_before.map_or(before, |end| before.min(end_id(end))))
            .bind(filter.created_from.map_or(Uuid::nil(), first_id))
            .bind(filter.to.as_ref().map(PhoneNumber::as_str))
            .bind(&filter.sender)
            .bind(&filter.reference)
            .bind(filter.created_from.map(Time))
            .bind(filter.created_before.map(Time))
            .bind(filter.statuses.iter().map(|status| status.as_str()).bind_iter())
            .bind(scan.max(1))
            .bind(limit)
            .fetch_all(self.reader())
            .await?;
        rows::scanned(&rows, |row| rows::opt_message_id(row, "scanned_to"), rows::message)
    }

    /// The pages and the ends of the logs as of one snapshot: that of the one statement.
    async fn read_events(&self, asked: &[PageAsked]) -> Result<Vec<EventPage>, sqlx::Error> {
        let sql = concat!(
            "-- read events\nSELECT k.number, h.last_seq, h.oldest_seq, ",
            event_columns!(),
            " FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS k (client_id, after, size, number)
              CROSS JOIN LATERAL (
                  SELECT h.* FROM client_heads AS h WHERE h.client_id = k.client_id OFFSET 0
              ) AS h
              LEFT JOIN LATERAL (
                  SELECT ",
            event_columns!(),
            "     FROM events AS e
                  WHERE e.client_id = k.client_id AND e.seq > k.after AND e.seq >= h.oldest_seq
                    AND e.at >= CASE WHEN k.after >= -1 + h.span_seq THEN h.span_at ELSE '-infinity' END
                  ORDER BY e.seq LIMIT k.size
              ) AS e ON true
              ORDER BY k.number, e.seq"
        );
        let rows = Columns::of(sqlx::query(sql), asked)
            .column(|page| page.client.as_uuid())
            .column(|page| page.after)
            .column(|page| page.limit)
            .bound()
            .fetch_all(self.reader())
            .await?;
        let unknown = EventPage { events: Vec::new(), last_seq: 0, oldest_seq: 1 };
        let mut pages = vec![unknown; asked.len()];
        for row in &rows {
            let number: i64 = row.try_get("number")?;
            let place = usize::try_from(number).ok().and_then(|number| pages.get_mut(number.wrapping_sub(1)));
            let page = place.ok_or_else(|| sqlx::Error::Decode("a page that was not asked for".into()))?;
            (page.last_seq, page.oldest_seq) = (row.try_get("last_seq")?, row.try_get("oldest_seq")?);
            // An empty page is one row of the ends alone.
            if row.try_get::<Option<i64>, _>("seq")?.is_some() {
                page.events.push(rows::event(row)?);
            }
        }
        Ok(pages)
    }
}

fn total(row: &PgRow) -> Result<Total, sqlx::Error> {
    Ok(Total {
        kind: rows::word(row, "transaction_kind")?,
        count: row.try_get("count")?,
        available_delta: row.try_get("available")?,
        held_delta: row.try_get("held")?,
    })
}
