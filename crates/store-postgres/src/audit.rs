//! What the reconciler reads, checkpoints, and the removal of what is no longer needed.

use async_trait::async_trait;
use delivery::model::{AuditEntry, Message};
use delivery::port::{AdminStore, AuditStore, Books, Checkpoint, PurgeLimits, Purged, StoreError};
use message::Timestamp;
use message::id::{AuditEntryId, ClientId, MessageId, end_id};
use sqlx::Row;
use sqlx::postgres::PgBindIterExt;
use uuid::Uuid;

use crate::PostgresStore;
use crate::clock::Time;
use crate::connection::Connection;
use crate::error::{commit_error, store_error};
use crate::rows::{self, record_columns, state_columns};
use crate::spans;

#[async_trait]
impl AuditStore for PostgresStore {
    async fn books(&self, client: ClientId, stale_before: Timestamp) -> Result<Option<Books>, StoreError> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let mut snapshot = self.writer().await?.begin(begin).await.map_err(store_error)?;
        let books = read_books(&mut snapshot, client.as_uuid(), stale_before).await.map_err(store_error)?;
        snapshot.commit().await.map_err(store_error)?;
        Ok(books)
    }

    async fn write_checkpoint(&self, client: ClientId, checkpoint: Checkpoint) -> Result<(), StoreError> {
        let sql = "-- write checkpoint
            UPDATE checkpoints SET seq = $2, available = $3, held = $4, written_at = COALESCE($5, now())
            WHERE client_id = $1 AND seq < $2";
        sqlx::query(sql)
            .bind(client.as_uuid())
            .bind(checkpoint.seq)
            .bind(checkpoint.available)
            .bind(checkpoint.held)
            .bind(self.shared.ticker.fixed())
            .execute(&mut self.writer().await?)
            .await
            .map(drop)
            .map_err(commit_error)
    }

    /// From here on nobody sees the events; their room is freed when all of a partition are trimmed.
    async fn trim_events(&self, client: ClientId, through: i64) -> Result<i64, StoreError> {
        let sql = "-- trim events
            UPDATE client_heads AS h SET oldest_seq = GREATEST(h.oldest_seq, 1 + LEAST($2, c.seq))
            FROM checkpoints AS c
            WHERE h.client_id = $1 AND c.client_id = h.client_id
            RETURNING h.oldest_seq";
        let oldest: Option<i64> = sqlx::query_scalar(sql)
            .bind(client.as_uuid())
            .bind(through)
            .fetch_optional(&mut self.writer().await?)
            .await
            .map_err(commit_error)?;
        Ok(oldest.unwrap_or(1))
    }

    async fn old_messages(
        &self,
        client: ClientId,
        created_before: Timestamp,
        after: Option<MessageId>,
        limit: i64,
    ) -> Result<Vec<Message>, StoreError> {
        let sql = concat!(
            "-- old messages
            WITH page AS MATERIALIZED (
                SELECT ",
            record_columns!(),
            "   FROM messages AS r
                WHERE r.client_id = $1 AND r.id > $2 AND r.id < $3 AND r.created_at < $4
                ORDER BY r.id LIMIT $5
            )
            SELECT ",
            record_columns!(),
            ", ",
            state_columns!(),
            " FROM page AS r
              JOIN message_states AS m ON m.client_id = r.client_id AND m.id = r.id AND m.id > $2 AND m.id < $3
              JOIN credit_locks AS l ON l.client_id = r.client_id AND l.message_id = r.id
                AND l.message_id > $2 AND l.message_id < $3
              ORDER BY r.id"
        );
        let rows = sqlx::query(sql)
            .bind(client.as_uuid())
            .bind(after.map_or(Uuid::nil(), |id| *id.as_uuid()))
            .bind(end_id(created_before))
            .bind(Time(created_before))
            .bind(limit)
            .fetch_all(self.reader())
            .await;
        rows.and_then(|rows| rows.iter().map(rows::message).collect()).map_err(store_error)
    }

    async fn remove_messages(&self, client: ClientId, ids: &[MessageId]) -> Result<u64, StoreError> {
        if ids.is_empty() {
            return Ok(0);
        }
        // Locked in the order of their keys, against reports that come late. A lock that is resolved stays so.
        let sql = "-- remove messages
            WITH done AS (
                SELECT m.client_id, m.id
                FROM unnest($1::uuid[], $2::uuid[]) AS k (client_id, id)
                JOIN message_states AS m ON m.client_id = k.client_id AND m.id = k.id
                JOIN credit_locks AS l ON l.client_id = m.client_id AND l.message_id = m.id
                WHERE m.status IN ('DELIVERED', 'FAILED_PERM', 'EXPIRED', 'CANCELED') AND l.state <> 'HELD'
                  AND m.id BETWEEN $3 AND $4 AND l.message_id BETWEEN $3 AND $4
                ORDER BY m.client_id, m.id
                FOR UPDATE OF m
            ),
            states AS (
                DELETE FROM message_states AS m USING done AS k
                WHERE m.client_id = k.client_id AND m.id = k.id AND m.id BETWEEN $3 AND $4
            ),
            locks AS (
                DELETE FROM credit_locks AS l USING done AS k
                WHERE l.client_id = k.client_id AND l.message_id = k.id AND l.message_id BETWEEN $3 AND $4
            ),
            letters AS (
                DELETE FROM dead_letters AS d USING done AS k WHERE d.client_id = k.client_id AND d.message_id = k.id
            )
            DELETE FROM messages AS r USING done AS k
            WHERE r.client_id = k.client_id AND r.id = k.id AND r.id BETWEEN $3 AND $4";
        let (least, greatest) = spans::bounds(ids.iter().map(MessageId::as_uuid));
        let done = sqlx::query(sql)
            .bind(ids.iter().map(|_| client.as_uuid()).bind_iter())
            .bind(ids.iter().map(MessageId::as_uuid).bind_iter())
            .bind(least)
            .bind(greatest)
            .execute(&mut self.writer().await?)
            .await;
        done.map(|done| done.rows_affected()).map_err(commit_error)
    }

    async fn old_audit_entries(&self, before: Timestamp, limit: i64) -> Result<Vec<AuditEntry>, StoreError> {
        self.read_old_entries(before, limit).await
    }

    async fn remove_audit_entries(&self, ids: &[AuditEntryId]) -> Result<u64, StoreError> {
        self.delete_entries(ids).await
    }

    async fn purge(&self, limits: &PurgeLimits, limit: i64) -> Result<Purged, StoreError> {
        let now = AdminStore::now(self).await?;
        self.make_room(now).await.map_err(store_error)?;
        let purged = purge(&mut self.writer().await?, limits, limit).await.map_err(commit_error)?;
        self.drop_old_partitions(now).await.map_err(store_error)?;
        Ok(purged)
    }
}

