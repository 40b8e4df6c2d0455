//! What did not go as it should: dead letters, and reports that no message is known for.

use std::collections::{BTreeMap, BTreeSet};

use delivery::model::{DeadLetter, Message, MessageKey};
use delivery::port::{DeadLetterFilter, Scanned, StoreError, UnmatchedReport};
use message::Timestamp;
use message::failure::Failure;
use message::id::{ClientId, MessageId};
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use crate::SqliteStore;
use crate::error::store_error;
use crate::inbox::report;
use crate::rows::{self, batch, hex, key_json, record_columns, state_columns};
use crate::transaction::{apply, apply_all, fetch};

/// The columns of `dead_letters` as d, with those of its message.
macro_rules! letter_columns {
    () => {
        concat!(
            "d.at, d.provider AS letter_provider, d.failure_reason AS letter_reason, \
             d.failure_detail AS letter_detail, d.failure_code AS letter_code, d.has_unknown_attempt, d.replayed_as, ",
            record_columns!(),
            ", ",
            state_columns!(),
        )
    };
}

/// What joins a dead letter to its message.
macro_rules! letter_tables {
    () => {
        "dead_letters AS d
         JOIN messages AS r ON r.client_id = d.client_id AND r.id = d.message_id
         JOIN message_states AS m ON m.client_id = d.client_id AND m.id = d.message_id
         JOIN credit_locks AS l ON l.client_id = d.client_id AND l.message_id = d.message_id"
    };
}

/// Where a dead letter stands in the order of time.
type Place = (Timestamp, MessageKey);

impl SqliteStore {
    pub(crate) async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        before: Option<Place>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<(DeadLetter, Message), Place>, StoreError> {
        let (from, end) = range(filter, before);
        let sql = "-- dead letters: end of the window
            SELECT at, client_id, message_id FROM dead_letters
            WHERE (at, client_id, message_id) >= (?1, ?2, ?3) AND (at, client_id, message_id) < (?4, ?5, ?6)
            ORDER BY at DESC, client_id DESC, message_id DESC LIMIT 1 OFFSET ?7 - 1";
        let last = sqlx::query(sql)
            .bind(from.0.as_micros())
            .bind(from.1.client.as_uuid())
            .bind(from.1.id.as_uuid())
            .bind(end.0.as_micros())
            .bind(end.1.client.as_uuid())
            .bind(end.1.id.as_uuid())
            .bind(scan)
            .fetch_optional(self.readers())
            .await;
        let last = last.and_then(|row| row.as_ref().map(place).transpose()).map_err(store_error)?;
        let from = last.unwrap_or(from);
        let sql = concat!(
            "-- list dead letters\nSELECT ",
            letter_columns!(),
            " FROM ",
            letter_tables!(),
            " WHERE (d.at, d.client_id, d.message_id) >= (?1, ?2, ?3)
              AND (d.at, d.client_id, d.message_id) < (?4, ?5, ?6)
              AND (?7 IS NULL OR d.client_id = ?7) AND (?8 = '' OR d.provider = ?8)
              AND (?9 IS NULL OR d.failure_reason = ?9) AND (NOT ?10 OR d.replayed_as IS NULL)
              ORDER BY d.at DESC, d.client_id DESC, d.message_id DESC LIMIT ?11"
        );
        let rows = sqlx::query(sql)
            .bind(from.0.as_micros())
            .bind(from.1.client.as_uuid())
            .bind(from.1.id.as_uuid())
            .bind(end.0.as_micros())
            .bind(end.1.client.as_uuid())
            .bind(end.1.id.as_uuid())
            .bind(filter.client.as_ref().map(ClientId::as_uuid))
            .bind(&filter.provider)
            .bind(filter.reason.map(|reason| reason.as_str()))
            .bind(filter.open_only)
            .bind(limit)
            .fetch_all(self.readers())
            .await;
        let items = rows.and_then(|rows| rows.iter().map(letter).collect()).map_err(store_error)?;
        Ok(rows::scanned(items, limit, last))
    }

    pub(crate) async fn read_dead_letters(
        &self,
        ids: &[MessageId],
    ) -> Result<Vec<(DeadLetter, Message)>, StoreError> {
        let sql = concat!(
            "-- dead letters of messages\nSELECT ",
            letter_columns!(),
            " FROM ",
            letter_tables!(),
            " WHERE d.message_id IN (SELECT unhex(value) FROM json_each(?1))"
        );
        let ids = batch(ids.iter().map(|id| json!(hex(id.as_uuid()))));
        let rows = sqlx::query(sql).bind(ids).fetch_all(self.readers()).await;
        rows.and_then(|rows| rows.iter().map(letter).collect()).map_err(store_error)
    }

