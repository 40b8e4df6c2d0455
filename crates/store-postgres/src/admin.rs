//! Clients, keys, rates, the schema.

use std::collections::BTreeMap;

use async_trait::async_trait;
use delivery::model::{ApiKey, Client, ClientState, Scope};
use delivery::port::{AdminStore, RateRow, StoreError};
use message::Timestamp;
use message::id::ClientId;
use message::time::micros;
use sqlx::Row;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgPoolOptions, PgRow};
use uuid::Uuid;

use crate::clock::Time;
use crate::error::{commit_error, damaged, store_error};
use crate::rows::{self, Columns, client_columns};
use crate::{MIGRATION_SETTINGS, PostgresStore};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

#[async_trait]
impl AdminStore for PostgresStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.shared.ticker.now(self.pool()).await.map_err(store_error)
    }

    async fn create_client(&self, client: &Client) -> Result<(), StoreError> {
        let sql = "-- create client
            WITH client AS (
                INSERT INTO clients (id, name, state, suspend_reason, currency, is_sandbox, capture_on,
                    settle_unreported, report_timeout, on_unknown, resend_after, parts_per_second, burst_parts,
                    default_sender, max_parts, created_at)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
            ),
            head AS (
                INSERT INTO client_heads (client_id, available, held, last_seq, oldest_seq) VALUES ($1, 0, 0, 0, 1)
            )
            INSERT INTO checkpoints (client_id, seq, available, held, written_at) VALUES ($1, 0, 0, 0, $16)";
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
            .bind(Time(client.created_at))
            .execute(&mut *self.writer().await?)
            .await
            .map(drop)
            .map_err(commit_error)
    }

    async fn set_client_state(
        &self,
        id: ClientId,
        state: ClientState,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let sql = "-- set client state
            WITH locked AS (SELECT client_id FROM client_heads WHERE client_id = $1 FOR UPDATE)
            UPDATE clients AS c SET state = $2, suspend_reason = $3 FROM locked WHERE c.id = locked.client_id";
        let done = sqlx::query(sql)
            .bind(id.as_uuid())
            .bind(state.as_str())
            .bind(reason)
            .execute(&mut *self.writer().await?)
            .await
            .map_err(commit_error)?;
        Ok(done.rows_affected() == 1)
    }

    async fn clients(&self, after: Option<ClientId>, limit: i64) -> Result<Vec<Client>, StoreError> {
        let sql = concat!(
            "-- list clients\nSELECT ",
            client_columns!(),
            " FROM clients AS c JOIN client_heads AS h ON h.client_id = c.id WHERE c.id > $1 ORDER BY c.id LIMIT $2"
        );
        let after = after.map_or(Uuid::nil(), |id| *id.as_uuid());
        let rows = sqlx::query(sql).bind(after).bind(limit).fetch_all(self.pool()).await;
        rows.and_then(|rows| rows.iter().map(rows::client).collect()).map_err(store_error)
    }

    async fn create_api_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        let scopes: Vec<&str> = key.scopes.iter().copied().map(Scope::as_str).collect();
        let sql = "-- create api key
            INSERT INTO api_keys (id, client_id, name, scopes, secret_hash, fingerprint, created_at, expire_at,
                revoked_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        sqlx::query(sql)
            .bind(&key.id)
            .bind(key.client.as_ref().map(ClientId::as_uuid))
            .bind(&key.name)
            .bind(scopes.join(","))
            .bind(&key.secret_hash)
            .bind(&key.fingerprint)
            .bind(Time(key.created_at))
            .bind(key.expire_at.map(Time))
            .bind(key.revoked_at.map(Time))
            .execute(&mut *self.writer().await?)
            .await
            .map(drop)
            .map_err(commit_error)
    }

    async fn api_key(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        let sql = "-- read api key
            SELECT id, client_id, name, scopes, secret_hash, fingerprint, created_at, expire_at, revoked_at
            FROM api_keys WHERE id = $1";
        let row = sqlx::query(sql).bind(id).fetch_optional(self.pool()).await;
        row.and_then(|row| row.as_ref().map(rows::api_key).transpose()).map_err(store_error)
    }

    async fn has_operator_key(&self) -> Result<bool, StoreError> {
        sqlx::query_scalar(
            "-- has operator key\nSELECT EXISTS (SELECT 1 FROM api_keys WHERE client_id IS NULL)",
        )
        .fetch_one(self.pool())
        .await
        .map_err(store_error)
    }

    async fn revoke_api_key(&self, id: &str) -> Result<bool, StoreError> {
        let sql = "-- revoke api key
            UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $2, now()) WHERE id = $1";
        let done = sqlx::query(sql)
            .bind(id)
            .bind(self.shared.ticker.fixed())
            .execute(&mut *self.writer().await?)
            .await
            .map_err(commit_error)?;
        Ok(done.rows_affected() == 1)
    }

    async fn rates(&self) -> Result<Vec<RateRow>, StoreError> {
        let sql = "-- list rates
            SELECT currency, prefix, part_price_micros FROM rates ORDER BY currency, prefix LIMIT 1000000";
        let rows = sqlx::query(sql).fetch_all(self.pool()).await;
        let read = |row: &PgRow| {
            Ok(RateRow {
                currency: row.try_get("currency")?,
                prefix: row.try_get("prefix")?,
                part_price_micros: row.try_get("part_price_micros")?,
            })
        };
        rows.and_then(|rows| rows.iter().map(read).collect()).map_err(store_error)
    }

    async fn put_rates(&self, rates: &[RateRow]) -> Result<(), StoreError> {
        // In one order, so that two callers wait for each other in turn; each once, the last one wins.
        let newest: BTreeMap<(&str, &str), &RateRow> =
            rates.iter().map(|rate| ((rate.currency.as_str(), rate.prefix.as_str()), rate)).collect();
        let newest: Vec<&RateRow> = newest.into_values().collect();
        let sql = "-- put rates
            INSERT INTO rates (currency, prefix, part_price_micros)
            SELECT unnest($1::text[]), unnest($2::text[]), unnest($3::bigint[])
            ON CONFLICT (currency, prefix) DO UPDATE SET part_price_micros = excluded.part_price_micros";
        let rows = Columns::of(sqlx::query(sql), &newest)
            .column(|rate| rate.currency.as_str())
            .column(|rate| rate.prefix.as_str())
            .column(|rate| rate.part_price_micros);
        rows.bound().execute(&mut *self.writer().await?).await.map(drop).map_err(commit_error)
    }

    async fn secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
        let mut connection = self.writer().await?;
        sqlx::query(
            "-- make secret\nINSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(name)
        .bind(fresh.as_slice())
        .execute(&mut *connection)
        .await
        .map_err(commit_error)?;
        let value: Vec<u8> = sqlx::query_scalar("-- read secret\nSELECT value FROM secrets WHERE name = $1")
            .bind(name)
            .fetch_one(&mut *connection)
            .await
            .map_err(store_error)?;
        value.as_slice().try_into().map_err(|error| store_error(damaged(error)))
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        // A connection of its own: what waits for another node's migrations must not time out.
        let options = self.shared.options.clone().options(MIGRATION_SETTINGS);
        let pool =
            PgPoolOptions::new().max_connections(1).connect_with(options).await.map_err(store_error)?;
        MIGRATIONS.run(&pool).await.map_err(migrate_error)?;
        // The sign bit is cleared; the version digit of the UUID keeps it from being 0.
        let sql = "-- name the log
            INSERT INTO installation (one, log_epoch)
            VALUES (1, ('x' || translate(left(gen_random_uuid()::text, 18), '-', ''))::bit(64)::bigint
                & 9223372036854775807)
            ON CONFLICT DO NOTHING";
        sqlx::query(sql).execute(&pool).await.map_err(commit_error)?;
        pool.close().await;
        Ok(())
    }

    async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        let sql = "-- has migrations table\nSELECT to_regclass('_sqlx_migrations') IS NOT NULL";
        let has_any: bool = sqlx::query_scalar(sql).fetch_one(self.pool()).await.map_err(store_error)?;
        let mut applied: Vec<i64> = Vec::new();
        if has_any {
            let sql = "-- applied migrations\nSELECT version FROM _sqlx_migrations WHERE success LIMIT 10000";
            applied = sqlx::query_scalar(sql).fetch_all(self.pool()).await.map_err(store_error)?;
        }
        let missing = MIGRATIONS.iter().filter(|migration| !applied.contains(&migration.version));
        Ok(missing.map(|migration| format!("{:04} {}", migration.version, migration.description)).collect())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("-- ping\nSELECT 1").execute(self.pool()).await.map(drop).map_err(store_error)
    }
}

fn migrate_error(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(cause) => commit_error(cause),
        other => StoreError::Refused(Box::new(other)),
    }
}