async fn read_books(
    snapshot: &mut Connection,
    client: &Uuid,
    stale_before: Timestamp,
) -> Result<Option<Books>, sqlx::Error> {
    let sql = "-- books: head and checkpoint
        SELECT h.available, h.held, h.last_seq, c.seq, c.available AS c_available, c.held AS c_held,
            CASE WHEN c.seq >= h.span_seq - 1 THEN h.span_at ELSE '-infinity' END AS log_from
        FROM client_heads AS h JOIN checkpoints AS c ON c.client_id = h.client_id WHERE h.client_id = $1";
    let Some(row) = sqlx::query(sql).bind(client).fetch_optional(&mut *snapshot).await? else {
        return Ok(None);
    };
    let checkpoint = Checkpoint {
        seq: row.try_get("seq")?,
        available: row.try_get("c_available")?,
        held: row.try_get("c_held")?,
    };
    let from: Time = row.try_get("log_from")?;
    let mut books = Books {
        checkpoint,
        available: row.try_get("available")?,
        held: row.try_get("held")?,
        last_seq: row.try_get("last_seq")?,
        ..Books::default()
    };
    // Sums of BIGINT are NUMERIC. What is joined is read first, whole: joined by the client's constant id, a young
    // plan would look for each row among all of the client's.
    let sql = "-- books: events
        SELECT COUNT(*) AS count, COALESCE(MIN(seq), 0) AS first, COALESCE(MAX(seq), 0) AS last,
            COALESCE(SUM(available_delta), 0)::bigint AS available, COALESCE(SUM(held_delta), 0)::bigint AS held,
            COUNT(*) FILTER (WHERE available_after <> available_sum OR held_after <> held_sum) AS broken
        FROM (SELECT seq, available_delta, held_delta, available_after, held_after,
                $3 + SUM(available_delta) OVER (ORDER BY seq) AS available_sum,
                $4 + SUM(held_delta) OVER (ORDER BY seq) AS held_sum
            FROM events WHERE client_id = $1 AND seq > $2 AND at >= $5) AS e";
    let row = sqlx::query(sql)
        .bind(client)
        .bind(checkpoint.seq)
        .bind(checkpoint.available)
        .bind(checkpoint.held)
        .bind(from)
        .fetch_one(&mut *snapshot)
        .await?;
    books.event_count = row.try_get("count")?;
    books.first_event_seq = row.try_get("first")?;
    books.last_event_seq = row.try_get("last")?;
    books.available_delta = row.try_get("available")?;
    books.held_delta = row.try_get("held")?;
    books.broken_running_balances = row.try_get("broken")?;

    let sql = "-- books: held locks
        WITH held AS MATERIALIZED (
            SELECT client_id, message_id, amount_micros FROM credit_locks WHERE client_id = $1 AND state = 'HELD'
        )
        SELECT COUNT(*) AS count, COALESCE(SUM(l.amount_micros), 0)::bigint AS sum,
            COUNT(*) FILTER (WHERE m.status IN ('DELIVERED', 'FAILED_PERM', 'EXPIRED', 'CANCELED')) AS final,
            COUNT(*) FILTER (WHERE t.wake_at IS NULL OR t.wake_at < $2) AS overdue
        FROM held AS l
        LEFT JOIN message_states AS m ON m.client_id = l.client_id AND m.id = l.message_id
        LEFT JOIN timers AS t ON t.wake_at = m.timer_at AND t.client_id = m.client_id AND t.message_id = m.id";
    let row = sqlx::query(sql).bind(client).bind(Time(stale_before)).fetch_one(&mut *snapshot).await?;
    books.held_locks = row.try_get("count")?;
    books.held_lock_sum = row.try_get("sum")?;
    books.final_but_held = row.try_get("final")?;
    books.overdue = row.try_get("overdue")?;

    let sql = "-- books: holds without a lock
        WITH holds AS MATERIALIZED (
            SELECT client_id, message_id, held_delta FROM events
            WHERE client_id = $1 AND seq > $2 AND at >= $3 AND transaction_kind = 'HOLD'
        )
        SELECT COUNT(*) FROM holds AS e
        LEFT JOIN credit_locks AS l
          ON l.client_id = e.client_id AND l.message_id = e.message_id AND l.amount_micros = e.held_delta
        WHERE l.message_id IS NULL";
    books.holds_without_lock = sqlx::query_scalar(sql)
        .bind(client)
        .bind(checkpoint.seq)
        .bind(from)
        .fetch_one(&mut *snapshot)
        .await?;
    let sql = "-- books: double resolutions
        SELECT COUNT(*) FROM (
            SELECT message_id FROM events
            WHERE client_id = $1 AND seq > $2 AND at >= $3 AND transaction_kind IN ('CAPTURE', 'RELEASE')
            GROUP BY message_id HAVING COUNT(*) > 1) AS m";
    books.double_resolutions = sqlx::query_scalar(sql)
        .bind(client)
        .bind(checkpoint.seq)
        .bind(from)
        .fetch_one(&mut *snapshot)
        .await?;
    Ok(Some(books))
}

