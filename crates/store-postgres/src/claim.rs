//! Claims: the statement of intent to send.

use async_trait::async_trait;
use delivery::port::{
    Claim, Claimed, Due, PendingReport, Restock, StoreError, StoredReports, Timer, Transaction, WorkStore,
};
use message::report::ProviderReport;
use message::time::micros;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::PostgresStore;
use crate::error::{commit_error, store_error};
use crate::rows::{self, Columns, record_columns};
use crate::spans;

#[async_trait]
impl WorkStore for PostgresStore {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(self.begin_transaction().await?))
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, StoreError> {
        if claim.keys.is_empty() {
            return Ok(Vec::new());
        }
        // Rows are locked in the order of their keys, as the changes of a plan are, so neither can deadlock the other. A
        // row that another transaction holds is waited for: it may leave it as it was, and a message skipped then
        // would lie until its timer fires.
        let sql = concat!(
            "-- claim
            UPDATE message_states AS m
            SET status = 'SENDING', fence = m.fence + 1, attempt = m.attempt + 1, due_at = NULL,
                lease_until = k.now + $4 * interval '1 microsecond', provider = $5
            FROM (
                SELECT client_id, id, COALESCE($3, now()) AS now
                FROM unnest($1::uuid[], $2::uuid[]) AS k (client_id, id) ORDER BY 1, 2
            ) AS k CROSS JOIN LATERAL (
                SELECT r.* FROM messages AS r
                WHERE r.client_id = k.client_id AND r.id = k.id AND r.id BETWEEN $6 AND $7 AND r.expire_at > k.now
                OFFSET 0
            ) AS r
            WHERE m.client_id = ANY (ARRAY[k.client_id]) AND m.id = k.id
              AND m.status IN ('QUEUED', 'FAILED_TEMP') AND m.due_at <= k.now
            RETURNING ",
            record_columns!(),
            ", m.fence, m.attempt, k.now"
        );
        let query = Columns::of(sqlx::query(sql), &claim.keys).key(|key| key).bound();
        let (least, greatest) = spans::bounds(claim.keys.iter().map(|key| key.id.as_uuid()));
        let rows = query
            .bind(self.shared.ticker.fixed())
            .bind(micros(claim.lease))
            .bind(&claim.provider)
            .bind(least)
            .bind(greatest)
            .fetch_all(&mut self.writer().await?)
            .await
            .map_err(commit_error)?;
        rows.iter().map(claimed).collect::<Result<_, _>>().map_err(store_error)
    }

    async fn store_reports(
        &self,
        provider: &str,
        reports: &[ProviderReport],
    ) -> Result<StoredReports, StoreError> {
        self.store_in_inbox(provider, reports).await
    }

    async fn pending_reports(&self, after: i64, limit: i64) -> Result<Vec<PendingReport>, StoreError> {
        self.read_pending_reports(after, limit).await
    }

    async fn due_timers(&self, limit: i64) -> Result<Vec<Timer>, StoreError> {
        self.read_due_timers(limit).await
    }

    async fn backlog(&self, before: Option<Timer>, limit: i64) -> Result<Vec<Due>, StoreError> {
        self.read_backlog(before, limit).await
    }

    async fn restock(&self) -> Result<Option<Restock>, StoreError> {
        self.read_restock().await
    }

    async fn note_restock(&self, was: Option<&Restock>, becomes: &Restock) -> Result<bool, StoreError> {
        self.replace_restock(was, becomes).await
    }
}

fn claimed(row: &PgRow) -> Result<Claimed, sqlx::Error> {
    Ok(Claimed {
        record: rows::record(row)?,
        fence: row.try_get("fence")?,
        attempt: row.try_get("attempt")?,
        claimed_at: rows::time(row, "now")?,
    })
}
