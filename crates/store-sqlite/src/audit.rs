//! What the reconciler reads, checkpoints, and the removal of what is no longer needed.

use async_trait::async_trait;
use delivery::model::{AuditEntry, Message};
use delivery::port::{AuditStore, Books, Checkpoint, PurgeLimits, Purged, StoreError};
use delivery::timing::KEY_LIFETIME;
use message::Timestamp;
use message::id::{AuditEntryId, ClientId, MessageId, end_id};
use serde_json::json;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use crate::SqliteStore;
use crate::error::store_error;
use crate::rows::{self, batch, hex, record_columns, state_columns};

#[async_trait]
impl AuditStore for SqliteStore {
    async fn books(&self, client: ClientId, stale_before: Timestamp) -> Result<Option<Books>, StoreError> {
        let mut snapshot = self.readers().begin().await.map_err(store_error)?;
        let books = read_books(&mut snapshot, client.as_uuid(), stale_before).await.map_err(store_error)?;
        snapshot.rollback().await.map_err(store_error)?;
        Ok(books)
    }

    async fn write_checkpoint(&self, client: ClientId, checkpoint: Checkpoint) -> Result<(), StoreError> {
        let mut write = self.begin_write().await?;
        let now = self.shared.ticker.now(write.connection()).await.map_err(store_error)?;
        let sql = "-- write checkpoint
            UPDATE checkpoints SET seq = ?2, available = ?3, held = ?4, written_at = ?5
            WHERE client_id = ?1 AND seq < ?2";
        sqlx::query(sql)
            .bind(client.as_uuid())
            .bind(checkpoint.seq)
            .bind(checkpoint.available)
            .bind(checkpoint.held)
            .bind(now.as_micros())
            .execute(write.connection())
            .await
            .map_err(store_error)?;
        write.commit().await
    }

    async fn trim_events(&self, client: ClientId, through: i64) -> Result<i64, StoreError> {
        let mut write = self.begin_write().await?;
        let sql = "-- move oldest seq
            UPDATE client_heads SET oldest_seq =
                max(oldest_seq, 1 + min(?2, (SELECT seq FROM checkpoints WHERE client_id = ?1)))
            WHERE client_id = ?1 RETURNING oldest_seq";
        let oldest: Option<i64> = sqlx::query_scalar(sql)
            .bind(client.as_uuid())
            .bind(through)
            .fetch_optional(write.connection())
            .await
            .map_err(store_error)?;
        let oldest = oldest.unwrap_or(1);
        sqlx::query("-- trim events\nDELETE FROM events WHERE client_id = ?1 AND seq < ?2")
            .bind(client.as_uuid())
            .bind(oldest)
            .execute(write.connection())
            .await
            .map_err(store_error)?;
        write.commit().await?;
        Ok(oldest)
    }

    async fn old_messages(
        &self,
        client: ClientId,
        created_before: Timestamp,
        after: Option<MessageId>,
        limit: i64,
    ) -> Result<Vec<Message>, StoreError> {
        let sql = concat!(
            "-- old messages\nSELECT ",
            record_columns!(),
            ", ",
            state_columns!(),
            " FROM messages AS r
              JOIN message_states AS m ON m.client_id = r.client_id AND m.id = r.id
              JOIN credit_locks AS l ON l.client_id = r.client_id AND l.message_id = r.id
              WHERE r.client_id = ?1 AND r.id > ?2 AND r.id < ?3 AND r.created_at < ?4 ORDER BY r.id LIMIT ?5"
        );
        let rows = sqlx::query(sql)
            .bind(client.as_uuid())
            .bind(after.map_or(Uuid::nil(), |id| *id.as_uuid()))
            .bind(end_id(created_before))
            .bind(created_before.as_micros())
            .bind(limit)
            .fetch_all(self.readers())
            .await;
        rows.and_then(|rows| rows.iter().map(rows::message).collect()).map_err(store_error)
    }

    async fn remove_messages(&self, client: ClientId, ids: &[MessageId]) -> Result<u64, StoreError> {
        let mut write = self.begin_write().await?;
        let removed = remove(write.connection(), client.as_uuid(), ids).await.map_err(store_error)?;
        if removed > 0 {
            write.commit().await?;
        }
        Ok(removed)
    }

