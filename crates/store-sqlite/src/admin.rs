//! Clients, rates, settings, the schema. What operators do besides is in `keys`, `letters` and `trail`.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use delivery::model::{ApiKey, AuditEntry, Client, DeadLetter, Message, MessageKey, ProviderKey, Retention};
use delivery::port::{
    AdminStore, AuditFilter, ClientFilter, Created, Creation, DeadLetterFilter, RateRow, Scanned, Schema,
    StoreError, UnmatchedReport,
};
use message::Timestamp;
use message::fingerprint::Fingerprint;
use message::id::{AuditEntryId, ClientId, MessageId};
use message::time::micros;
use serde_json::json;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row, Sqlite, SqliteConnection};
use uuid::Uuid;

use crate::SqliteStore;
use crate::error::{damaged, store_error};
use crate::rows::{self, batch, client_columns};
use crate::settings::put_setting;

const RETENTION: &str = "retention";

#[async_trait]
impl AdminStore for SqliteStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.read_now().await
    }

    async fn create_client(
        &self,
        client: &Client,
        creation: Option<&Creation>,
        entry: &AuditEntry,
    ) -> Result<Created, StoreError> {
        let mut write = self.begin_write().await?;
        if let Some(creation) = creation {
            let before = read_created(write.connection(), &creation.key).await.map_err(store_error)?;
            if let Some((client, fingerprint)) = before {
                return Ok(Created::Before(Box::new(client), fingerprint));
            }
        }
        insert_client(write.connection(), client, creation).await.map_err(store_error)?;
        write.commit_with(entry).await?;
        Ok(Created::New)
    }

    async fn update_client(&self, client: &Client, entry: &AuditEntry) -> Result<bool, StoreError> {
        let mut write = self.begin_write().await?;
        let revision: Option<i64> =
            sqlx::query_scalar("-- read revision\nSELECT revision FROM clients WHERE id = ?1")
                .bind(client.id.as_uuid())
                .fetch_optional(write.connection())
                .await
                .map_err(store_error)?;
        match revision {
            None => return Ok(false),
            Some(revision) if revision != client.revision => return Err(StoreError::Conflict),
            Some(_) => {}
        }
        let sql = "-- update client
            UPDATE clients SET name = ?2, state = ?3, suspend_reason = ?4, capture_on = ?5, settle_unreported = ?6,
                report_timeout = ?7, on_unknown = ?8, resend_after = ?9, parts_per_second = ?10, burst_parts = ?11,
                default_sender = ?12, max_parts = ?13, low_balance = ?14, revision = ?15 + 1
            WHERE id = ?1";
        let update = bind_settings(sqlx::query(sql), client);
        update.execute(write.connection()).await.map_err(store_error)?;
        write.commit_with(entry).await?;
        Ok(true)
    }

    async fn clients(
        &self,
        filter: &ClientFilter,
        after: Option<ClientId>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<Client, ClientId>, StoreError> {
        let after = after.map_or(Uuid::nil(), |id| *id.as_uuid());
        let sql = "-- clients: end of the window
            SELECT id FROM clients WHERE id > ?1 ORDER BY id LIMIT 1 OFFSET ?2 - 1";
        let last = sqlx::query(sql).bind(after).bind(scan).fetch_optional(self.readers()).await;
        let last = last.and_then(|row| row.map(|row| rows::client_id(&row, "id")).transpose());
        let last = last.map_err(store_error)?;
        let sql = concat!(
            "-- list clients\nSELECT ",
            client_columns!(),
            " FROM clients AS c JOIN client_heads AS h ON h.client_id = c.id
              WHERE c.id > ?1 AND c.id <= ?2 AND (?3 IS NULL OR c.state = ?3)
              AND substr(c.name, 1, length(?4)) = ?4
              ORDER BY c.id LIMIT ?5"
        );
        let rows = sqlx::query(sql)
            .bind(after)
            .bind(last.map_or(Uuid::max(), |id| *id.as_uuid()))
            .bind(filter.state.map(|state| state.as_str()))
            .bind(&filter.name_prefix)
            .bind(limit)
            .fetch_all(self.readers())
            .await;
        let items = rows.and_then(|rows| rows.iter().map(rows::client).collect()).map_err(store_error)?;
        Ok(rows::scanned(items, limit, last))
    }

    async fn create_api_key(&self, key: &ApiKey, entry: &AuditEntry) -> Result<(), StoreError> {
        self.insert_api_key(key, entry).await
    }

    async fn api_key(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        self.read_api_key(id).await
    }

    async fn api_keys(
        &self,
        client: Option<ClientId>,
        after: &str,
        limit: i64,
    ) -> Result<Vec<ApiKey>, StoreError> {
        self.list_api_keys(client, after, limit).await
    }

    async fn has_operator_key(&self) -> Result<bool, StoreError> {
        self.find_operator_key().await
    }

    async fn rotate_api_key(
        &self,
        old: &str,
        end_at: Timestamp,
        new: &ApiKey,
        entry: &AuditEntry,
    ) -> Result<Option<ApiKey>, StoreError> {
        self.replace_api_key(old, end_at, new, entry).await
    }

    async fn revoke_api_key(&self, id: &str, entry: &AuditEntry) -> Result<Option<ApiKey>, StoreError> {
        self.end_api_key(id, entry).await
    }

    async fn touch_api_keys(&self, used: &[(String, Timestamp)]) -> Result<(), StoreError> {
        self.note_api_keys(used).await
    }

    async fn create_provider_key(&self, key: &ProviderKey, entry: &AuditEntry) -> Result<(), StoreError> {
        self.insert_provider_key(key, entry).await
    }

    async fn provider_key(&self, id: &str) -> Result<Option<ProviderKey>, StoreError> {
        self.read_provider_key(id).await
    }

    async fn provider_keys(&self, limit: i64) -> Result<Vec<ProviderKey>, StoreError> {
        self.list_provider_keys(limit).await
    }

    async fn revoke_provider_key(
        &self,
        id: &str,
        entry: &AuditEntry,
    ) -> Result<Option<ProviderKey>, StoreError> {
        self.end_provider_key(id, entry).await
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

    async fn put_rates(&self, rates: &[RateRow], entry: &AuditEntry) -> Result<(), StoreError> {
        if rates.is_empty() {
            return Ok(());
        }
        let rows =
            batch(rates.iter().map(|rate| json!([rate.currency, rate.prefix, rate.part_price_micros])));
        let mut write = self.begin_write().await?;
        let sql = "-- put rates
            WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
            INSERT INTO rates (currency, prefix, part_price_micros)
            SELECT value ->> 0, value ->> 1, value ->> 2 FROM k WHERE true
            ON CONFLICT (currency, prefix) DO UPDATE SET part_price_micros = excluded.part_price_micros";
        sqlx::query(sql).bind(rows).execute(write.connection()).await.map_err(store_error)?;
        write.commit_with(entry).await
    }

    async fn delete_rates(&self, rates: &[RateRow], entry: &AuditEntry) -> Result<u64, StoreError> {
        let rows = batch(rates.iter().map(|rate| json!([rate.currency, rate.prefix])));
        let mut write = self.begin_write().await?;
        let sql = "-- delete rates
            WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
            DELETE FROM rates WHERE (currency, prefix) IN (SELECT value ->> 0, value ->> 1 FROM k)";
        let done = sqlx::query(sql).bind(rows).execute(write.connection()).await.map_err(store_error)?;
        if done.rows_affected() > 0 {
            write.commit_with(entry).await?;
        }
        Ok(done.rows_affected())
    }

    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        before: Option<(Timestamp, MessageKey)>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<(DeadLetter, Message), (Timestamp, MessageKey)>, StoreError> {
        self.list_dead_letters(filter, before, limit, scan).await
    }

    async fn dead_letters_of(&self, ids: &[MessageId]) -> Result<Vec<(DeadLetter, Message)>, StoreError> {
        self.read_dead_letters(ids).await
    }

    async fn unmatched_reports(
        &self,
        provider: &str,
        before: Option<i64>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<UnmatchedReport, i64>, StoreError> {
        self.list_unmatched_reports(provider, before, limit, scan).await
    }

    async fn retention(&self) -> Result<Retention, StoreError> {
        let stored = self.read_setting(RETENTION).await.map_err(store_error)?;
        stored.map_or(Ok(Retention::default()), |json| read_retention(&json)).map_err(store_error)
    }

    async fn set_retention(&self, retention: &Retention, entry: &AuditEntry) -> Result<(), StoreError> {
        let value = json!({
            "events": retention.events.map(micros),
            "messages": retention.messages.map(micros),
            "audit_entries": retention.audit_entries.map(micros),
        });
        let mut write = self.begin_write().await?;
        put_setting(write.connection(), RETENTION, value.to_string()).await.map_err(store_error)?;
        write.commit_with(entry).await
    }

    async fn record(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        self.insert_entry(entry).await
    }

    async fn audit_entries(
        &self,
        filter: &AuditFilter,
        before: Option<AuditEntryId>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<AuditEntry, AuditEntryId>, StoreError> {
        self.list_entries(filter, before, limit, scan).await
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
        self.apply_migrations().await
    }

    async fn renew_log_epoch(&self) -> Result<u64, StoreError> {
        let mut write = self.begin_write().await?;
        let sql = "-- rename the log
            UPDATE installation SET log_epoch = (random() & 0x7FFFFFFFFFFFFFFE) + 1 WHERE one = 1 RETURNING log_epoch";
        let epoch: i64 = sqlx::query_scalar(sql).fetch_one(write.connection()).await.map_err(store_error)?;
        write.commit().await?;
        Ok(epoch.unsigned_abs())
    }

    async fn schema(&self) -> Result<Schema, StoreError> {
        self.read_schema().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("-- ping\nSELECT 1").execute(self.readers()).await.map(drop).map_err(store_error)
    }
}

/// The client that was made under the key, as it is now, and the fingerprint of the call that made it.
async fn read_created(
    connection: &mut SqliteConnection,
    key: &str,
) -> Result<Option<(Client, Fingerprint)>, sqlx::Error> {
    let sql = concat!(
        "-- read created client\nSELECT ",
        client_columns!(),
        ", c.creation_print FROM clients AS c JOIN client_heads AS h ON h.client_id = c.id WHERE c.creation_key = ?1"
    );
    let row = sqlx::query(sql).bind(key).fetch_optional(connection).await?;
    row.map(|row| Ok((rows::client(&row)?, rows::fingerprint(&row, "creation_print")?))).transpose()
}

async fn insert_client(
    connection: &mut SqliteConnection,
    client: &Client,
    creation: Option<&Creation>,
) -> Result<(), sqlx::Error> {
    let sql = "-- create client
        INSERT INTO clients (id, name, state, suspend_reason, capture_on, settle_unreported, report_timeout, on_unknown,
            resend_after, parts_per_second, burst_parts, default_sender, max_parts, low_balance, revision, currency,
            is_sandbox, created_at, creation_key, creation_print)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";
    bind_settings(sqlx::query(sql), client)
        .bind(&client.currency)
        .bind(client.is_sandbox)
        .bind(client.created_at.as_micros())
        .bind(creation.map(|creation| &creation.key))
        .bind(creation.map(|creation| creation.fingerprint.as_bytes().as_slice()))
        .execute(&mut *connection)
        .await?;
    let sql = "-- create head
        INSERT INTO client_heads (client_id, available, held, last_seq, oldest_seq) VALUES (?1, 0, 0, 0, 1)";
    sqlx::query(sql).bind(client.id.as_uuid()).execute(&mut *connection).await?;
    let sql = "-- create checkpoint
        INSERT INTO checkpoints (client_id, seq, available, held, written_at) VALUES (?1, 0, 0, 0, ?2)";
    let checkpoint = sqlx::query(sql).bind(client.id.as_uuid()).bind(client.created_at.as_micros());
    checkpoint.execute(connection).await.map(drop)
}

/// The parameters ?1 to ?15: the client's id, what may be changed of it, and its revision.
fn bind_settings<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    client: &Client,
) -> Query<'q, Sqlite, SqliteArguments> {
    query
        .bind(client.id.as_uuid())
        .bind(&client.name)
        .bind(client.state.as_str())
        .bind(&client.suspend_reason)
        .bind(client.policy.capture_on.as_str())
        .bind(client.policy.settle_unreported.as_str())
        .bind(micros(client.report_timeout))
        .bind(client.on_unknown.as_str())
        .bind(micros(client.resend_after))
        .bind(client.parts_per_second)
        .bind(client.burst_parts)
        .bind(&client.default_sender)
        .bind(client.max_parts)
        .bind(client.low_balance_micros)
        .bind(client.revision)
}

fn read_retention(json: &str) -> Result<Retention, sqlx::Error> {
    let micros: BTreeMap<String, Option<u64>> = serde_json::from_str(json).map_err(damaged)?;
    let span = |name| micros.get(name).copied().flatten().map(Duration::from_micros);
    Ok(Retention { events: span("events"), messages: span("messages"), audit_entries: span("audit_entries") })
}
