//! API keys and provider keys.

use std::collections::BTreeMap;

use delivery::model::{ApiKey, AuditEntry, ProviderKey, Scope};
use delivery::port::StoreError;
use message::Timestamp;
use message::id::ClientId;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::PostgresStore;
use crate::clock::Time;
use crate::connection::Connection;
use crate::error::{commit_error, damaged, store_error};
use crate::rows::{self, Columns};
use crate::trail;

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

impl PostgresStore {
    pub(crate) async fn insert_api_key(&self, key: &ApiKey, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut deed = self.begin_deed().await?;
        insert_api_key(&mut deed, key).await.map_err(store_error)?;
        trail::commit_with(deed, entry).await
    }

    pub(crate) async fn read_api_key(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        let sql = concat!("-- read api key\nSELECT ", api_key_columns!(), " FROM api_keys WHERE id = $1");
        let row = sqlx::query(sql).bind(id).fetch_optional(self.reader()).await;
        row.and_then(|row| row.as_ref().map(api_key).transpose()).map_err(store_error)
    }

    pub(crate) async fn list_api_keys(
        &self,
        client: Option<ClientId>,
        after: &str,
        limit: i64,
    ) -> Result<Vec<ApiKey>, StoreError> {
        let of_client = concat!(
            "-- list api keys of client\nSELECT ",
            api_key_columns!(),
            " FROM api_keys WHERE client_id = $3 AND id > $1 ORDER BY id LIMIT $2"
        );
        let of_all = concat!(
            "-- list api keys\nSELECT ",
            api_key_columns!(),
            " FROM api_keys WHERE id > $1 ORDER BY id LIMIT $2"
        );
        let query = match &client {
            Some(client) => sqlx::query(of_client).bind(after).bind(limit).bind(client.as_uuid()),
            None => sqlx::query(of_all).bind(after).bind(limit),
        };
        let rows = query.fetch_all(self.reader()).await;
        rows.and_then(|rows| rows.iter().map(api_key).collect()).map_err(store_error)
    }

    pub(crate) async fn find_operator_key(&self) -> Result<bool, StoreError> {
        sqlx::query_scalar(
            "-- has operator key\nSELECT EXISTS (SELECT 1 FROM api_keys WHERE client_id IS NULL)",
        )
        .fetch_one(self.reader())
        .await
        .map_err(store_error)
    }

    pub(crate) async fn replace_api_key(
        &self,
        old: &str,
        end_at: Timestamp,
        new: &ApiKey,
        entry: &AuditEntry,
    ) -> Result<Option<ApiKey>, StoreError> {
        let mut deed = self.begin_deed().await?;
        // LEAST leaves out what is NULL.
        let sql = concat!(
            "-- end api key\nUPDATE api_keys SET expire_at = LEAST(expire_at, $2) WHERE id = $1 RETURNING ",
            api_key_columns!()
        );
        let row = sqlx::query(sql).bind(old).bind(Time(end_at)).fetch_optional(&mut deed).await;
        let Some(row) = row.map_err(store_error)? else { return Ok(None) };
        let ended = api_key(&row).map_err(store_error)?;
        insert_api_key(&mut deed, new).await.map_err(store_error)?;
        trail::commit_with(deed, entry).await?;
        Ok(Some(ended))
    }

    pub(crate) async fn end_api_key(
        &self,
        id: &str,
        entry: &AuditEntry,
    ) -> Result<Option<ApiKey>, StoreError> {
        let mut deed = self.begin_deed().await?;
        let sql = concat!(
            "-- revoke api key
            UPDATE api_keys SET revoked_at = COALESCE($2, now()) WHERE id = $1 AND revoked_at IS NULL RETURNING ",
            api_key_columns!()
        );
        let fixed = self.shared.ticker.fixed();
        let row = sqlx::query(sql).bind(id).bind(fixed).fetch_optional(&mut deed).await;
        let Some(row) = row.map_err(store_error)? else {
            drop(deed);
            return self.read_api_key(id).await;
        };
        let revoked = api_key(&row).map_err(store_error)?;
        trail::commit_with(deed, entry).await?;
        Ok(Some(revoked))
    }

