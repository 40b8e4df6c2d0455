//! Clients, keys and rates: rare writes.

use async_trait::async_trait;
use message::id::ClientId;
use message::time::Timestamp;

use super::StoreError;
use crate::model::{ApiKey, Client, ClientState};

/// Operators' verbs.
#[async_trait]
pub trait AdminStore: Send + Sync + 'static {
    /// The database's clock.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// Makes the client with an empty log, no credit and a checkpoint at seq 0.
    async fn create_client(&self, client: &Client) -> Result<(), StoreError>;

    /// Sets the state, under the client's lock. `false` = no such client.
    async fn set_client_state(
        &self,
        id: ClientId,
        state: ClientState,
        reason: &str,
    ) -> Result<bool, StoreError>;

    /// Clients with an id above `after`, ascending.
    async fn clients(&self, after: Option<ClientId>, limit: i64) -> Result<Vec<Client>, StoreError>;

    async fn create_api_key(&self, key: &ApiKey) -> Result<(), StoreError>;

    async fn api_key(&self, id: &str) -> Result<Option<ApiKey>, StoreError>;

    /// Whether any operator key exists.
    async fn has_operator_key(&self) -> Result<bool, StoreError>;

    /// Sets `revoked_at` to the database's now, once. `false` = no such key.
    async fn revoke_api_key(&self, id: &str) -> Result<bool, StoreError>;

    async fn rates(&self) -> Result<Vec<RateRow>, StoreError>;

    /// Inserts or replaces these rates.
    async fn put_rates(&self, rates: &[RateRow]) -> Result<(), StoreError>;

    /// A random secret of this installation by name, made from `fresh` at the first call and the same on every
    /// node and in every later call.
    async fn secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32], StoreError>;

    /// Brings the schema up to date. Idempotent, and safe from several nodes at once.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Names of the migrations that this program knows and the database lacks, in order.
    async fn pending_migrations(&self) -> Result<Vec<String>, StoreError>;

    /// Whether the store answers now.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// The price of a part to recipients whose number begins with `prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateRow {
    pub currency: String,
    /// Digits after the plus; empty = the default.
    pub prefix: String,
    pub part_price_micros: i64,
}
