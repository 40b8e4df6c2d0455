//! Claims: the statement of intent to send.

use std::collections::HashMap;

use async_trait::async_trait;
use delivery::model::MessageKey;
use delivery::port::{
    Claim, Claimed, Due, PendingReport, Restock, StoreError, StoredReports, Timer, Transaction, WorkStore,
};
use message::Timestamp;
use message::report::ProviderReport;
use message::time::micros;
use sqlx::{Row, SqliteConnection};

use crate::SqliteStore;
use crate::error::store_error;
use crate::rows::{self, batch, key_json, record_columns};

#[async_trait]
impl WorkStore for SqliteStore {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(self.begin_transaction().await?))
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, StoreError> {
        if claim.keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut write = self.begin_write().await?;
        let now = self.shared.ticker.now(write.connection()).await.map_err(store_error)?;
        let claimed = claim_now(write.connection(), claim, now).await.map_err(store_error)?;
        // Nothing claimed, nothing to make durable: the next transaction rolls back.
        if !claimed.is_empty() {
            write.commit().await?;
        }
        Ok(claimed)
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

async fn claim_now(
    connection: &mut SqliteConnection,
    claim: &Claim,
    now: Timestamp,
) -> Result<Vec<Claimed>, sqlx::Error> {
    let sql = "-- claim
        WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
        UPDATE message_states AS m
        SET status = 'SENDING', fence = fence + 1, attempt = attempt + 1, due_at = NULL, lease_until = ?3, provider = ?4
        FROM k, messages AS r
        WHERE m.client_id = unhex(k.value ->> 0) AND m.id = unhex(k.value ->> 1)
          AND m.status IN ('QUEUED', 'FAILED_TEMP') AND m.due_at <= ?2
          AND r.client_id = m.client_id AND r.id = m.id AND r.expire_at > ?2
        RETURNING client_id, id, fence, attempt";
    let claimed = sqlx::query(sql)
        .bind(batch(claim.keys.iter().map(key_json)))
        .bind(now.as_micros())
        .bind(now.as_micros().saturating_add(micros(claim.lease)))
        .bind(&claim.provider)
        .fetch_all(&mut *connection)
        .await?;
    let mut counts = HashMap::with_capacity(claimed.len());
    for row in &claimed {
        let key = MessageKey { client: rows::client_id(row, "client_id")?, id: rows::message_id(row, "id")? };
        counts.insert(key, (row.try_get("fence")?, row.try_get("attempt")?));
    }
    if counts.is_empty() {
        return Ok(Vec::new());
    }
    let sql = concat!(
        "-- read claimed\nSELECT ",
        record_columns!(),
        " FROM json_each(?1) AS k
          JOIN messages AS r ON r.client_id = unhex(k.value ->> 0) AND r.id = unhex(k.value ->> 1)"
    );
    let records = sqlx::query(sql).bind(batch(counts.keys().map(key_json))).fetch_all(connection).await?;
    let mut answer = Vec::with_capacity(records.len());
    for row in &records {
        let record = rows::record(row)?;
        if let Some((fence, attempt)) = counts.get(&record.key).copied() {
            answer.push(Claimed { record, fence, attempt, claimed_at: now });
        }
    }
    Ok(answer)
}
