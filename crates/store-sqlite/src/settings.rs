//! Settings of the installation, each a JSON value under its name.

use delivery::model::MessageKey;
use delivery::port::{Restock, StoreError, Timer};
use message::Timestamp;
use message::id::{ClientId, MessageId};
use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::SqliteStore;
use crate::error::{damaged, store_error};

/// The name is older than the place: a string says that the queue of this epoch was offered the whole backlog.
const RESTOCK: &str = "queue_epoch";

impl SqliteStore {
    pub(crate) async fn read_setting(&self, name: &'static str) -> Result<Option<String>, sqlx::Error> {
        let sql = "-- read setting\nSELECT value FROM settings WHERE name = ?1";
        sqlx::query_scalar(sql).bind(name).fetch_optional(self.readers()).await
    }

    pub(crate) async fn read_restock(&self) -> Result<Option<Restock>, StoreError> {
        let value = self.read_setting(RESTOCK).await.map_err(store_error)?;
        value.map(|json| restock(&json).map_err(damaged)).transpose().map_err(store_error)
    }

    pub(crate) async fn replace_restock(
        &self,
        was: Option<&Restock>,
        becomes: &Restock,
    ) -> Result<bool, StoreError> {
        let (insert, replace) = (
            "-- begin restock\nINSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            "-- go on with restock\nUPDATE settings SET value = ?2 WHERE name = ?1 AND value = ?3",
        );
        let query = match was {
            None => sqlx::query(insert).bind(RESTOCK).bind(restock_json(becomes)),
            Some(was) => {
                sqlx::query(replace).bind(RESTOCK).bind(restock_json(becomes)).bind(restock_json(was))
            }
        };
        let mut write = self.begin_write().await?;
        let done = query.execute(write.connection()).await.map_err(store_error)?;
        write.commit().await?;
        Ok(done.rows_affected() == 1)
    }
}

/// In a form that nodes of an older version, which know finished ones only, read or refuse.
fn restock_json(restock: &Restock) -> String {
    let Some(Timer { at, key }) = restock.before else {
        return Value::from(restock.epoch.as_str()).to_string();
    };
    let before = (at.as_micros(), key.client.as_uuid(), key.id.as_uuid());
    json!({ "epoch": restock.epoch, "before": before }).to_string()
}

fn restock(json: &str) -> Result<Restock, serde_json::Error> {
    let value: Value = serde_json::from_str(json)?;
    if value.is_string() {
        return Ok(Restock { epoch: serde_json::from_value(value)?, before: None });
    }
    let (at, client, id) = serde_json::from_value(value["before"].clone())?;
    let key = MessageKey { client: ClientId::from_uuid(client), id: MessageId::from_uuid(id) };
    let before = Some(Timer { at: Timestamp::from_micros(at), key });
    Ok(Restock { epoch: serde_json::from_value(value["epoch"].clone())?, before })
}

pub(crate) async fn put_setting(
    connection: &mut SqliteConnection,
    name: &'static str,
    value: String,
) -> Result<(), sqlx::Error> {
    let sql = "-- put setting
        INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    sqlx::query(sql).bind(name).bind(value).execute(connection).await.map(drop)
}
