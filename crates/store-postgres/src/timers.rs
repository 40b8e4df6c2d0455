//! Which messages the sweeper must look at.

use delivery::model::MessageKey;
use delivery::port::{Due, Offer, StoreError, Timer};
use message::Timestamp;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::PostgresStore;
use crate::clock::Time;
use crate::error::store_error;
use crate::rows;

impl PostgresStore {
    pub(crate) async fn read_due_timers(&self, limit: i64) -> Result<Vec<Timer>, StoreError> {
        let sql = "-- due timers
            SELECT wake_at, client_id, message_id FROM timers
            WHERE wake_at <= COALESCE($1, now()) ORDER BY wake_at, client_id, message_id LIMIT $2";
        let rows =
            sqlx::query(sql).bind(self.shared.ticker.fixed()).bind(limit).fetch_all(self.reader()).await;
        let timers = rows.and_then(|rows| rows.iter().map(timer).collect::<Result<Vec<_>, _>>());
        timers.map_err(store_error)
    }

    pub(crate) async fn read_backlog(
        &self,
        before: Option<Timer>,
        limit: i64,
    ) -> Result<Vec<Due>, StoreError> {
        // The limit inside makes it walk the timers in their order, and stop.
        let sql = "-- backlog
            SELECT t.wake_at, t.client_id, t.message_id, due.fence, due.priority
            FROM timers AS t CROSS JOIN LATERAL (
                SELECT m.fence, r.priority
                FROM message_states AS m JOIN messages AS r ON r.client_id = m.client_id AND r.id = m.id
                WHERE m.client_id = t.client_id AND m.id = t.message_id
                  AND m.status IN ('QUEUED', 'FAILED_TEMP') AND m.due_at <= COALESCE($4, now())
                LIMIT 1
            ) AS due
            WHERE (t.wake_at, t.client_id, t.message_id) < ($1, $2, $3)
            ORDER BY t.wake_at DESC, t.client_id DESC, t.message_id DESC LIMIT $5";
        let (at, client, message) = match before {
            Some(Timer { at, key }) => (at, *key.client.as_uuid(), *key.id.as_uuid()),
            None => (Timestamp::from_micros(i64::MAX), Uuid::max(), Uuid::max()),
        };
        let rows = sqlx::query(sql)
            .bind(Time(at))
            .bind(client)
            .bind(message)
            .bind(self.shared.ticker.fixed())
            .bind(limit)
            .fetch_all(self.reader())
            .await;
        rows.and_then(|rows| rows.iter().map(due).collect()).map_err(store_error)
    }
}

fn due(row: &PgRow) -> Result<Due, sqlx::Error> {
    let Timer { at: timer_at, key } = timer(row)?;
    let offer = Offer { key, fence: row.try_get("fence")?, timer_at };
    Ok(Due { offer, priority: rows::word(row, "priority")? })
}

fn timer(row: &PgRow) -> Result<Timer, sqlx::Error> {
    let key =
        MessageKey { client: rows::client_id(row, "client_id")?, id: rows::message_id(row, "message_id")? };
    Ok(Timer { at: rows::time(row, "wake_at")?, key })
}
