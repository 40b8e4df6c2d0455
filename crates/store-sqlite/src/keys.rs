//! API keys and provider keys.

use delivery::model::{ApiKey, AuditEntry, ProviderKey, Scope};
use delivery::port::StoreError;
use message::Timestamp;
use message::id::ClientId;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::SqliteStore;
use crate::error::{damaged, store_error};
use crate::rows::{self, batch, opt_micros};

macro_rules! api_key_columns {
    () => {
        "id, client_id, name, scopes, secret_hash, fingerprint, created_at, expire_at, revoked_at, last_used_at, \
         allowed_ranges"
    };
}

macro_rules! provider_key_columns {
    () => {
        "id, provider, name, fingerprint, created_at, revoked_at"
    };
}

impl SqliteStore {
    pub(crate) async fn insert_api_key(&self, key: &ApiKey, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut write = self.begin_write().await?;
        insert_api_key(write.connection(), key).await.map_err(store_error)?;
        write.commit_with(entry).await
    }

    pub(crate) async fn read_api_key(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        let sql = concat!("-- read api key\nSELECT ", api_key_columns!(), " FROM api_keys WHERE id = ?1");
        let row = sqlx::query(sql).bind(id).fetch_optional(self.readers()).await;
        row.and_then(|row| row.as_ref().map(api_key).transpose()).map_err(store_error)
    }

    pub(crate) async fn list_api_keys(
        &self,
        client: Option<ClientId>,
        after: &str,
        limit: i64,
    ) -> Result<Vec<ApiKey>, StoreError> {
        // Each along its own index.
        let sql = match client {
            Some(_) => concat!(
                "-- list api keys of client\nSELECT ",
                api_key_columns!(),
                " FROM api_keys WHERE client_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3"
            ),
            None => concat!(
                "-- list api keys\nSELECT ",
                api_key_columns!(),
                " FROM api_keys WHERE ?1 IS NULL AND id > ?2 ORDER BY id LIMIT ?3"
            ),
        };
        let rows = sqlx::query(sql)
            .bind(client.as_ref().map(ClientId::as_uuid))
            .bind(after)
            .bind(limit)
            .fetch_all(self.readers())
            .await;
        rows.and_then(|rows| rows.iter().map(api_key).collect()).map_err(store_error)
    }

    pub(crate) async fn find_operator_key(&self) -> Result<bool, StoreError> {
        let sql = "-- has operator key\nSELECT EXISTS (SELECT 1 FROM api_keys WHERE client_id IS NULL)";
        sqlx::query_scalar(sql).fetch_one(self.readers()).await.map_err(store_error)
    }

    pub(crate) async fn replace_api_key(
        &self,
        old: &str,
        end_at: Timestamp,
        new: &ApiKey,
        entry: &AuditEntry,
    ) -> Result<Option<ApiKey>, StoreError> {
        let mut write = self.begin_write().await?;
        let sql = concat!(
            "-- end api key
            UPDATE api_keys SET expire_at = min(COALESCE(expire_at, ?2), ?2) WHERE id = ?1 RETURNING ",
            api_key_columns!()
        );
        let row =
            sqlx::query(sql).bind(old).bind(end_at.as_micros()).fetch_optional(write.connection()).await;
        let ended = row.and_then(|row| row.as_ref().map(api_key).transpose()).map_err(store_error)?;
        if ended.is_some() {
            insert_api_key(write.connection(), new).await.map_err(store_error)?;
            write.commit_with(entry).await?;
        }
        Ok(ended)
    }

    pub(crate) async fn end_api_key(
        &self,
        id: &str,
        entry: &AuditEntry,
    ) -> Result<Option<ApiKey>, StoreError> {
        let sql = concat!(
            "-- revoke api key
            UPDATE api_keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL RETURNING ",
            api_key_columns!()
        );
        match self.revoke(sql, id, entry).await? {
            Some(row) => api_key(&row).map(Some).map_err(store_error),
            None => self.read_api_key(id).await,
        }
    }

    pub(crate) async fn note_api_keys(&self, used: &[(String, Timestamp)]) -> Result<(), StoreError> {
        if used.is_empty() {
            return Ok(());
        }
        let used = batch(used.iter().map(|(id, at)| json!([id, at.as_micros()])));
        let mut write = self.begin_write().await?;
        let sql = "-- touch api keys
            WITH k AS MATERIALIZED
                (SELECT value ->> 0 AS id, MAX(value ->> 1) AS used_at FROM json_each(?1) GROUP BY value ->> 0)
            UPDATE api_keys AS a SET last_used_at = k.used_at
            FROM k WHERE a.id = k.id AND (a.last_used_at IS NULL OR a.last_used_at < k.used_at)";
        sqlx::query(sql).bind(used).execute(write.connection()).await.map_err(store_error)?;
        write.commit().await
    }

