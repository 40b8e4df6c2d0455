//! Operators' verbs. Each is one transaction with its entry in the audit log.

use async_trait::async_trait;
use delivery::model::{ApiKey, AuditEntry, Client, DeadLetter, Message, MessageKey, ProviderKey, Retention};
use delivery::port::{
    AdminStore, AuditFilter, ClientFilter, Created, Creation, DeadLetterFilter, RateRow, Scanned, Schema,
    StoreError, UnmatchedReport,
};
use message::Timestamp;
use message::id::{AuditEntryId, ClientId, MessageId};

use super::{ModelStore, check, first, keys};

#[async_trait]
impl AdminStore for ModelStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.tick())
    }

    async fn create_client(
        &self,
        client: &Client,
        creation: Option<&Creation>,
        entry: &AuditEntry,
    ) -> Result<Created, StoreError> {
        self.transact(|state, _| {
            let created = state.create_client(client, creation)?;
            if created == Created::New {
                state.record(entry)?;
            }
            Ok(created)
        })
        .await
    }

    async fn update_client(&self, client: &Client, entry: &AuditEntry) -> Result<bool, StoreError> {
        self.transact(|state, _| {
            let is_there = state.update_client(client)?;
            if is_there {
                state.record(entry)?;
            }
            Ok(is_there)
        })
        .await
    }

    async fn clients(
        &self,
        filter: &ClientFilter,
        after: Option<ClientId>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<Client, ClientId>, StoreError> {
        Ok(self.state().list_clients(filter, after, limit, scan))
    }

    async fn create_api_key(&self, key: &ApiKey, entry: &AuditEntry) -> Result<(), StoreError> {
        self.transact(|state, _| {
            state.create_api_key(key)?;
            state.record(entry)
        })
        .await
    }

    async fn api_key(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        Ok(self.state().api_keys.get(id).cloned())
    }

    async fn api_keys(
        &self,
        client: Option<ClientId>,
        after: &str,
        limit: i64,
    ) -> Result<Vec<ApiKey>, StoreError> {
        let state = self.state();
        let keys = state.api_keys.values().filter(|key| key.id.as_str() > after);
        Ok(first(keys.filter(|key| client.is_none() || key.client == client).cloned(), limit))
    }

    async fn has_operator_key(&self) -> Result<bool, StoreError> {
        Ok(self.state().api_keys.values().any(|key| key.client.is_none()))
    }

    async fn rotate_api_key(
        &self,
        old: &str,
        end_at: Timestamp,
        new: &ApiKey,
        entry: &AuditEntry,
    ) -> Result<Option<ApiKey>, StoreError> {
        self.transact(|state, _| {
            let ended = state.rotate_api_key(old, end_at, new)?;
            if ended.is_some() {
                state.record(entry)?;
            }
            Ok(ended)
        })
        .await
    }

    async fn revoke_api_key(&self, id: &str, entry: &AuditEntry) -> Result<Option<ApiKey>, StoreError> {
        self.transact(|state, now| {
            let Some(key) = state.api_keys.get_mut(id) else { return Ok(None) };
            let is_first = keys::revoke(&mut key.revoked_at, now);
            let key = key.clone();
            if is_first {
                state.record(entry)?;
            }
            Ok(Some(key))
        })
        .await
    }

    async fn touch_api_keys(&self, used: &[(String, Timestamp)]) -> Result<(), StoreError> {
        self.transact(|state, _| {
            state.touch_api_keys(used);
            Ok(())
        })
        .await
    }

    async fn create_provider_key(&self, key: &ProviderKey, entry: &AuditEntry) -> Result<(), StoreError> {
        self.transact(|state, _| {
            state.create_provider_key(key)?;
            state.record(entry)
        })
        .await
    }

    async fn provider_key(&self, id: &str) -> Result<Option<ProviderKey>, StoreError> {
        Ok(self.state().provider_keys.get(id).cloned())
    }

    async fn provider_keys(&self, limit: i64) -> Result<Vec<ProviderKey>, StoreError> {
        Ok(first(self.state().list_provider_keys().into_iter(), limit))
    }

    async fn revoke_provider_key(
        &self,
        id: &str,
        entry: &AuditEntry,
    ) -> Result<Option<ProviderKey>, StoreError> {
        self.transact(|state, now| {
            let Some(key) = state.provider_keys.get_mut(id) else { return Ok(None) };
            let is_first = keys::revoke(&mut key.revoked_at, now);
            let key = key.clone();
            if is_first {
                state.record(entry)?;
            }
            Ok(Some(key))
        })
        .await
    }

    async fn rates(&self) -> Result<Vec<RateRow>, StoreError> {
        let state = self.state();
        let row = |((currency, prefix), part_price_micros): (&(String, String), &i64)| RateRow {
            currency: currency.clone(),
            prefix: prefix.clone(),
            part_price_micros: *part_price_micros,
        };
        Ok(state.rates.iter().map(row).collect())
    }

    async fn put_rates(&self, rates: &[RateRow], entry: &AuditEntry) -> Result<(), StoreError> {
        self.transact(|state, _| {
            for rate in rates {
                check::rate(rate)?;
                state.rates.insert((rate.currency.clone(), rate.prefix.clone()), rate.part_price_micros);
            }
            state.record(entry)
        })
        .await
    }

    async fn delete_rates(&self, rates: &[RateRow], entry: &AuditEntry) -> Result<u64, StoreError> {
        self.transact(|state, _| {
            let names = rates.iter().map(|rate| (rate.currency.clone(), rate.prefix.clone()));
            let deleted = names.filter(|name| state.rates.remove(name).is_some()).count() as u64;
            if deleted > 0 {
                state.record(entry)?;
            }
            Ok(deleted)
        })
        .await
    }

    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        before: Option<(Timestamp, MessageKey)>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<(DeadLetter, Message), (Timestamp, MessageKey)>, StoreError> {
        Ok(self.state().list_dead_letters(filter, before, limit, scan))
    }

    async fn dead_letters_of(&self, ids: &[MessageId]) -> Result<Vec<(DeadLetter, Message)>, StoreError> {
        Ok(self.state().dead_letters_of(ids))
    }

    async fn unmatched_reports(
        &self,
        provider: &str,
        before: Option<i64>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<UnmatchedReport, i64>, StoreError> {
        Ok(self.state().list_unmatched(provider, before, limit, scan))
    }

    async fn retention(&self) -> Result<Retention, StoreError> {
        Ok(self.state().retention)
    }

    async fn set_retention(&self, retention: &Retention, entry: &AuditEntry) -> Result<(), StoreError> {
        self.transact(|state, _| {
            state.retention = *retention;
            state.record(entry)
        })
        .await
    }

    async fn record(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        self.transact(|state, _| state.record(entry)).await
    }

    async fn audit_entries(
        &self,
        filter: &AuditFilter,
        before: Option<AuditEntryId>,
        limit: i64,
        scan: i64,
    ) -> Result<Scanned<AuditEntry, AuditEntryId>, StoreError> {
        Ok(self.state().audit_entries(filter, before, limit, scan))
    }

    async fn secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.transact(|state, _| Ok(*state.secrets.entry(name.to_owned()).or_insert(fresh))).await
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        self.transact(|state, _| {
            state.is_migrated = true;
            Ok(())
        })
        .await
    }

    async fn renew_log_epoch(&self) -> Result<u64, StoreError> {
        self.transact(|state, _| {
            state.renewed_epochs += 1;
            Ok(1 + state.renewed_epochs)
        })
        .await
    }

    async fn schema(&self) -> Result<Schema, StoreError> {
        let missing = if self.state().is_migrated { Vec::new() } else { vec!["0001 core".to_owned()] };
        Ok(Schema { missing, ..Schema::default() })
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
