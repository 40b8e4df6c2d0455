//! Clients, rates, settings, the schema.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use delivery::model::{
    ApiKey, AuditEntry, Client, ClientState, DeadLetter, Message, MessageKey, ProviderKey, Retention,
};
use delivery::port::{
    AdminStore, AuditFilter, ClientFilter, Created, Creation, DeadLetterFilter, RateRow, Scanned, Schema,
    StoreError, UnmatchedReport,
};
use message::Timestamp;
use message::id::{AuditEntryId, ClientId, MessageId};
use message::time::micros;
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::PostgresStore;
use crate::clock::Time;
use crate::connection::Connection;
use crate::error::{commit_error, damaged, store_error};
use crate::rows::{self, Columns, client_columns};
use crate::settings::put_setting;
use crate::trail;

/// The name of the setting.
const RETENTION: &str = "retention";

/// Where a page of clients is looked for: above id $1.
macro_rules! window {
    () => {
        " FROM clients AS c WHERE c.id > $1 ORDER BY c.id "
    };
}

/// The sign bit is cleared; the version digit of the UUID keeps it from being 0.
macro_rules! random_epoch {
    () => {
        "(('x' || translate(left(gen_random_uuid()::text, 18), '-', ''))::bit(64)::bigint & 9223372036854775807)"
    };
}
pub(crate) use random_epoch;