    async fn old_audit_entries(&self, before: Timestamp, limit: i64) -> Result<Vec<AuditEntry>, StoreError> {
        self.read_old_entries(before, limit).await
    }

    async fn remove_audit_entries(&self, ids: &[AuditEntryId]) -> Result<u64, StoreError> {
        self.delete_entries(ids).await
    }

    async fn purge(&self, limits: &PurgeLimits, limit: i64) -> Result<Purged, StoreError> {
        let mut write = self.begin_write().await?;
        let now = self.shared.ticker.now(write.connection()).await.map_err(store_error)?;
        let keys_before = now - KEY_LIFETIME;
        let purged = purge(write.connection(), keys_before, limits, limit).await.map_err(store_error)?;
        write.commit().await?;
        Ok(purged)
    }
}

async fn read_books(
    snapshot: &mut SqliteConnection,
    client: &Uuid,
    stale_before: Timestamp,
) -> Result<Option<Books>, sqlx::Error> {
    let sql = "-- books: head and checkpoint
        SELECT h.available, h.held, h.last_seq, c.seq, c.available AS c_available, c.held AS c_held
        FROM client_heads AS h JOIN checkpoints AS c ON c.client_id = h.client_id WHERE h.client_id = ?1";
    let Some(row) = sqlx::query(sql).bind(client).fetch_optional(&mut *snapshot).await? else {
        return Ok(None);
    };
    let checkpoint = Checkpoint {
        seq: row.try_get("seq")?,
        available: row.try_get("c_available")?,
        held: row.try_get("c_held")?,
    };
    let mut books = Books {
        checkpoint,
        available: row.try_get("available")?,
        held: row.try_get("held")?,
        last_seq: row.try_get("last_seq")?,
        ..Books::default()
    };
    let sql = "-- books: events
        SELECT COUNT(*) AS count, COALESCE(MIN(seq), 0) AS first, COALESCE(MAX(seq), 0) AS last,
            COALESCE(SUM(available_delta), 0) AS available, COALESCE(SUM(held_delta), 0) AS held,
            COUNT(*) FILTER (WHERE available_after <> available_sum OR held_after <> held_sum) AS broken
        FROM (SELECT seq, available_delta, held_delta, available_after, held_after,
                ?3 + SUM(available_delta) OVER (ORDER BY seq) AS available_sum,
                ?4 + SUM(held_delta) OVER (ORDER BY seq) AS held_sum
            FROM events WHERE client_id = ?1 AND seq > ?2)";
    let row = sqlx::query(sql)
        .bind(client)
        .bind(checkpoint.seq)
        .bind(checkpoint.available)
        .bind(checkpoint.held)
        .fetch_one(&mut *snapshot)
        .await?;
    books.event_count = row.try_get("count")?;
    books.first_event_seq = row.try_get("first")?;
    books.last_event_seq = row.try_get("last")?;
    books.available_delta = row.try_get("available")?;
    books.held_delta = row.try_get("held")?;
    books.broken_running_balances = row.try_get("broken")?;

    let sql = "-- books: held locks
        SELECT COUNT(*) AS count, COALESCE(SUM(l.amount_micros), 0) AS sum,
            COUNT(*) FILTER (WHERE m.status IN ('DELIVERED', 'FAILED_PERM', 'EXPIRED', 'CANCELED')) AS final,
            COUNT(*) FILTER (WHERE t.wake_at IS NULL OR t.wake_at < ?2) AS overdue
        FROM credit_locks AS l
        LEFT JOIN message_states AS m ON m.client_id = l.client_id AND m.id = l.message_id
        LEFT JOIN timers AS t ON t.wake_at = m.timer_at AND t.client_id = m.client_id AND t.message_id = m.id
        WHERE l.client_id = ?1 AND l.state = 'HELD'";
    let row = sqlx::query(sql).bind(client).bind(stale_before.as_micros()).fetch_one(&mut *snapshot).await?;
    books.held_locks = row.try_get("count")?;
    books.held_lock_sum = row.try_get("sum")?;
    books.final_but_held = row.try_get("final")?;
    books.overdue = row.try_get("overdue")?;

    let sql = "-- books: holds without a lock
        SELECT COUNT(*) FROM events AS e
        LEFT JOIN credit_locks AS l
          ON l.client_id = e.client_id AND l.message_id = e.message_id AND l.amount_micros = e.held_delta
        WHERE e.client_id = ?1 AND e.seq > ?2 AND e.transaction_kind = 'HOLD' AND l.message_id IS NULL";
    books.holds_without_lock =
        sqlx::query_scalar(sql).bind(client).bind(checkpoint.seq).fetch_one(&mut *snapshot).await?;
    let sql = "-- books: double resolutions
        SELECT COUNT(*) FROM (
            SELECT message_id FROM events
            WHERE client_id = ?1 AND seq > ?2 AND transaction_kind IN ('CAPTURE', 'RELEASE')
            GROUP BY message_id HAVING COUNT(*) > 1)";
    books.double_resolutions =
        sqlx::query_scalar(sql).bind(client).bind(checkpoint.seq).fetch_one(&mut *snapshot).await?;
    Ok(Some(books))
}