    pub(crate) async fn insert_provider_key(
        &self,
        key: &ProviderKey,
        entry: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut write = self.begin_write().await?;
        let sql = "-- create provider key
            INSERT INTO provider_keys (id, provider, name, fingerprint, created_at, revoked_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        sqlx::query(sql)
            .bind(&key.id)
            .bind(&key.provider)
            .bind(&key.name)
            .bind(&key.fingerprint)
            .bind(key.created_at.as_micros())
            .bind(opt_micros(key.revoked_at))
            .execute(write.connection())
            .await
            .map_err(store_error)?;
        write.commit_with(entry).await
    }

    pub(crate) async fn read_provider_key(&self, id: &str) -> Result<Option<ProviderKey>, StoreError> {
        let sql = concat!(
            "-- read provider key\nSELECT ",
            provider_key_columns!(),
            " FROM provider_keys WHERE id = ?1"
        );
        let row = sqlx::query(sql).bind(id).fetch_optional(self.readers()).await;
        row.and_then(|row| row.as_ref().map(provider_key).transpose()).map_err(store_error)
    }

    pub(crate) async fn list_provider_keys(&self, limit: i64) -> Result<Vec<ProviderKey>, StoreError> {
        let sql = concat!(
            "-- list provider keys\nSELECT ",
            provider_key_columns!(),
            " FROM provider_keys ORDER BY provider, id LIMIT ?1"
        );
        let rows = sqlx::query(sql).bind(limit).fetch_all(self.readers()).await;
        rows.and_then(|rows| rows.iter().map(provider_key).collect()).map_err(store_error)
    }

    pub(crate) async fn end_provider_key(
        &self,
        id: &str,
        entry: &AuditEntry,
    ) -> Result<Option<ProviderKey>, StoreError> {
        let sql = concat!(
            "-- revoke provider key
            UPDATE provider_keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL RETURNING ",
            provider_key_columns!()
        );
        match self.revoke(sql, id, entry).await? {
            Some(row) => provider_key(&row).map(Some).map_err(store_error),
            None => self.read_provider_key(id).await,
        }
    }

    /// Sets the time of revocation by `sql`. `None` = there was nothing to revoke, and no entry was written.
    async fn revoke(
        &self,
        sql: &'static str,
        id: &str,
        entry: &AuditEntry,
    ) -> Result<Option<SqliteRow>, StoreError> {
        let mut write = self.begin_write().await?;
        let now = self.shared.ticker.now(write.connection()).await.map_err(store_error)?;
        let row = sqlx::query(sql).bind(id).bind(now.as_micros()).fetch_optional(write.connection()).await;
        let row = row.map_err(store_error)?;
        if row.is_some() {
            write.commit_with(entry).await?;
        }
        Ok(row)
    }
}

async fn insert_api_key(connection: &mut SqliteConnection, key: &ApiKey) -> Result<(), sqlx::Error> {
    let scopes: Vec<&str> = key.scopes.iter().copied().map(Scope::as_str).collect();
    let sql = "-- create api key
        INSERT INTO api_keys (id, client_id, name, scopes, secret_hash, fingerprint, created_at, expire_at, revoked_at,
            last_used_at, allowed_ranges)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let done = sqlx::query(sql)
        .bind(&key.id)
        .bind(key.client.as_ref().map(ClientId::as_uuid))
        .bind(&key.name)
        .bind(scopes.join(","))
        .bind(&key.secret_hash)
        .bind(&key.fingerprint)
        .bind(key.created_at.as_micros())
        .bind(opt_micros(key.expire_at))
        .bind(opt_micros(key.revoked_at))
        .bind(opt_micros(key.last_used_at))
        .bind(key.allowed_ranges.join(","))
        .execute(connection)
        .await;
    done.map(drop)
}

fn api_key(row: &SqliteRow) -> Result<ApiKey, sqlx::Error> {
    let scopes = split(row.try_get("scopes")?).map(|scope| scope.parse().map_err(damaged));
    Ok(ApiKey {
        id: row.try_get("id")?,
        client: rows::opt_client_id(row, "client_id")?,
        name: row.try_get("name")?,
        scopes: scopes.collect::<Result<_, _>>()?,
        secret_hash: row.try_get("secret_hash")?,
        fingerprint: row.try_get("fingerprint")?,
        created_at: rows::time(row, "created_at")?,
        expire_at: rows::opt_time(row, "expire_at")?,
        revoked_at: rows::opt_time(row, "revoked_at")?,
        last_used_at: rows::opt_time(row, "last_used_at")?,
        allowed_ranges: split(row.try_get("allowed_ranges")?).map(str::to_owned).collect(),
    })
}

/// What was joined by commas: nothing at all joined reads as nothing.
fn split(joined: &str) -> impl Iterator<Item = &str> {
    joined.split(',').filter(|word| !word.is_empty())
}

fn provider_key(row: &SqliteRow) -> Result<ProviderKey, sqlx::Error> {
    Ok(ProviderKey {
        id: row.try_get("id")?,
        provider: row.try_get("provider")?,
        name: row.try_get("name")?,
        fingerprint: row.try_get("fingerprint")?,
        created_at: rows::time(row, "created_at")?,
        revoked_at: rows::opt_time(row, "revoked_at")?,
    })
}
