//! What operators read and change: clients, keys, rates, dead letters, settings, and the log of who did it.
//!
//! A verb that takes an [`AuditEntry`] writes it in the transaction of its change: both stand or neither. What it
//! changes nothing of (an absent row, a call that is repeated) leaves no entry.

use std::collections::BTreeMap;

use async_trait::async_trait;
use message::failure::FailureReason;
use message::fingerprint::Fingerprint;
use message::id::{AuditEntryId, ClientId, MessageId};
use message::report::ProviderReport;
use message::time::Timestamp;

use super::StoreError;
use crate::model::{
    ApiKey, AuditEntry, Client, ClientState, DeadLetter, Message, MessageKey, ProviderKey, Retention,
};

/// Operators' verbs.
#[async_trait]
pub trait AdminStore: Send + Sync + 'static {
    /// The database's clock.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// Makes the client with an empty log, no credit and a checkpoint at seq 0. With a `creation`, a client that was
    /// made under the same key is answered instead.
    async fn create_client(
        &self,
        client: &Client,
        creation: Option<&Creation>,
        entry: &AuditEntry,
    ) -> Result<Created, StoreError>;

    /// Replaces the client's settings under the client's lock and raises its revision: a conflict unless the stored
    /// revision is `client.revision`. `false` = no such client. Currency, sandbox and time of creation stay.
    async fn update_client(&self, client: &Client, entry: &AuditEntry) -> Result<bool, StoreError>;

    /// Clients with an id above `after` that the filter shows, ascending, at most `limit`. Looks at `scan` rows at
    /// most.
    async fn clients(
        &self,
        filter: &ClientFilter,
        after: Option<ClientId>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<Client, ClientId>, StoreError>;

    async fn create_api_key(&self, key: &ApiKey, entry: &AuditEntry) -> Result<(), StoreError>;

    async fn api_key(&self, id: &str) -> Result<Option<ApiKey>, StoreError>;

    /// Keys of the client, or all, with an id above `after`, ascending.
    async fn api_keys(
        &self,
        client: Option<ClientId>,
        after: &str,
        limit: i64,
    ) -> Result<Vec<ApiKey>, StoreError>;

    /// Whether any operator key exists.
    async fn has_operator_key(&self) -> Result<bool, StoreError>;

    /// Lets the old key end at `end_at`, unless it ends earlier, and makes the new one. `None` = no such key; else the
    /// old key as it is now.
    async fn rotate_api_key(
        &self,
        old: &str,
        end_at: Timestamp,
        new: &ApiKey,
        entry: &AuditEntry,
    ) -> Result<Option<ApiKey>, StoreError>;

    /// Sets `revoked_at` to the database's now, once: a key that was revoked stays as it is and leaves no entry.
    /// `None` = no such key; else the key as it is now.
    async fn revoke_api_key(&self, id: &str, entry: &AuditEntry) -> Result<Option<ApiKey>, StoreError>;

    /// Notes when keys were last used. Times never go back.
    async fn touch_api_keys(&self, used: &[(String, Timestamp)]) -> Result<(), StoreError>;

    async fn create_provider_key(&self, key: &ProviderKey, entry: &AuditEntry) -> Result<(), StoreError>;

    async fn provider_key(&self, id: &str) -> Result<Option<ProviderKey>, StoreError>;

    /// By provider and id.
    async fn provider_keys(&self, limit: i64) -> Result<Vec<ProviderKey>, StoreError>;

    /// Like [`revoke_api_key`](Self::revoke_api_key).
    async fn revoke_provider_key(
        &self,
        id: &str,
        entry: &AuditEntry,
    ) -> Result<Option<ProviderKey>, StoreError>;

    /// All rates, by currency and prefix.
    async fn rates(&self) -> Result<Vec<RateRow>, StoreError>;

    /// Inserts or replaces these rates.
    async fn put_rates(&self, rates: &[RateRow], entry: &AuditEntry) -> Result<(), StoreError>;

    /// Removes the rates of these currencies and prefixes. Answers how many there were; none leaves no entry.
    async fn delete_rates(&self, rates: &[RateRow], entry: &AuditEntry) -> Result<u64, StoreError>;

    /// Dead letters that the filter shows, newest first by (time, key), older than `before`, at most `limit`. Looks at
    /// `scan` rows at most.
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        before: Option<(Timestamp, MessageKey)>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<(DeadLetter, Message), (Timestamp, MessageKey)>, StoreError>;

    /// The dead letters of these messages, whoever's they are.
    async fn dead_letters_of(&self, ids: &[MessageId]) -> Result<Vec<(DeadLetter, Message)>, StoreError>;

    /// Inbox rows whose message is not known, with an id below `before`, newest first, of the provider or all. Looks at
    /// `scan` rows at most.
    async fn unmatched_reports(
        &self,
        provider: &str,
        before: Option<i64>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<UnmatchedReport, i64>, StoreError>;

    /// For ever, until it is set.
    async fn retention(&self) -> Result<Retention, StoreError>;

    async fn set_retention(&self, retention: &Retention, entry: &AuditEntry) -> Result<(), StoreError>;

    /// Writes an entry by itself.
    async fn record(&self, entry: &AuditEntry) -> Result<(), StoreError>;

    /// Entries that the filter shows, with an id below `before`, newest first, at most `limit`. Looks at `scan` rows at
    /// most.
    async fn audit_entries(
        &self,
        filter: &AuditFilter,
        before: Option<AuditEntryId>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<AuditEntry, AuditEntryId>, StoreError>;

    /// A random secret of this installation by name, made from `fresh` at the first call and the same on every
    /// node and in every later call.
    async fn secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32], StoreError>;

    /// Brings the schema up to date. Idempotent, and safe from several nodes at once.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Gives the log a new epoch, random and never 0: the tokens of the one before are refused from then on. For a
    /// database that was restored, or promoted with a loss. Answers it.
    async fn renew_log_epoch(&self) -> Result<u64, StoreError>;

    /// How the database's schema stands to this program.
    async fn schema(&self) -> Result<Schema, StoreError>;

    /// Whether the store answers now.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Names of migrations, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// This program knows them, and the database lacks them.
    pub missing: Vec<String>,
    /// A later version has applied them, in a form that this one can ignore.
    pub later: Vec<String>,
    /// Applied in another form than this program knows: what the tables are is not known.
    pub altered: Vec<String>,
}

/// Version, description, and a checksum of what it does.
pub type Migration = (i64, String, Vec<u8>);

impl Schema {
    /// What the program knows beside what the database has, in the order of its versions.
    pub fn compare(known: impl Iterator<Item = Migration>, applied: Vec<Migration>) -> Self {
        let name = |version: i64, description: &str| format!("{version:04} {description}");
        let mut known: BTreeMap<i64, _> =
            known.map(|(version, description, checksum)| (version, (description, checksum))).collect();
        let mut schema = Self::default();
        for (version, description, checksum) in applied {
            match known.remove(&version) {
                Some((_, ours)) if ours == checksum => {}
                Some(_) => schema.altered.push(name(version, &description)),
                None => schema.later.push(name(version, &description)),
            }
        }
        let missing = known.iter().map(|(version, (description, _))| name(*version, description));
        schema.missing = missing.collect();
        schema
    }
}

/// The price of a part to recipients whose number begins with `prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateRow {
    pub currency: String,
    /// Digits after the plus; empty = the default.
    pub prefix: String,
    pub part_price_micros: i64,
}

