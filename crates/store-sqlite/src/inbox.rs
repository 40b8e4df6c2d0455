//! The durable inbox of provider reports.

use delivery::model::MessageKey;
use delivery::port::{PendingReport, ReportTarget, StoreError, StoredReports};
use message::id::{ClientId, MessageId};
use message::report::{AttemptRef, ProviderReport};
use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::SqliteStore;
use crate::error::{damaged, store_error};
use crate::rows::{self, batch, hex};

impl SqliteStore {
    pub(crate) async fn store_in_inbox(
        &self,
        provider: &str,
        reports: &[ProviderReport],
    ) -> Result<StoredReports, StoreError> {
        if reports.is_empty() {
            return Ok(StoredReports::default());
        }
        let rows = batch(reports.iter().map(|report| {
            let [reason, detail, code] = rows::failure_json(report.failure.as_ref());
            let attempt = report.attempt_ref;
            json!([
                report.provider_ref,
                attempt.map(|attempt| hex(attempt.client.as_uuid())),
                attempt.map(|attempt| hex(attempt.message.as_uuid())),
                attempt.map(|attempt| attempt.attempt),
                report.state.as_str(),
                report.part,
                report.done_date,
                reason,
                detail,
                code,
            ])
        }));
        let mut write = self.begin_write().await?;
        let now = self.shared.ticker.now(write.connection()).await.map_err(store_error)?;
        let sql = "-- store reports
            WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
            INSERT INTO provider_reports (provider, reference, client_id, message_id, attempt, state, part, done_date,
                failure_reason, failure_detail, failure_code, stored_at, is_done)
            SELECT ?2, value ->> 0, unhex(value ->> 1), unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5,
                value ->> 6, value ->> 7, value ->> 8, value ->> 9, ?3, 0
            FROM k WHERE true ON CONFLICT DO NOTHING";
        let stored = sqlx::query(sql)
            .bind(&rows)
            .bind(provider)
            .bind(now.as_micros())
            .execute(write.connection())
            .await
            .map_err(store_error)?;
        // A report that names our own reference is applied whether the provider's is bound or not.
        let sql = "-- mark references as reported
            WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
            INSERT INTO provider_refs (provider, reference, reported, created_at)
            SELECT DISTINCT ?2, value ->> 0, 1, ?3 FROM k WHERE value ->> 0 <> '' AND value ->> 2 IS NULL
            ON CONFLICT (provider, reference) DO UPDATE SET reported = 1";
        sqlx::query(sql)
            .bind(&rows)
            .bind(provider)
            .bind(now.as_micros())
            .execute(write.connection())
            .await
            .map_err(store_error)?;
        write.commit().await?;
        let new = usize::try_from(stored.rows_affected()).unwrap_or(reports.len());
        Ok(StoredReports { new, duplicate: reports.len().saturating_sub(new) })
    }

    pub(crate) async fn read_pending_reports(
        &self,
        after: i64,
        limit: i64,
    ) -> Result<Vec<PendingReport>, StoreError> {
        let sql = "-- pending reports
            SELECT p.id, p.provider, p.reference, p.client_id, p.message_id, p.attempt, p.state, p.part, p.done_date,
                p.failure_reason, p.failure_detail, p.failure_code, p.stored_at,
                f.client_id AS bound_client, f.message_id AS bound_message, f.attempt AS bound_attempt,
                f.part AS bound_part
            FROM provider_reports AS p
            LEFT JOIN provider_refs AS f
              ON f.provider = p.provider AND f.reference = p.reference AND f.message_id IS NOT NULL
            WHERE p.is_done = 0 AND p.id > ?1 AND (p.message_id IS NOT NULL OR f.message_id IS NOT NULL)
            ORDER BY p.id LIMIT ?2";
        let rows = sqlx::query(sql).bind(after).bind(limit).fetch_all(self.readers()).await;
        rows.and_then(|rows| rows.iter().map(pending).collect()).map_err(store_error)
    }
}

fn pending(row: &SqliteRow) -> Result<PendingReport, sqlx::Error> {
    let key = |client, message| MessageKey {
        client: ClientId::from_uuid(client),
        id: MessageId::from_uuid(message),
    };
    let named: Option<(Uuid, Uuid)> =
        row.try_get::<Option<Uuid>, _>("client_id")?.zip(row.try_get("message_id")?);
    let bound: Option<(Uuid, Uuid)> =
        row.try_get::<Option<Uuid>, _>("bound_client")?.zip(row.try_get("bound_message")?);
    let bound_part = row.try_get::<Option<i64>, _>("bound_part")?.unwrap_or(0);
    let bound_part = u16::try_from(bound_part).map_err(damaged)?;
    // Our own reference, echoed, is better than a provider's, which may be used again.
    let target = match (named, bound) {
        (Some((client, message)), bound) => ReportTarget {
            key: key(client, message),
            attempt: row.try_get("attempt")?,
            part: if bound == named { bound_part } else { 0 },
        },
        (None, Some((client, message))) => ReportTarget {
            key: key(client, message),
            attempt: row.try_get("bound_attempt")?,
            part: bound_part,
        },
        (None, None) => return Err(sqlx::Error::Decode("a pending report names no message".into())),
    };
    let attempt_ref = named.map(|_| AttemptRef {
        client: target.key.client,
        message: target.key.id,
        attempt: target.attempt,
    });
    Ok(PendingReport {
        id: row.try_get("id")?,
        provider: row.try_get("provider")?,
        report: report(row, attempt_ref)?,
        target,
        stored_at: rows::time(row, "stored_at")?,
    })
}

/// What the inbox keeps of a report that names this attempt.
pub(crate) fn report(
    row: &SqliteRow,
    attempt_ref: Option<AttemptRef>,
) -> Result<ProviderReport, sqlx::Error> {
    Ok(ProviderReport {
        provider_ref: row.try_get("reference")?,
        attempt_ref,
        state: rows::word(row, "state")?,
        part: u16::try_from(row.try_get::<i64, _>("part")?).map_err(damaged)?,
        done_date: row.try_get("done_date")?,
        failure: rows::failure(row)?,
    })
}
