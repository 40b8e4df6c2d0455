//! Settings of the installation, each a JSON value under its name.

use delivery::port::StoreError;

use crate::PostgresStore;
use crate::connection::Connection;
use crate::error::{damaged, store_error};

const QUEUE_EPOCH: &str = "queue_epoch";

impl PostgresStore {
    pub(crate) async fn read_setting(&self, name: &'static str) -> Result<Option<String>, sqlx::Error> {
        let sql = "-- read setting\nSELECT value FROM settings WHERE name = $1";
        sqlx::query_scalar(sql).bind(name).fetch_optional(self.reader()).await
    }

    pub(crate) async fn read_queue_epoch(&self) -> Result<Option<String>, StoreError> {
        let value = self.read_setting(QUEUE_EPOCH).await.map_err(store_error)?;
        let read = |json: String| serde_json::from_str(&json).map_err(damaged);
        value.map(read).transpose().map_err(store_error)
    }

    pub(crate) async fn write_queue_epoch(&self, epoch: &str) -> Result<(), StoreError> {
        let value = serde_json::Value::from(epoch).to_string();
        put_setting(&mut self.writer().await?, QUEUE_EPOCH, value).await.map_err(store_error)
    }
}

pub(crate) async fn put_setting(
    connection: &mut Connection,
    name: &'static str,
    value: String,
) -> Result<(), sqlx::Error> {
    let sql = "-- put setting
        INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    sqlx::query(sql).bind(name).bind(value).execute(connection).await.map(drop)
}