    pub(crate) async fn note_api_keys(&self, used: &[(String, Timestamp)]) -> Result<(), StoreError> {
        let mut newest: BTreeMap<&str, Timestamp> = BTreeMap::new();
        for (id, at) in used {
            newest.entry(id).and_modify(|newest| *newest = (*at).max(*newest)).or_insert(*at);
        }
        let newest: Vec<(&str, Timestamp)> = newest.into_iter().collect();
        if newest.is_empty() {
            return Ok(());
        }
        // Locked in one order, so that nodes that note the same keys wait for each other in turn.
        let sql = "-- touch api keys
            WITH used AS (
                SELECT a.id, k.at
                FROM unnest($1::text[], $2::timestamptz[]) AS k (id, at) JOIN api_keys AS a ON a.id = k.id
                WHERE a.last_used_at IS NULL OR a.last_used_at < k.at
                ORDER BY a.id
                FOR NO KEY UPDATE OF a
            )
            UPDATE api_keys AS a SET last_used_at = GREATEST(a.last_used_at, k.at) FROM used AS k WHERE a.id = k.id";
        let rows = Columns::of(sqlx::query(sql), &newest).column(|(id, _)| *id).column(|(_, at)| Time(*at));
        rows.bound().execute(&mut self.writer().await?).await.map(drop).map_err(commit_error)
    }

    pub(crate) async fn insert_provider_key(
        &self,
        key: &ProviderKey,
        entry: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut deed = self.begin_deed().await?;
        let sql = "-- create provider key
            INSERT INTO provider_keys (id, provider, name, fingerprint, created_at, revoked_at)
            VALUES ($1, $2, $3, $4, $5, $6)";
        sqlx::query(sql)
            .bind(&key.id)
            .bind(&key.provider)
            .bind(&key.name)
            .bind(&key.fingerprint)
            .bind(Time(key.created_at))
            .bind(key.revoked_at.map(Time))
            .execute(&mut deed)
            .await
            .map_err(store_error)?;
        trail::commit_with(deed, entry).await
    }

    pub(crate) async fn read_provider_key(&self, id: &str) -> Result<Option<ProviderKey>, StoreError> {
        let sql = concat!(
            "-- read provider key\nSELECT ",
            provider_key_columns!(),
            " FROM provider_keys WHERE id = $1"
        );
        let row = sqlx::query(sql).bind(id).fetch_optional(self.reader()).await;
        row.and_then(|row| row.as_ref().map(provider_key).transpose()).map_err(store_error)
    }

    pub(crate) async fn list_provider_keys(&self, limit: i64) -> Result<Vec<ProviderKey>, StoreError> {
        let sql = concat!(
            "-- list provider keys\nSELECT ",
            provider_key_columns!(),
            " FROM provider_keys ORDER BY provider, id LIMIT $1"
        );
        let rows = sqlx::query(sql).bind(limit).fetch_all(self.reader()).await;
        rows.and_then(|rows| rows.iter().map(provider_key).collect()).map_err(store_error)
    }

    pub(crate) async fn end_provider_key(
        &self,
        id: &str,
        entry: &AuditEntry,
    ) -> Result<Option<ProviderKey>, StoreError> {
        let mut deed = self.begin_deed().await?;
        let sql = concat!(
            "-- revoke provider key
            UPDATE provider_keys SET revoked_at = COALESCE($2, now()) WHERE id = $1 AND revoked_at IS NULL RETURNING ",
            provider_key_columns!()
        );
        let fixed = self.shared.ticker.fixed();
        let row = sqlx::query(sql).bind(id).bind(fixed).fetch_optional(&mut deed).await;
        let Some(row) = row.map_err(store_error)? else {
            drop(deed);
            return self.read_provider_key(id).await;
        };
        let revoked = provider_key(&row).map_err(store_error)?;
        trail::commit_with(deed, entry).await?;
        Ok(Some(revoked))
    }
}

async fn insert_api_key(connection: &mut Connection, key: &ApiKey) -> Result<(), sqlx::Error> {
    let scopes: Vec<&str> = key.scopes.iter().copied().map(Scope::as_str).collect();
    let sql = "-- create api key
        INSERT INTO api_keys (id, client_id, name, scopes, secret_hash, fingerprint, created_at, expire_at, revoked_at,
            last_used_at, allowed_ranges)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
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
        .bind(key.last_used_at.map(Time))
        .bind(key.allowed_ranges.join(","))
        .execute(connection)
        .await
        .map(drop)
}

fn api_key(row: &PgRow) -> Result<ApiKey, sqlx::Error> {
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

/// What was joined by commas; nothing in an empty text.
fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|item| !item.is_empty())
}

fn provider_key(row: &PgRow) -> Result<ProviderKey, sqlx::Error> {
    Ok(ProviderKey {
        id: row.try_get("id")?,
        provider: row.try_get("provider")?,
        name: row.try_get("name")?,
        fingerprint: row.try_get("fingerprint")?,
        created_at: rows::time(row, "created_at")?,
        revoked_at: rows::opt_time(row, "revoked_at")?,
    })
}
