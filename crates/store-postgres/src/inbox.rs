//! The durable inbox of provider reports.

use std::collections::BTreeSet;

use delivery::model::MessageKey;
use delivery::port::{PendingReport, ReportTarget, StoreError, StoredReports};
use message::id::{ClientId, MessageId};
use message::report::{AttemptRef, ProviderReport};
use sqlx::Row;
use sqlx::postgres::{PgBindIterExt, PgRow};
use uuid::Uuid;

use crate::PostgresStore;
use crate::error::{commit_error, store_error};
use crate::rows::{self, Columns, small};

impl PostgresStore {
    pub(crate) async fn store_in_inbox(
        &self,
        provider: &str,
        reports: &[ProviderReport],
    ) -> Result<StoredReports, StoreError> {
        if reports.is_empty() {
            return Ok(StoredReports::default());
        }
        // A report that names our own reference is applied whether the provider's is bound or not.
        let references: BTreeSet<&str> = reports
            .iter()
            .filter(|report| report.attempt_ref.is_none())
            .map(|report| report.provider_ref.as_str())
            .filter(|reference| !reference.is_empty())
            .collect();
        // Ids follow the order of arrival. Rows are inserted in one order everywhere, reports before references, so
        // that batches with the same ones wait for each other in turn.
        // The upsert locks the reference's row even if it is marked already: a transaction that binds the reference
        // comes before or after, and whoever is second applies.
        let sql = "-- store reports
            WITH batch AS (
                SELECT nextval('provider_reports_id_seq') AS id, reference, client_id, message_id, attempt, state, part,
                    done_date, failure_reason, failure_detail, failure_code
                FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::int[], $5::text[], $6::smallint[], $7::text[],
                    $8::text[], $9::text[], $10::text[]) AS k (reference, client_id, message_id, attempt, state, part,
                    done_date, failure_reason, failure_detail, failure_code)
            ),
            stored AS (
                INSERT INTO provider_reports (id, provider, reference, client_id, message_id, attempt, state, part,
                    done_date, failure_reason, failure_detail, failure_code, stored_at)
                OVERRIDING SYSTEM VALUE
                SELECT id, $12, reference, client_id, message_id, attempt, state, part, done_date, failure_reason,
                    failure_detail, failure_code, COALESCE($13, now())
                FROM batch ORDER BY reference, message_id, attempt, state, part, done_date, id
                ON CONFLICT DO NOTHING
                RETURNING id
            ),
            pending AS (
                INSERT INTO pending_reports (id) SELECT id FROM stored
            ),
            marked AS (
                INSERT INTO provider_refs AS f (provider, reference, reported, created_at)
                SELECT $12, reference, true, COALESCE($13, now()) FROM unnest($11::text[]) AS k (reference)
                ON CONFLICT (provider, reference) DO UPDATE SET reported = true WHERE NOT f.reported
            )
            SELECT COUNT(id) FROM stored";
        let query = Columns::of(sqlx::query(sql), reports)
            .column(|report| report.provider_ref.as_str())
            .column(|report| report.attempt_ref.map(|attempt| *attempt.client.as_uuid()))
            .column(|report| report.attempt_ref.map(|attempt| *attempt.message.as_uuid()))
            .column(|report| report.attempt_ref.map(|attempt| attempt.attempt))
            .column(|report| report.state.as_str())
            .column(|report| small(report.part))
            .column(|report| report.done_date.as_str())
            .failure(|report| report.failure.as_ref())
            .bound();
        let row = query
            .bind(references.into_iter().bind_iter())
            .bind(provider)
            .bind(self.shared.ticker.fixed())
            .fetch_one(&mut self.writer().await?)
            .await
            .map_err(commit_error)?;
        let stored: i64 = row.try_get(0).map_err(store_error)?;
        let new = usize::try_from(stored).unwrap_or(reports.len());
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
            FROM pending_reports AS q
            CROSS JOIN LATERAL (SELECT p.* FROM provider_reports AS p WHERE p.id = q.id OFFSET 0) AS p
            LEFT JOIN provider_refs AS f
              ON f.provider = p.provider AND f.reference = p.reference AND f.message_id IS NOT NULL
            WHERE q.id > $1 AND (p.message_id IS NOT NULL OR f.message_id IS NOT NULL)
            ORDER BY q.id LIMIT $2";
        let rows = sqlx::query(sql).bind(after).bind(limit).fetch_all(self.reader()).await;
        rows.and_then(|rows| rows.iter().map(pending).collect()).map_err(store_error)
    }
}

fn pending(row: &PgRow) -> Result<PendingReport, sqlx::Error> {
    let key = |client, message| MessageKey {
        client: ClientId::from_uuid(client),
        id: MessageId::from_uuid(message),
    };
    let named: Option<(Uuid, Uuid)> =
        row.try_get::<Option<Uuid>, _>("client_id")?.zip(row.try_get("message_id")?);
    let bound: Option<(Uuid, Uuid)> =
        row.try_get::<Option<Uuid>, _>("bound_client")?.zip(row.try_get("bound_message")?);
    let bound_part = if bound.is_some() { rows::part(row, "bound_part")? } else { 0 };
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

pub(crate) fn report(row: &PgRow, attempt_ref: Option<AttemptRef>) -> Result<ProviderReport, sqlx::Error> {
    Ok(ProviderReport {
        provider_ref: row.try_get("reference")?,
        attempt_ref,
        state: rows::word(row, "state")?,
        part: rows::part(row, "part")?,
        done_date: row.try_get("done_date")?,
        failure: rows::failure(row)?,
    })
}
