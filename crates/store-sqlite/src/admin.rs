//! Clients, keys, rates, the schema.

use async_trait::async_trait;
use delivery::model::{ApiKey, Client, ClientState, Scope};
use delivery::port::{AdminStore, RateRow, StoreError};
use message::Timestamp;
use message::id::ClientId;
use message::time::micros;
use serde_json::json;
use sqlx::Row;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqlitePoolOptions, SqliteRow};

use crate::SqliteStore;
use crate::error::{damaged, store_error};
use crate::rows::{self, batch, client_columns, opt_micros};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");

#[async_trait]
impl AdminStore for SqliteStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.read_now().await
    }

    async fn create_client(&self, client: &Client) -> Result<(), StoreError> {
        let mut write = self.begin_write().await?;
        let sql = "-- create client
            INSERT INTO clients (id, name, state, suspend_reason, currency, is_sandbox, capture_on, settle_unreported,
                report_timeout, on_unknown, resend_after, parts_per_second, burst_parts, default_sender, max_parts,
                created_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
        sqlx::query(sql)
            .bind(client.id.as_uuid())
            .bind(&client.name)
            .bind(client.state.as_str())
            .bind(&client.suspend_reason)
            .bind(&client.currency)
            .bind(client.is_sandbox)
            .bind(client.policy.capture_on.as_str())
            .bind(client.policy.settle_unreported.as_str())
            .bind(micros(client.report_timeout))
            .bind(client.on_unknown.as_str())
            .bind(micros(client.resend_after))
            .bind(client.parts_per_second)
            .bind(client.burst_parts)
            .bind(&client.default_sender)
            .bind(client.max_parts)
            .bind(client.created_at.as_micros())
            .execute(write.connection())
            .await
            .map_err(store_error)?;
        let sql = "-- create head
            INSERT INTO client_heads (client_id, available, held, last_seq, oldest_seq) VALUES (?1, 0, 0, 0, 1)";
        sqlx::query(sql).bind(client.id.as_uuid()).execute(write.connection()).await.map_err(store_error)?;
        let sql = "-- create checkpoint
            INSERT INTO checkpoints (client_id, seq, available, held, written_at) VALUES (?1, 0, 0, 0, ?2)";
        sqlx::query(sql)
            .bind(client.id.as_uuid())
            .bind(client.created_at.as_micros())
            .execute(write.connection())
            .await
            .map_err(store_error)?;
        write.commit().await
    }

    async fn set_client_state(
        &self,
        id: ClientId,
        state: ClientState,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let mut write = self.begin_write().await?;
        let done = sqlx::query(
            "-- set client state\nUPDATE clients SET state = ?2, suspend_reason = ?3 WHERE id = ?1",
        )
        .bind(id.as_uuid())
        .bind(state.as_str())
        .bind(reason)
        .execute(write.connection())
        .await
        .map_err(store_error)?;
        write.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    async fn clients(&self, after: Option<ClientId>, limit: i64) -> Result<Vec<Client>, StoreError> {
        let sql = concat!(
            "-- list clients\nSELECT ",
            client_columns!(),
            " FROM clients AS c JOIN client_heads AS h ON h.client_id = c.id WHERE c.id > ?1 ORDER BY c.id LIMIT ?2"
        );
        let after = after.map_or(uuid::Uuid::nil(), |id| *id.as_uuid());
        let rows = sqlx::query(sql).bind(after).bind(limit).fetch_all(self.readers()).await;
        rows.and_then(|rows| rows.iter().map(rows::client).collect()).map_err(store_error)
    }

    async fn create_api_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        let scopes: Vec<&str> = key.scopes.iter().copied().map(Scope::as_str).collect();
        let mut write = self.begin_write().await?;
        let sql = "-- create api key
            INSERT INTO api_keys (id, client_id, name, scopes, secret_hash, fingerprint, created_at, expire_at,
                revoked_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        sqlx::query(sql)
            .bind(&key.id)
            .bind(key.client.as_ref().map(ClientId::as_uuid))
            .bind(&key.name)
            .bind(scopes.join(","))
            .bind(&key.secret_hash)
            .bind(&key.fingerprint)
            .bind(key.created_at.as_micros())
            .bind(opt_micros(key.expire_at))
            .bind(opt_micros(key.revoked_at))
            .execute(write.connection())
            .await
            .map_err(store_error)?;
        write.commit().await
    }

    async fn api_key(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        let sql = "-- read api key
            SELECT id, client_id, name, scopes, secret_hash, fingerprint, created_at, expire_at, revoked_at
            FROM api_keys WHERE id = ?1";
        let row = sqlx::query(sql).bind(id).fetch_optional(self.readers()).await;
        row.and_then(|row| row.as_ref().map(rows::api_key).transpose()).map_err(store_error)
    }

    async fn has_operator_key(&self) -> Result<bool, StoreError> {
        sqlx::query_scalar(
            "-- has operator key\nSELECT EXISTS (SELECT 1 FROM api_keys WHERE client_id IS NULL)",
        )
        .fetch_one(self.readers())
        .await
        .map_err(store_error)
    }

    async fn revoke_api_key(&self, id: &str) -> Result<bool, StoreError> {
        let mut write = self.begin_write().await?;
        let now = self.shared.ticker.now(write.connection()).await.map_err(store_error)?;
        let sql =
            "-- revoke api key\nUPDATE api_keys SET revoked_at = COALESCE(revoked_at, ?2) WHERE id = ?1";
        let done = sqlx::query(sql).bind(id).bind(now.as_micros()).execute(write.connection()).await;
        let done = done.map_err(store_error)?;
        write.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    async fn rates(&self) -> Result<Vec<RateRow>, StoreError> {
        let sql = "-- list rates
            SELECT currency, prefix, part_price_micros FROM rates ORDER BY currency, prefix LIMIT 1000000";
        let rows = sqlx::query(sql).fetch_all(self.readers()).await;
        let read = |row: &SqliteRow| {
            Ok(RateRow {
                currency: row.try_get("currency")?,
                prefix: row.try_get("prefix")?,
                part_price_micros: row.try_get("part_price_micros")?,
            })
        };
        rows.and_then(|rows| rows.iter().map(read).collect()).map_err(store_error)
    }

    async fn put_rates(&self, rates: &[RateRow]) -> Result<(), StoreError> {
        let rows =
            batch(rates.iter().map(|rate| json!([rate.currency, rate.prefix, rate.part_price_micros])));
        let mut write = self.begin_write().await?;
        let sql = "-- put rates
            WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
            INSERT INTO rates (currency, prefix, part_price_micros)
            SELECT value ->> 0, value ->> 1, value ->> 2 FROM k WHERE true
            ON CONFLICT (currency, prefix) DO UPDATE SET part_price_micros = excluded.part_price_micros";
        sqlx::query(sql).bind(rows).execute(write.connection()).await.map_err(store_error)?;
        write.commit().await
    }

    async fn secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
        let mut write = self.begin_write().await?;
        sqlx::query(
            "-- make secret\nINSERT INTO secrets (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        )
        .bind(name)
        .bind(fresh.as_slice())
        .execute(write.connection())
        .await
        .map_err(store_error)?;
        let value: Vec<u8> = sqlx::query_scalar("-- read secret\nSELECT value FROM secrets WHERE name = ?1")
            .bind(name)
            .fetch_one(write.connection())
            .await
            .map_err(store_error)?;
        write.commit().await?;
        value.as_slice().try_into().map_err(|error| store_error(damaged(error)))
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        // The migrator wants a pool of its own; the writer waits meanwhile.
        let mut writer = self.shared.writer.clone().lock_owned().await;
        let pool =
            SqlitePoolOptions::new().max_connections(1).connect_with(self.shared.options.clone()).await;
        let pool = pool.map_err(store_error)?;
        MIGRATIONS.run(&pool).await.map_err(|error| StoreError::Refused(Box::new(error)))?;
        pool.close().await;
        let sql = "-- name the log
            INSERT INTO installation (one, log_epoch) VALUES (1, (random() & 0x7FFFFFFFFFFFFFFE) + 1)
            ON CONFLICT DO NOTHING";
        sqlx::query(sql).execute(&mut writer.connection).await.map_err(store_error)?;
        Ok(())
    }

    async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        let sql = "-- has migrations table
            SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations')";
        let has_any: bool = sqlx::query_scalar(sql).fetch_one(self.readers()).await.map_err(store_error)?;
        let mut applied: Vec<i64> = Vec::new();
        if has_any {
            let sql = "-- applied migrations\nSELECT version FROM _sqlx_migrations WHERE success LIMIT 10000";
            applied = sqlx::query_scalar(sql).fetch_all(self.readers()).await.map_err(store_error)?;
        }
        let missing = MIGRATIONS.iter().filter(|migration| !applied.contains(&migration.version));
        Ok(missing.map(|migration| format!("{:04} {}", migration.version, migration.description)).collect())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("-- ping\nSELECT 1").execute(self.readers()).await.map(drop).map_err(store_error)
    }
}
