//! Dead letters, and reports that no message is known for.

use std::collections::BTreeSet;

use delivery::model::{DeadLetter, Message, MessageKey};
use delivery::port::{DeadLetterFilter, Scanned, StoreError, UnmatchedReport};
use message::Timestamp;
use message::failure::{Failure, FailureReason};
use message::id::{ClientId, MessageId};
use sqlx::Row;
use sqlx::postgres::{PgBindIterExt, PgRow};
use uuid::Uuid;

use crate::PostgresStore;
use crate::clock::Time;
use crate::connection::Connection;
use crate::error::store_error;
use crate::inbox;
use crate::rows::{self, Columns, record_columns, state_columns};

/// Where a dead letter stands in the order of time.
type Place = (Timestamp, MessageKey);

/// The columns of `dead_letters` as d.
macro_rules! letter_columns {
    () => {
        "d.client_id, d.message_id, d.provider, d.failure_reason, d.failure_detail, d.failure_code, \
         d.has_unknown_attempt, d.at, d.replayed_as"
    };
}

/// A dead letter d with its whole message, each column by a name of its own.
macro_rules! letter_and_message_columns {
    () => {
        concat!(
            "d.provider AS letter_provider, d.failure_reason AS letter_reason, d.failure_detail AS letter_detail, \
             d.failure_code AS letter_code, d.has_unknown_attempt, d.at AS letter_at, d.replayed_as, ",
            record_columns!(),
            ", ",
            state_columns!()
        )
    };
}

macro_rules! message_of_letter {
    () => {
        "JOIN messages AS r ON r.client_id = d.client_id AND r.id = d.message_id
         JOIN message_states AS m ON m.client_id = r.client_id AND m.id = r.id
         JOIN credit_locks AS l ON l.client_id = r.client_id AND l.message_id = r.id"
    };
}

/// Where a page of dead letters is looked for: older than ($1, $2, $3), not older than $4.
macro_rules! letter_window {
    () => {
        " FROM dead_letters AS d
          WHERE (d.at, d.client_id, d.message_id) < (COALESCE($1, 'infinity'::timestamptz), $2, $3)
            AND d.at >= COALESCE($4, '-infinity'::timestamptz)
          ORDER BY d.at DESC, d.client_id DESC, d.message_id DESC "
    };
}

/// Where a page of unmatched reports is looked for: below id $1.
macro_rules! report_window {
    () => {
        " FROM pending_reports AS q WHERE q.id < $1 ORDER BY q.id DESC "
    };
}