    pub(crate) async fn list_unmatched_reports(
        &self,
        provider: &str,
        before: Option<i64>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<UnmatchedReport, i64>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        let sql = "-- unmatched reports: end of the window
            SELECT id FROM provider_reports WHERE is_done = 0 AND id < ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2 - 1";
        let last: Option<i64> = sqlx::query_scalar(sql)
            .bind(before)
            .bind(scan)
            .fetch_optional(self.readers())
            .await
            .map_err(store_error)?;
        let sql = "-- unmatched reports
            SELECT p.id, p.provider, p.reference, p.state, p.part, p.done_date, p.failure_reason, p.failure_detail,
                p.failure_code, p.stored_at
            FROM provider_reports AS p
            LEFT JOIN provider_refs AS f
              ON f.provider = p.provider AND f.reference = p.reference AND f.message_id IS NOT NULL
            WHERE p.is_done = 0 AND p.id >= ?1 AND p.id < ?2 AND p.message_id IS NULL AND f.message_id IS NULL
              AND (?3 = '' OR p.provider = ?3)
            ORDER BY p.id DESC LIMIT ?4";
        let rows = sqlx::query(sql)
            .bind(last.unwrap_or(i64::MIN))
            .bind(before)
            .bind(provider)
            .bind(limit)
            .fetch_all(self.readers())
            .await;
        let items = rows.and_then(|rows| rows.iter().map(unmatched).collect()).map_err(store_error)?;
        Ok(rows::scanned(items, limit, last))
    }
}

/// Which of these dead letters exist, and the messages that each was replayed as.
pub(crate) async fn read_replays(
    connection: &mut SqliteConnection,
    keys: &BTreeSet<MessageKey>,
) -> Result<BTreeMap<MessageKey, Option<MessageId>>, sqlx::Error> {
    let sql = "-- load dead letters
        WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
        SELECT d.client_id, d.message_id, d.replayed_as
        FROM k JOIN dead_letters AS d ON d.client_id = unhex(k.value ->> 0) AND d.message_id = unhex(k.value ->> 1)";
    let rows = fetch(connection, sql, batch(keys.iter().map(key_json))).await?;
    rows.iter().map(|row| Ok((key(row)?, rows::opt_message_id(row, "replayed_as")?))).collect()
}

pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    letters: &[DeadLetter],
) -> Result<(), StoreError> {
    let sql = "-- insert dead letters
        WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
        INSERT INTO dead_letters (client_id, message_id, provider, failure_reason, failure_detail, failure_code,
            has_unknown_attempt, at, replayed_as)
        SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
            value ->> 7, unhex(value ->> 8)
        FROM k";
    let letters = letters.iter().map(|letter| {
        let [reason, detail, code] = rows::failure_json(Some(&letter.failure));
        json!([
            hex(letter.key.client.as_uuid()),
            hex(letter.key.id.as_uuid()),
            letter.provider,
            reason,
            detail,
            code,
            i64::from(letter.has_unknown_attempt),
            letter.at.as_micros(),
            letter.replayed_as.map(|id| hex(id.as_uuid())),
        ])
    });
    apply(connection, sql, letters.collect()).await.map(drop)
}

/// Each dead letter is replayed once: one that was replayed before, or is not there, is a conflict.
pub(crate) async fn mark_replays(
    connection: &mut SqliteConnection,
    replays: &[(MessageKey, MessageId)],
) -> Result<(), StoreError> {
    let sql = "-- mark replays
        WITH k AS MATERIALIZED (SELECT value FROM json_each(?1))
        UPDATE dead_letters AS d SET replayed_as = unhex(k.value ->> 2)
        FROM k
        WHERE d.client_id = unhex(k.value ->> 0) AND d.message_id = unhex(k.value ->> 1) AND d.replayed_as IS NULL";
    let replays = replays
        .iter()
        .map(|(key, id)| json!([hex(key.client.as_uuid()), hex(key.id.as_uuid()), hex(id.as_uuid())]));
    apply_all(connection, sql, replays.collect()).await
}

/// From the first place (included) to the last (not included) that a list may show.
fn range(filter: &DeadLetterFilter, before: Option<Place>) -> (Place, Place) {
    let at =
        |at, uuid| (at, MessageKey { client: ClientId::from_uuid(uuid), id: MessageId::from_uuid(uuid) });
    let from = at(filter.ended_from.unwrap_or(Timestamp::from_micros(i64::MIN)), Uuid::nil());
    let mut end = before.unwrap_or(at(Timestamp::from_micros(i64::MAX), Uuid::max()));
    if let Some(ended_before) = filter.ended_before {
        end = end.min(at(ended_before, Uuid::nil()));
    }
    (from, end)
}

fn key(row: &SqliteRow) -> Result<MessageKey, sqlx::Error> {
    Ok(MessageKey { client: rows::client_id(row, "client_id")?, id: rows::message_id(row, "message_id")? })
}

fn place(row: &SqliteRow) -> Result<Place, sqlx::Error> {
    Ok((rows::time(row, "at")?, key(row)?))
}

fn letter(row: &SqliteRow) -> Result<(DeadLetter, Message), sqlx::Error> {
    let message = rows::message(row)?;
    let letter = DeadLetter {
        key: message.record.key,
        provider: row.try_get("letter_provider")?,
        failure: Failure {
            reason: rows::word(row, "letter_reason")?,
            detail: row.try_get("letter_detail")?,
            provider_code: row.try_get("letter_code")?,
        },
        has_unknown_attempt: row.try_get("has_unknown_attempt")?,
        at: rows::time(row, "at")?,
        replayed_as: rows::opt_message_id(row, "replayed_as")?,
    };
    Ok((letter, message))
}

fn unmatched(row: &SqliteRow) -> Result<UnmatchedReport, sqlx::Error> {
    Ok(UnmatchedReport {
        id: row.try_get("id")?,
        provider: row.try_get("provider")?,
        report: report(row, None)?,
        stored_at: rows::time(row, "stored_at")?,
    })
}