/// A call that makes a client, by its idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    pub key: String,
    pub fingerprint: Fingerprint,
}

/// What became of a call that makes a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    New,
    /// The key was used before, with this fingerprint, and made this client.
    Before(Box<Client>, Fingerprint),
}

/// A page of a list that is filtered while it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned<T, C> {
    pub items: Vec<T>,
    /// The last row that was looked at, when the scan ended before the end of the list and before the page was
    /// full; `None` = the page is full, or the list ends with it.
    pub scanned_to: Option<C>,
}

/// Which clients to list. Empty and `None` = all.
#[derive(Clone, Debug, Default)]
pub struct ClientFilter {
    pub state: Option<ClientState>,
    pub name_prefix: String,
}

/// Which dead letters to list. Empty and `None` = all.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    pub client: Option<ClientId>,
    pub provider: String,
    pub reason: Option<FailureReason>,
    /// Included.
    pub ended_from: Option<Timestamp>,
    /// Not included.
    pub ended_before: Option<Timestamp>,
    /// Only those that were not replayed.
    pub open_only: bool,
}

/// A report in the inbox that no message is known for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmatchedReport {
    /// Its row in the inbox.
    pub id: i64,
    pub provider: String,
    pub report: ProviderReport,
    pub stored_at: Timestamp,
}

/// Which audit entries to list. Empty and `None` = all.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub key_id: String,
    pub client: Option<ClientId>,
    pub action: String,
}