impl PostgresStore {
    pub(crate) async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        before: Option<Place>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<(DeadLetter, Message), Place>, StoreError> {
        let sql = concat!(
            "-- list dead letters
            WITH page AS MATERIALIZED (
                SELECT ",
            letter_columns!(),
            "   FROM (SELECT ",
            letter_columns!(),
            letter_window!(),
            "   LIMIT $9) AS d
                WHERE ($5::uuid IS NULL OR d.client_id = $5) AND ($6 = '' OR d.provider = $6)
                  AND ($7::text IS NULL OR d.failure_reason = $7) AND (NOT $8 OR d.replayed_as IS NULL)
                ORDER BY d.at DESC, d.client_id DESC, d.message_id DESC LIMIT $10
            )
            SELECT s.at AS scanned_at, s.client_id AS scanned_client, s.message_id AS scanned_message, ",
            letter_and_message_columns!(),
            " FROM (SELECT (COUNT(*) < $10)::int AS is_short FROM page) AS p
              LEFT JOIN LATERAL (SELECT d.at, d.client_id, d.message_id",
            letter_window!(),
            "   OFFSET $9 - 1 LIMIT p.is_short) AS s ON true
              LEFT JOIN (page AS d ",
            message_of_letter!(),
            ") ON true
              ORDER BY d.at DESC, d.client_id DESC, d.message_id DESC"
        );
        let end = end(filter, before);
        let rows = sqlx::query(sql)
            .bind(end.map(|(at, _)| Time(at)))
            .bind(end.map_or(Uuid::nil(), |(_, key)| *key.client.as_uuid()))
            .bind(end.map_or(Uuid::nil(), |(_, key)| *key.id.as_uuid()))
            .bind(filter.ended_from.map(Time))
            .bind(filter.client.as_ref().map(ClientId::as_uuid))
            .bind(&filter.provider)
            .bind(filter.reason.map(FailureReason::as_str))
            .bind(filter.open_only)
            .bind(scan.max(1))
            .bind(limit)
            .fetch_all(self.reader())
            .await;
        rows.and_then(|rows| rows::scanned(&rows, place, letter)).map_err(store_error)
    }

    pub(crate) async fn read_dead_letters(
        &self,
        ids: &[MessageId],
    ) -> Result<Vec<(DeadLetter, Message)>, StoreError> {
        let sql = concat!(
            "-- read dead letters\nSELECT ",
            letter_and_message_columns!(),
            " FROM dead_letters AS d ",
            message_of_letter!(),
            " WHERE d.message_id = ANY($1::uuid[]) ORDER BY d.client_id, d.message_id"
        );
        let ids = ids.iter().map(MessageId::as_uuid).bind_iter();
        let rows = sqlx::query(sql).bind(ids).fetch_all(self.reader()).await;
        rows.and_then(|rows| rows.iter().map(letter).collect()).map_err(store_error)
    }

    pub(crate) async fn list_unmatched_reports(
        &self,
        provider: &str,
        before: Option<i64>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<UnmatchedReport, i64>, StoreError> {
        let sql = concat!(
            "-- list unmatched reports
            WITH page AS MATERIALIZED (
                SELECT p.id
                FROM (SELECT q.id",
            report_window!(),
            "   LIMIT $3) AS q
                CROSS JOIN LATERAL (SELECT p.* FROM provider_reports AS p WHERE p.id = q.id OFFSET 0) AS p
                WHERE p.message_id IS NULL AND ($2 = '' OR p.provider = $2)
                  AND NOT EXISTS (SELECT 1 FROM provider_refs AS f
                      WHERE f.provider = p.provider AND f.reference = p.reference AND f.message_id IS NOT NULL)
                ORDER BY p.id DESC LIMIT $4
            )
            SELECT s.id AS scanned_to, p.id, p.provider, p.reference, p.state, p.part, p.done_date, p.failure_reason,
                p.failure_detail, p.failure_code, p.stored_at
            FROM (SELECT (COUNT(*) < $4)::int AS is_short FROM page) AS c
            LEFT JOIN LATERAL (SELECT q.id",
            report_window!(),
            "   OFFSET $3 - 1 LIMIT c.is_short) AS s ON true
            LEFT JOIN (page AS k JOIN provider_reports AS p ON p.id = k.id) ON true
            ORDER BY p.id DESC"
        );
        let rows = sqlx::query(sql)
            .bind(before.unwrap_or(i64::MAX))
            .bind(provider)
            .bind(scan.max(1))
            .bind(limit)
            .fetch_all(self.reader())
            .await;
        let last = |row: &PgRow| row.try_get("scanned_to");
        rows.and_then(|rows| rows::scanned(&rows, last, unmatched)).map_err(store_error)
    }
}

/// The page ends before this place; `None` = it begins with the newest.
fn end(filter: &DeadLetterFilter, before: Option<Place>) -> Option<Place> {
    let first =
        MessageKey { client: ClientId::from_uuid(Uuid::nil()), id: MessageId::from_uuid(Uuid::nil()) };
    let ended_before = filter.ended_before.map(|at| (at, first));
    before.into_iter().chain(ended_before).min()
}

/// The message that each of these dead letters was replayed as.
pub(crate) async fn read_replays(
    connection: &mut Connection,
    keys: &BTreeSet<MessageKey>,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let sql = "-- load dead letters
        SELECT d.client_id, d.message_id AS id, d.replayed_as
        FROM unnest($1::uuid[], $2::uuid[]) AS k (client_id, id)
        JOIN dead_letters AS d ON d.client_id = k.client_id AND d.message_id = k.id";
    sqlx::query(sql)
        .bind(keys.iter().map(|key| key.client.as_uuid()).bind_iter())
        .bind(keys.iter().map(|key| key.id.as_uuid()).bind_iter())
        .fetch_all(connection)
        .await
}

pub(crate) async fn insert(connection: &mut Connection, letters: &[DeadLetter]) -> Result<(), StoreError> {
    if letters.is_empty() {
        return Ok(());
    }
    let sql = "-- insert dead letters
        INSERT INTO dead_letters (client_id, message_id, provider, failure_reason, failure_detail, failure_code,
            has_unknown_attempt, at, replayed_as)
        SELECT unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::text[]), unnest($4::text[]), unnest($5::text[]),
            unnest($6::text[]), unnest($7::boolean[]), unnest($8::timestamptz[]), unnest($9::uuid[])";
    let rows = Columns::of(sqlx::query(sql), letters)
        .key(|letter| &letter.key)
        .column(|letter| letter.provider.as_str())
        .failure(|letter| Some(&letter.failure))
        .column(|letter| letter.has_unknown_attempt)
        .column(|letter| Time(letter.at))
        .column(|letter| letter.replayed_as.map(|id| *id.as_uuid()));
    rows.bound().execute(connection).await.map(drop).map_err(store_error)
}

/// Each dead letter is replayed once: one that was replayed before, or is not there, is a conflict.
pub(crate) async fn mark_replays(
    connection: &mut Connection,
    replays: &[(MessageKey, MessageId)],
) -> Result<(), StoreError> {
    if replays.is_empty() {
        return Ok(());
    }
    let sql = "-- mark replays
        UPDATE dead_letters AS d SET replayed_as = k.replayed_as
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS k (client_id, id, replayed_as)
        WHERE d.client_id = k.client_id AND d.message_id = k.id AND d.replayed_as IS NULL";
    let rows = Columns::of(sqlx::query(sql), replays).key(|(key, _)| key).column(|(_, id)| id.as_uuid());
    let done = rows.bound().execute(connection).await.map_err(store_error)?;
    let is_whole = usize::try_from(done.rows_affected()) == Ok(replays.len());
    if is_whole { Ok(()) } else { Err(StoreError::Conflict) }
}

fn letter(row: &PgRow) -> Result<(DeadLetter, Message), sqlx::Error> {
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
        at: rows::time(row, "letter_at")?,
        replayed_as: rows::opt_message_id(row, "replayed_as")?,
    };
    Ok((letter, message))
}

fn place(row: &PgRow) -> Result<Option<Place>, sqlx::Error> {
    let Some(at) = rows::opt_time(row, "scanned_at")? else { return Ok(None) };
    let (client, id) = (rows::client_id(row, "scanned_client")?, rows::message_id(row, "scanned_message")?);
    Ok(Some((at, MessageKey { client, id })))
}

fn unmatched(row: &PgRow) -> Result<UnmatchedReport, sqlx::Error> {
    Ok(UnmatchedReport {
        id: row.try_get("id")?,
        provider: row.try_get("provider")?,
        report: inbox::report(row, None)?,
        stored_at: rows::time(row, "stored_at")?,
    })
}
