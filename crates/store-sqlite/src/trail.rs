//! The log of what operators did.

use std::slice;

use delivery::model::AuditEntry;
use delivery::port::{AuditFilter, Scanned, StoreError};
use message::Timestamp;
use message::id::{AuditEntryId, ClientId, end_id};
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use crate::error::store_error;
use crate::rows::{self, batch, hex};
use crate::transaction::apply;
use crate::{SqliteStore, Write};

macro_rules! entry_columns {
    () => {
        "id, at, key_id, client_id, action, target, was, becomes, note, request_id"
    };
}

impl Write {
    /// Commits a change with the entry that tells of it: both stand or neither.
    pub(crate) async fn commit_with(mut self, entry: &AuditEntry) -> Result<(), StoreError> {
        insert(self.connection(), slice::from_ref(entry)).await?;
        self.commit().await
    }
}

impl SqliteStore {
    pub(crate) async fn insert_entry(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        self.begin_write().await?.commit_with(entry).await
    }

    pub(crate) async fn list_entries(
        &self,
        filter: &AuditFilter,
        before: Option<AuditEntryId>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<AuditEntry, AuditEntryId>, StoreError> {
        let before = before.map_or(Uuid::max(), |id| *id.as_uuid());
        let sql = "-- audit entries: end of the window
            SELECT id FROM audit_entries WHERE id < ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2 - 1";
        let last = sqlx::query(sql).bind(before).bind(scan).fetch_optional(self.readers()).await;
        let last = last.and_then(|row| row.as_ref().map(entry_id).transpose()).map_err(store_error)?;
        let sql = concat!(
            "-- list audit entries\nSELECT ",
            entry_columns!(),
            " FROM audit_entries WHERE id >= ?1 AND id < ?2
              AND (?3 = '' OR key_id = ?3) AND (?4 IS NULL OR client_id = ?4) AND (?5 = '' OR action = ?5)
              ORDER BY id DESC LIMIT ?6"
        );
        let rows = sqlx::query(sql)
            .bind(last.map_or(Uuid::nil(), |id| *id.as_uuid()))
            .bind(before)
            .bind(&filter.key_id)
            .bind(filter.client.as_ref().map(ClientId::as_uuid))
            .bind(&filter.action)
            .bind(limit)
            .fetch_all(self.readers())
            .await;
        let items = rows.and_then(|rows| rows.iter().map(entry).collect()).map_err(store_error)?;
        Ok(rows::scanned(items, limit, last))
    }

    pub(crate) async fn read_old_entries(
        &self,
        before: Timestamp,
        limit: i64,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let sql = concat!(
            "-- old audit entries\nSELECT ",
            entry_columns!(),
            " FROM audit_entries WHERE id < ?1 AND at < ?2 ORDER BY id LIMIT ?3"
        );
        let rows = sqlx::query(sql)
            .bind(end_id(before))
            .bind(before.as_micros())
            .bind(limit)
            .fetch_all(self.readers())
            .await;
        rows.and_then(|rows| rows.iter().map(entry).collect()).map_err(store_error)
    }

    pub(crate) async fn delete_entries(&self, ids: &[AuditEntryId]) -> Result<u64, StoreError> {
        let ids = batch(ids.iter().map(|id| json!(hex(id.as_uuid()))));
        let mut write = self.begin_write().await?;
        let sql = "-- remove audit entries
            DELETE FROM audit_entries WHERE id IN (SELECT unhex(value) FROM json_each(?1))";
        let done = sqlx::query(sql).bind(ids).execute(write.connection()).await.map_err(store_error)?;
        write.commit().await?;
        Ok(done.rows_affected())
    }
}

pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    entries: &[AuditEntry],
) -> Result<(), StoreError> {
    let sql = "-- write audit entries
        WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
        INSERT INTO audit_entries (id, at, key_id, client_id, action, target, was, becomes, note, request_id)
        SELECT unhex(value ->> 0), value ->> 1, value ->> 2, unhex(value ->> 3), value ->> 4, value ->> 5, value ->> 6,
            value ->> 7, value ->> 8, value ->> 9
        FROM k";
    let entries = entries.iter().map(|entry| {
        json!([
            hex(entry.id.as_uuid()),
            entry.at.as_micros(),
            entry.key_id,
            entry.client.map(|id| hex(id.as_uuid())),
            entry.action,
            entry.target,
            entry.before,
            entry.after,
            entry.note,
            entry.request_id,
        ])
    });
    apply(connection, sql, entries.collect()).await.map(drop)
}

fn entry_id(row: &SqliteRow) -> Result<AuditEntryId, sqlx::Error> {
    row.try_get("id").map(AuditEntryId::from_uuid)
}

fn entry(row: &SqliteRow) -> Result<AuditEntry, sqlx::Error> {
    Ok(AuditEntry {
        id: entry_id(row)?,
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