#[async_trait]
impl AdminStore for PostgresStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.shared.ticker.now(self.reader()).await.map_err(store_error)
    }

    async fn create_client(
        &self,
        client: &Client,
        creation: Option<&Creation>,
        entry: &AuditEntry,
    ) -> Result<Created, StoreError> {
        let mut deed = self.begin_deed().await?;
        if insert_client(&mut deed, client, creation).await.map_err(store_error)? {
            trail::commit_with(deed, entry).await?;
            return Ok(Created::New);
        }
        // This statement's snapshot is younger than the row that the other call has committed.
        let key = creation.map(|creation| creation.key.as_str());
        read_created(&mut deed, key).await.map_err(store_error)
    }

    async fn update_client(&self, client: &Client, entry: &AuditEntry) -> Result<bool, StoreError> {
        let mut deed = self.begin_deed().await?;
        match lock_revision(&mut deed, client.id).await.map_err(store_error)? {
            None => return Ok(false),
            Some(revision) if revision != client.revision => return Err(StoreError::Conflict),
            Some(_) => {}
        }
        replace_settings(&mut deed, client).await.map_err(store_error)?;
        trail::commit_with(deed, entry).await?;
        Ok(true)
    }

    async fn clients(
        &self,
        filter: &ClientFilter,
        after: Option<ClientId>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<Client, ClientId>, StoreError> {
        let sql = concat!(
            "-- list clients
            WITH page AS MATERIALIZED (
                SELECT c.id
                FROM (SELECT c.id, c.state, c.name",
            window!(),
            "   LIMIT $4) AS c
                WHERE ($2::text IS NULL OR c.state = $2) AND starts_with(c.name, $3)
                ORDER BY c.id LIMIT $5
            )
            SELECT s.id AS scanned_to, ",
            client_columns!(),
            " FROM (SELECT (COUNT(*) < $5)::int AS is_short FROM page) AS p
              LEFT JOIN LATERAL (SELECT c.id",
            window!(),
            "   OFFSET $4 - 1 LIMIT p.is_short) AS s ON true
              LEFT JOIN (page AS k JOIN clients AS c ON c.id = k.id JOIN client_heads AS h ON h.client_id = c.id)
                ON true
              ORDER BY c.id"
        );
        let rows = sqlx::query(sql)
            .bind(after.map_or(Uuid::nil(), |id| *id.as_uuid()))
            .bind(filter.state.map(ClientState::as_str))
            .bind(&filter.name_prefix)
            .bind(scan.max(1))
            .bind(limit)
            .fetch_all(self.reader())
            .await;
        let last = |row: &PgRow| rows::opt_client_id(row, "scanned_to");
        rows.and_then(|rows| rows::scanned(&rows, last, rows::client)).map_err(store_error)
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
        let rows = sqlx::query(sql).fetch_all(self.reader()).await;
        let read = |row: &PgRow| {
            Ok(RateRow {
                currency: row.try_get("currency")?,
                prefix: row.try_get("prefix")?,
                part_price_micros: row.try_get("part_price_micros")?,
            })
        };
        rows.and_then(|rows| rows.iter().map(read).collect()).map_err(store_error)
    }

    async fn put_rates(&self, rates: &[RateRow], entry: &AuditEntry) -> Result<(), StoreError> {
        let rates = each_once(rates);
        if rates.is_empty() {
            return Ok(());
        }
        let sql = "-- put rates
            INSERT INTO rates (currency, prefix, part_price_micros)
            SELECT unnest($1::text[]), unnest($2::text[]), unnest($3::bigint[])
            ON CONFLICT (currency, prefix) DO UPDATE SET part_price_micros = excluded.part_price_micros";
        let rows = Columns::of(sqlx::query(sql), &rates)
            .column(|rate| rate.currency.as_str())
            .column(|rate| rate.prefix.as_str())
            .column(|rate| rate.part_price_micros);
        let mut deed = self.begin_deed().await?;
        rows.bound().execute(&mut deed).await.map_err(store_error)?;
        trail::commit_with(deed, entry).await
    }

    async fn delete_rates(&self, rates: &[RateRow], entry: &AuditEntry) -> Result<u64, StoreError> {
        let rates = each_once(rates);
        let sql = "-- delete rates
            DELETE FROM rates AS r USING unnest($1::text[], $2::text[]) AS k (currency, prefix)
            WHERE r.currency = k.currency AND r.prefix = k.prefix";
        let rows = Columns::of(sqlx::query(sql), &rates)
            .column(|rate| rate.currency.as_str())
            .column(|rate| rate.prefix.as_str());
        let mut deed = self.begin_deed().await?;
        let done = rows.bound().execute(&mut deed).await.map_err(store_error)?;
        if done.rows_affected() > 0 {
            trail::commit_with(deed, entry).await?;
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
        let value = self.read_setting(RETENTION).await.map_err(store_error)?;
        value.map_or(Ok(Retention::default()), |value| read_retention(&value)).map_err(store_error)
    }

    async fn set_retention(&self, retention: &Retention, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut deed = self.begin_deed().await?;
        put_setting(&mut deed, RETENTION, retention_json(retention)).await.map_err(store_error)?;
        trail::commit_with(deed, entry).await
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
        let mut connection = self.writer().await?;
        sqlx::query(
            "-- make secret\nINSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(name)
        .bind(fresh.as_slice())
        .execute(&mut connection)
        .await
        .map_err(commit_error)?;
        let value: Vec<u8> = sqlx::query_scalar("-- read secret\nSELECT value FROM secrets WHERE name = $1")
            .bind(name)
            .fetch_one(&mut connection)
            .await
            .map_err(store_error)?;
        value.as_slice().try_into().map_err(|error| store_error(damaged(error)))
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        self.apply_migrations().await
    }

    async fn renew_log_epoch(&self) -> Result<u64, StoreError> {
        let sql = concat!(
            "-- rename the log
UPDATE installation SET log_epoch = ",
            random_epoch!(),
            " WHERE one = 1 RETURNING log_epoch"
        );
        let epoch: i64 =
            sqlx::query_scalar(sql).fetch_one(&mut self.writer().await?).await.map_err(commit_error)?;
        Ok(epoch.unsigned_abs())
    }

    async fn schema(&self) -> Result<Schema, StoreError> {
        self.read_schema().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("-- ping\nSELECT 1").execute(self.reader()).await.map(drop).map_err(store_error)
    }
}

/// `false` = the creation key is taken.
async fn insert_client(
    connection: &mut Connection,
    client: &Client,
    creation: Option<&Creation>,
) -> Result<bool, sqlx::Error> {
    // Of two that race for a key, the second waits here for the first.
    let sql = "-- create client
        WITH client AS (
            INSERT INTO clients (id, name, state, suspend_reason, currency, is_sandbox, capture_on, settle_unreported,
                report_timeout, on_unknown, resend_after, parts_per_second, burst_parts, default_sender, max_parts,
                low_balance, created_at, revision, creation_key, creation_print)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
            ON CONFLICT (creation_key) DO NOTHING
            RETURNING id, created_at
        ),
        head AS (
            INSERT INTO client_heads (client_id, available, held, last_seq, oldest_seq)
            SELECT id, 0, 0, 0, 1 FROM client
        )
        INSERT INTO checkpoints (client_id, seq, available, held, written_at)
        SELECT id, 0, 0, 0, created_at FROM client";
    let done = sqlx::query(sql)
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
        .bind(client.low_balance_micros)
        .bind(Time(client.created_at))
        .bind(client.revision)
        .bind(creation.map(|creation| creation.key.as_str()))
        .bind(creation.map(|creation| creation.fingerprint.as_bytes().as_slice()))
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// The client that was made under the key.
async fn read_created(connection: &mut Connection, key: Option<&str>) -> Result<Created, sqlx::Error> {
    let sql = concat!(
        "-- read created client\nSELECT c.creation_print, ",
        client_columns!(),
        " FROM clients AS c JOIN client_heads AS h ON h.client_id = c.id WHERE c.creation_key = $1"
    );
    let row = sqlx::query(sql).bind(key).fetch_one(connection).await?;
    Ok(Created::Before(Box::new(rows::client(&row)?), rows::fingerprint(&row, "creation_print")?))
}

/// Locks the head first, as every transaction that moves the client does.
async fn lock_revision(connection: &mut Connection, id: ClientId) -> Result<Option<i64>, sqlx::Error> {
    let sql = "-- lock client
        SELECT c.revision FROM client_heads AS h JOIN clients AS c ON c.id = h.client_id WHERE h.client_id = $1
        FOR UPDATE OF h FOR NO KEY UPDATE OF c";
    sqlx::query_scalar(sql).bind(id.as_uuid()).fetch_optional(connection).await
}

async fn replace_settings(connection: &mut Connection, client: &Client) -> Result<(), sqlx::Error> {
    let sql = "-- update client
        UPDATE clients SET name = $2, state = $3, suspend_reason = $4, capture_on = $5, settle_unreported = $6,
            report_timeout = $7, on_unknown = $8, resend_after = $9, parts_per_second = $10, burst_parts = $11,
            default_sender = $12, max_parts = $13, low_balance = $14, revision = revision + 1
        WHERE id = $1";
    sqlx::query(sql)
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
        .execute(connection)
        .await
        .map(drop)
}

/// In one order, so that two callers wait for each other in turn; each once, the last one wins.
fn each_once(rates: &[RateRow]) -> Vec<&RateRow> {
    let newest: BTreeMap<(&str, &str), &RateRow> =
        rates.iter().map(|rate| ((rate.currency.as_str(), rate.prefix.as_str()), rate)).collect();
    newest.into_values().collect()
}

/// Spans in microseconds; null = for ever.
fn retention_json(retention: &Retention) -> String {
    json!({
        "events": retention.events.map(micros),
        "messages": retention.messages.map(micros),
        "audit_entries": retention.audit_entries.map(micros),
    })
    .to_string()
}

fn read_retention(value: &str) -> Result<Retention, sqlx::Error> {
    let spans: Value = serde_json::from_str(value).map_err(damaged)?;
    Ok(Retention {
        events: span(&spans["events"])?,
        messages: span(&spans["messages"])?,
        audit_entries: span(&spans["audit_entries"])?,
    })
}

fn span(value: &Value) -> Result<Option<Duration>, sqlx::Error> {
    match value {
        Value::Null => Ok(None),
        span => {
            let micros = span.as_u64().ok_or_else(|| sqlx::Error::Decode("a span is not a number".into()))?;
            Ok(Some(Duration::from_micros(micros)))
        }
    }
}
