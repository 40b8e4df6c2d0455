//! The schema, and what was applied to it.

use delivery::port::{Migration, Schema, StoreError};
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqlitePoolOptions;

use crate::SqliteStore;
use crate::error::store_error;

/// Those of this version. What a later one has applied is no reason to refuse: it must leave room for nodes of this one.
fn migrations() -> Migrator {
    Migrator { ignore_missing: true, ..sqlx::migrate!("../../migrations/sqlite") }
}

impl SqliteStore {
    pub(crate) async fn apply_migrations(&self) -> Result<(), StoreError> {
        // The migrator wants a pool of its own; the writer waits meanwhile.
        let mut writer = self.shared.writer.clone().lock_owned().await;
        let pool =
            SqlitePoolOptions::new().max_connections(1).connect_with(self.shared.options.clone()).await;
        let pool = pool.map_err(store_error)?;
        migrations().run(&pool).await.map_err(|error| StoreError::Refused(Box::new(error)))?;
        pool.close().await;
        let sql = "-- name the log
            INSERT INTO installation (one, log_epoch) VALUES (1, (random() & 0x7FFFFFFFFFFFFFFE) + 1)
            ON CONFLICT DO NOTHING";
        sqlx::query(sql).execute(&mut writer.connection).await.map_err(store_error)?;
        Ok(())
    }

    pub(crate) async fn read_schema(&self) -> Result<Schema, StoreError> {
        let sql = "-- has migrations table
            SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations')";
        let has_any: bool = sqlx::query_scalar(sql).fetch_one(self.readers()).await.map_err(store_error)?;
        let mut applied: Vec<Migration> = Vec::new();
        if has_any {
            let sql = "-- applied migrations
                SELECT version, description, checksum FROM _sqlx_migrations
                WHERE success ORDER BY version LIMIT 10000";
            applied = sqlx::query_as(sql).fetch_all(self.readers()).await.map_err(store_error)?;
        }
        let known = migrations();
        let known =
            known.iter().map(|each| (each.version, each.description.to_string(), each.checksum.to_vec()));
        Ok(Schema::compare(known, applied))
    }
}
