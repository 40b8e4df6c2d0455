//! Audit entries: who did what. What an operator changes commits with its entry or not at all.

use delivery::model::AuditEntry;
use delivery::port::{AuditFilter, Scanned, StoreError};
use message::Timestamp;
use message::id::{AuditEntryId, ClientId, end_id};
use sqlx::Row;
use sqlx::postgres::{PgBindIterExt, PgRow};
use uuid::Uuid;

use crate::PostgresStore;
use crate::clock::Time;
use crate::connection::Connection;
use crate::error::{commit_error, store_error};
use crate::rows;

/// The transaction of an operator's change. Dropped before [`commit_with`] it leaves nothing.
pub(crate) type Deed = Connection;

/// The columns of `audit_entries` as a.
macro_rules! entry_columns {
    () => {
        "a.id, a.at, a.key_id, a.client_id, a.action, a.target, a.was, a.becomes, a.note, a.request_id"
    };
}

/// Where a page of entries is looked for: below id $1.
macro_rules! window {
    () => {
        " FROM audit_entries AS a WHERE a.id < $1 ORDER BY a.id DESC "
    };
}

/// Writes the entry of what the transaction changed, and commits both.
pub(crate) async fn commit_with(mut deed: Deed, entry: &AuditEntry) -> Result<(), StoreError> {
    insert(&mut deed, entry).await.map_err(store_error)?;
    deed.commit().await.map_err(commit_error)
}

impl PostgresStore {
    pub(crate) async fn begin_deed(&self) -> Result<Deed, StoreError> {
        self.writer().await?.begin("BEGIN").await.map_err(store_error)
    }

    pub(crate) async fn insert_entry(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        insert(&mut self.writer().await?, entry).await.map_err(commit_error)
    }

    pub(crate) async fn list_entries(
        &self,
        filter: &AuditFilter,
        before: Option<AuditEntryId>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<AuditEntry, AuditEntryId>, StoreError> {
        let sql = concat!(
            "-- list audit entries
            WITH page AS MATERIALIZED (
                SELECT ",
            entry_columns!(),
            "   FROM (SELECT ",
            entry_columns!(),
            window!(),
            "   LIMIT $5) AS a
                WHERE ($2 = '' OR a.key_id = $2) AND ($3::uuid IS NULL OR a.client_id = $3)
                  AND ($4 = '' OR a.action = $4)
                ORDER BY a.id DESC LIMIT $6
            )
            SELECT s.id AS scanned_to, ",
            entry_columns!(),
            " FROM (SELECT (COUNT(*) < $6)::int AS is_short FROM page) AS p
              LEFT JOIN LATERAL (SELECT a.id",
            window!(),
            "   OFFSET $5 - 1 LIMIT p.is_short) AS s ON true
              LEFT JOIN page AS a ON true
              ORDER BY a.id DESC"
        );
        let rows = sqlx::query(sql)
            .bind(before.map_or(Uuid::max(), |id| *id.as_uuid()))
            .bind(&filter.key_id)
            .bind(filter.client.as_ref().map(ClientId::as_uuid))
            .bind(&filter.action)
            .bind(scan.max(1))
            .bind(limit)
            .fetch_all(self.reader())
            .await;
        let last =
            |row: &PgRow| Ok(row.try_get::<Option<Uuid>, _>("scanned_to")?.map(AuditEntryId::from_uuid));
        rows.and_then(|rows| rows::scanned(&rows, last, entry)).map_err(store_error)
    }

    pub(crate) async fn read_old_entries(
        &self,
        before: Timestamp,
        limit: i64,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let sql = concat!(
            "-- old audit entries\nSELECT ",
            entry_columns!(),
            " FROM audit_entries AS a WHERE a.id < $1 AND a.at < $2 ORDER BY a.id LIMIT $3"
        );
        let rows = sqlx::query(sql)
            .bind(end_id(before))
            .bind(Time(before))
            .bind(limit)
            .fetch_all(self.reader())
            .await;
        rows.and_then(|rows| rows.iter().map(entry).collect()).map_err(store_error)
    }

    pub(crate) async fn delete_entries(&self, ids: &[AuditEntryId]) -> Result<u64, StoreError> {
        let sql = "-- remove audit entries
            DELETE FROM audit_entries WHERE id = ANY($1::uuid[])";
        let done = sqlx::query(sql)
            .bind(ids.iter().map(AuditEntryId::as_uuid).bind_iter())
            .execute(&mut self.writer().await?)
            .await;
        done.map(|done| done.rows_affected()).map_err(commit_error)
    }
}

pub(crate) async fn insert(connection: &mut Connection, entry: &AuditEntry) -> Result<(), sqlx::Error> {
    let sql = "-- insert audit entry
        INSERT INTO audit_entries (id, at, key_id, client_id, action, target, was, becomes, note, request_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    sqlx::query(sql)
        .bind(entry.id.as_uuid())
        .bind(Time(entry.at))
        .bind(&entry.key_id)
        .bind(entry.client.as_ref().map(ClientId::as_uuid))
        .bind(&entry.action)
        .bind(&entry.target)
        .bind(&entry.before)
        .bind(&entry.after)
        .bind(&entry.note)
        .bind(&entry.request_id)
        .execute(connection)
        .await
        .map(drop)
}

fn entry(row: &PgRow) -> Result<AuditEntry, sqlx::Error> {
    Ok(AuditEntry {
        id: row.try_get("id").map(AuditEntryId::from_uuid)?,
        at: rows::time(row, "at")?,
        key_id: row.try_get("key_id")?,
        client: rows::opt_client_id(row, "client_id")?,
        action: row.try_get("action")?,
        target: row.try_get("target")?,
        before: row.try_get("was")?,
        after: row.try_get("becomes")?,
        note: row.try_get("note")?,
        request_id: row.try_get("request_id")?,
    })
}