/// Removes the messages whose life is over. Answers how many.
async fn remove(
    connection: &mut SqliteConnection,
    client: &Uuid,
    ids: &[MessageId],
) -> Result<u64, sqlx::Error> {
    let sql = "-- removable messages
        SELECT json_group_array(lower(hex(m.id)))
        FROM message_states AS m JOIN credit_locks AS l ON l.client_id = m.client_id AND l.message_id = m.id
        WHERE m.client_id = ?1 AND m.id IN (SELECT unhex(value) FROM json_each(?2))
          AND m.status IN ('DELIVERED', 'FAILED_PERM', 'EXPIRED', 'CANCELED') AND l.state <> 'HELD'";
    let ids = batch(ids.iter().map(|id| json!(hex(id.as_uuid()))));
    let over: String = sqlx::query_scalar(sql).bind(client).bind(ids).fetch_one(&mut *connection).await?;
    let mut removed = 0;
    for sql in [
        "-- remove dead letters
        DELETE FROM dead_letters
        WHERE client_id = ?1 AND message_id IN (SELECT unhex(value) FROM json_each(?2))",
        "-- remove locks
        DELETE FROM credit_locks
        WHERE client_id = ?1 AND message_id IN (SELECT unhex(value) FROM json_each(?2))",
        "-- remove states
        DELETE FROM message_states WHERE client_id = ?1 AND id IN (SELECT unhex(value) FROM json_each(?2))",
        "-- remove messages
        DELETE FROM messages WHERE client_id = ?1 AND id IN (SELECT unhex(value) FROM json_each(?2))",
    ] {
        let done = sqlx::query(sql).bind(client).bind(&over).execute(&mut *connection).await?;
        removed = done.rows_affected();
    }
    Ok(removed)
}

async fn purge(
    connection: &mut SqliteConnection,
    keys_before: Timestamp,
    limits: &PurgeLimits,
    limit: i64,
) -> Result<Purged, sqlx::Error> {
    let sql = "-- purge keys
        DELETE FROM idempotency_keys WHERE (client_id, kind, key) IN
            (SELECT client_id, kind, key FROM idempotency_keys WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)";
    sqlx::query(sql).bind(keys_before.as_micros()).bind(limit).execute(&mut *connection).await?;
    let sql = "-- purge reports
        DELETE FROM provider_reports WHERE id IN
            (SELECT id FROM provider_reports WHERE stored_at < ?1 ORDER BY stored_at LIMIT ?2)
        RETURNING is_done";
    let reports: Vec<bool> = sqlx::query_scalar(sql)
        .bind(limits.reports_before.as_micros())
        .bind(limit)
        .fetch_all(&mut *connection)
        .await?;
    let sql = "-- purge references
        DELETE FROM provider_refs WHERE (provider, reference) IN
            (SELECT provider, reference FROM provider_refs WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)";
    let refs =
        sqlx::query(sql).bind(limits.refs_before.as_micros()).bind(limit).execute(&mut *connection).await?;
    Ok(Purged {
        reports: reports.len() as u64,
        unmatched_reports: reports.iter().filter(|is_done| !**is_done).count() as u64,
        refs: refs.rows_affected(),
    })
}
