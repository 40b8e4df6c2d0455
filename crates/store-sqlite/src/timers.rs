//! Which messages the sweeper must look at.

use delivery::model::MessageKey;
use delivery::port::{Due, Offer, StoreError, Timer};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::SqliteStore;
use crate::error::store_error;
use crate::rows;

impl SqliteStore {
    pub(crate) async fn read_due_timers(&self, limit: i64) -> Result<Vec<Timer>, StoreError> {
        let now = self.read_now().await?;
        let sql = "-- due timers
            SELECT wake_at, client_id, message_id FROM timers
            WHERE wake_at <= ?1 ORDER BY wake_at, client_id, message_id LIMIT ?2";
        let rows = sqlx::query(sql).bind(now.as_micros()).bind(limit).fetch_all(self.readers()).await;
        let timers = rows.and_then(|rows| rows.iter().map(timer).collect::<Result<Vec<_>, _>>());
        timers.map_err(store_error)
    }

    pub(crate) async fn read_backlog(
        &self,
        before: Option<Timer>,
        limit: i64,
    ) -> Result<Vec<Due>, StoreError> {
        let now = self.read_now().await?;
        let sql = "-- backlog
            SELECT t.wake_at, t.client_id, t.message_id, m.fence, r.priority
            FROM timers AS t JOIN message_states AS m ON m.client_id = t.client_id AND m.id = t.message_id
            JOIN messages AS r ON r.client_id = t.client_id AND r.id = t.message_id
            WHERE (t.wake_at, t.client_id, t.message_id) < (?1, ?2, ?3)
              AND m.status IN ('QUEUED', 'FAILED_TEMP') AND m.due_at <= ?4
            ORDER BY t.wake_at DESC, t.client_id DESC, t.message_id DESC LIMIT ?5";
        let (at, client, message) = match before {
            Some(Timer { at, key }) => (at.as_micros(), *key.client.as_uuid(), *key.id.as_uuid()),
            None => (i64::MAX, uuid::Uuid::max(), uuid::Uuid::max()),
        };
        let rows = sqlx::query(sql)
            .bind(at)
            .bind(client)
            .bind(message)
            .bind(now.as_micros())
            .bind(limit)
            .fetch_all(self.readers())
            .await;
        rows.and_then(|rows| rows.iter().map(due).collect()).map_err(store_error)
    }
}

fn due(row: &SqliteRow) -> Result<Due, sqlx::Error> {
    let Timer { at: timer_at, key } = timer(row)?;
    let offer = Offer { key, fence: row.try_get("fence")?, timer_at };
    Ok(Due { offer, priority: rows::word(row, "priority")? })
}

fn timer(row: &SqliteRow) -> Result<Timer, sqlx::Error> {
    let key =
        MessageKey { client: rows::client_id(row, "client_id")?, id: rows::message_id(row, "message_id")? };
    Ok(Timer { at: rows::time(row, "wake_at")?, key })
}
