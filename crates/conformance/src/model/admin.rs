//! Operators' verbs.

use async_trait::async_trait;
use delivery::model::{ApiKey, Client, ClientState, Head};
use delivery::port::{AdminStore, Checkpoint, RateRow, StoreError};
use ledger::Balance;
use message::Timestamp;
use message::id::ClientId;

use super::{ModelStore, check, first, refused};

#[async_trait]
impl AdminStore for ModelStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.tick())
    }

    async fn create_client(&self, client: &Client) -> Result<(), StoreError> {
        self.transact(|state, _| {
            check::client(client)?;
            if state.clients.insert(client.id, client.clone()).is_some() {
                return Err(refused("the client is there already"));
            }
            let head = Head { balance: Balance::default(), last_seq: 0, oldest_seq: 1 };
            state.heads.insert(client.id, head);
            state.checkpoints.insert(client.id, Checkpoint::default());
            Ok(())
        })
        .await
    }

    async fn set_client_state(
        &self,
        id: ClientId,
        client_state: ClientState,
        reason: &str,
    ) -> Result<bool, StoreError> {
        self.transact(|state, _| {
            let Some(client) = state.clients.get_mut(&id) else { return Ok(false) };
            client.state = client_state;
            reason.clone_into(&mut client.suspend_reason);
            Ok(true)
        })
        .await
    }

    async fn clients(&self, after: Option<ClientId>, limit: i64) -> Result<Vec<Client>, StoreError> {
        let state = self.state();
        let clients = state.clients.values().filter(|client| after.is_none_or(|after| client.id > after));
        Ok(first(clients.cloned(), limit))
    }

    async fn create_api_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        self.transact(|state, _| {
            if key.client.is_some_and(|client| !state.clients.contains_key(&client)) {
                return Err(refused("no such client"));
            }
            match state.api_keys.insert(key.id.clone(), key.clone()) {
                Some(_) => Err(refused("the key is there already")),
                None => Ok(()),
            }
        })
        .await
    }

    async fn api_key(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        Ok(self.state().api_keys.get(id).cloned())
    }

    async fn has_operator_key(&self) -> Result<bool, StoreError> {
        Ok(self.state().api_keys.values().any(|key| key.client.is_none()))
    }

    async fn revoke_api_key(&self, id: &str) -> Result<bool, StoreError> {
        self.transact(|state, now| {
            let Some(key) = state.api_keys.get_mut(id) else { return Ok(false) };
            key.revoked_at = key.revoked_at.or(Some(now));
            Ok(true)
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

    async fn put_rates(&self, rates: &[RateRow]) -> Result<(), StoreError> {
        self.transact(|state, _| {
            for rate in rates {
                if rate.part_price_micros < 0 {
                    return Err(refused("a price is not negative"));
                }
                state.rates.insert((rate.currency.clone(), rate.prefix.clone()), rate.part_price_micros);
            }
            Ok(())
        })
        .await
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

    async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        Ok(if self.state().is_migrated { Vec::new() } else { vec!["0001 core".to_owned()] })
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