/// Each kind commits by itself. Rows that another transaction holds are left to the next purge.
async fn purge(connection: &mut Connection, limits: &PurgeLimits, limit: i64) -> Result<Purged, sqlx::Error> {
    // Ids follow the order of arrival: the oldest are the first.
    let sql = "-- purge reports
        WITH old AS (
            SELECT p.id FROM provider_reports AS p WHERE p.id = ANY (ARRAY(
                SELECT f.id FROM (SELECT id, stored_at FROM provider_reports ORDER BY id LIMIT $2) AS f
                WHERE f.stored_at < $1
            ))
            FOR UPDATE SKIP LOCKED
        ),
        gone AS (
            DELETE FROM provider_reports AS p USING old WHERE p.id = old.id RETURNING p.id
        ),
        unmatched AS (
            DELETE FROM pending_reports AS q USING gone WHERE q.id = gone.id RETURNING q.id
        )
        SELECT (SELECT COUNT(*) FROM gone) AS reports, (SELECT COUNT(*) FROM unmatched) AS unmatched";
    let reports =
        sqlx::query(sql).bind(Time(limits.reports_before)).bind(limit).fetch_one(&mut *connection).await?;
    let sql = "-- purge references
        WITH old AS (
            SELECT provider, reference FROM provider_refs WHERE created_at < $1
            ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        DELETE FROM provider_refs AS f USING old WHERE f.provider = old.provider AND f.reference = old.reference";
    let refs = sqlx::query(sql).bind(Time(limits.refs_before)).bind(limit).execute(&mut *connection).await?;
    Ok(Purged {
        reports: reports.try_get::<i64, _>("reports")?.unsigned_abs(),
        unmatched_reports: reports.try_get::<i64, _>("unmatched")?.unsigned_abs(),
        refs: refs.rows_affected(),
    })
}
