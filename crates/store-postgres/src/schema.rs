//! The schema, and what was applied to it.

use delivery::port::{AdminStore, Migration, Schema, StoreError};
use sqlx::Connection as _;
use sqlx::migrate::{MigrateError, Migrator};

use crate::admin::random_epoch;
use crate::error::{commit_error, store_error};
use crate::{MIGRATION_SETTINGS, PostgresStore};

/// Those of this version. What a later one has applied is no reason to refuse: it must leave room for nodes of this one.
fn migrations() -> Migrator {
    Migrator { ignore_missing: true, ..sqlx::migrate!("../../migrations/postgres") }
}

impl PostgresStore {
    pub(crate) async fn apply_migrations(&self) -> Result<(), StoreError> {
        // A connection of its own: what waits for another node's migrations must not time out.
        let mut connection = self.aside(MIGRATION_SETTINGS).await.map_err(store_error)?;
        migrations().run_direct(None, &mut connection, false).await.map_err(migrate_error)?;
        let sql = concat!(
            "-- name the log
INSERT INTO installation (one, log_epoch) VALUES (1, ",
            random_epoch!(),
            ") ON CONFLICT DO NOTHING"
        );
        sqlx::query(sql).execute(&mut connection).await.map_err(commit_error)?;
        connection.close().await.map_err(store_error)?;
        let now = AdminStore::now(self).await?;
        self.make_room(now).await.map_err(store_error)
    }

    pub(crate) async fn read_schema(&self) -> Result<Schema, StoreError> {
        let sql = "-- has migrations table\nSELECT to_regclass('_sqlx_migrations') IS NOT NULL";
        let has_any: bool = sqlx::query_scalar(sql).fetch_one(self.reader()).await.map_err(store_error)?;
        let mut applied: Vec<Migration> = Vec::new();
        if has_any {
            let sql = "-- applied migrations
                SELECT version, description, checksum FROM _sqlx_migrations
                WHERE success ORDER BY version LIMIT 10000";
            applied = sqlx::query_as(sql).fetch_all(self.reader()).await.map_err(store_error)?;
        }
        let known = migrations();
        let known =
            known.iter().map(|each| (each.version, each.description.to_string(), each.checksum.to_vec()));
        Ok(Schema::compare(known, applied))
    }
}

fn migrate_error(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(cause) => commit_error(cause),
        other => StoreError::Refused(Box::new(other)),
    }
}
