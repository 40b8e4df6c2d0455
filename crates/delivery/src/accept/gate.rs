//! The front of accept: settings, the limiter, the batcher, and what sandbox clients may provoke.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use message::id::{ClientId, Entropy};
use message::parts::ReferenceBits;
use provider::magic::{self, Refusal};
use routing::rates::RateTable;
use routing::route::ProviderEntry;
use tokio::time::Instant;

use super::decide::Submission;
use super::prepare::{self, Prepared, SendRequest, Setting};
use super::{AcceptError, Acceptor, Receipt};
use crate::model::Client;
use crate::port::{Limiter, RateDecision, Store, StoreError};

/// How long a client's settings are believed. The transaction checks again whatever refuses a send.
const CLIENT_LIFETIME: Duration = Duration::from_secs(5);
/// Clients remembered at most.
const CLIENTS_MAX: usize = 10_000;

/// Takes sends.
pub struct Gate {
    store: Arc<dyn Store>,
    limiter: Arc<dyn Limiter>,
    acceptor: Acceptor,
    rates: RwLock<Arc<RateTable>>,
    providers: Vec<ProviderEntry>,
    reference_bits: ReferenceBits,
    clients: Mutex<HashMap<ClientId, (Instant, Arc<Client>)>>,
}

impl Gate {
    pub fn new(
        store: Arc<dyn Store>,
        limiter: Arc<dyn Limiter>,
        acceptor: Acceptor,
        rates: RateTable,
        providers: Vec<ProviderEntry>,
        reference_bits: ReferenceBits,
    ) -> Self {
        let rates = RwLock::new(Arc::new(rates));
        Self { store, limiter, acceptor, rates, providers, reference_bits, clients: Mutex::default() }
    }

    /// Puts new rates in force for sends from now on.
    pub fn set_rates(&self, rates: RateTable) {
        *self.rates.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rates);
    }

    /// Accepts one send. `entropy` makes its id. When this answers `Ok` the message survives every crash.
    pub async fn send(
        &self,
        client: ClientId,
        request: SendRequest,
        entropy: Entropy,
    ) -> Result<Receipt, AcceptError> {
        let client = self.client(client).await?;
        let rates = self.rates.read().unwrap_or_else(PoisonError::into_inner).clone();
        let setting =
            Setting { rates: &rates, providers: &self.providers, reference_bits: self.reference_bits };
        let prepared = prepare::prepare(&client, setting, request)?;
        let provoked = client.is_sandbox.then(|| magic::refusal(&prepared.to)).flatten();
        refuse_provoked(provoked, &client, &prepared)?;
        let parts = u32::from(prepared.part_count);
        let is_metered = self.pass_limiter(&client, &prepared).await?;
        let result = self.acceptor.accept(Submission { prepared, entropy }).await;
        let is_new = matches!(&result, Ok(receipt) if !receipt.is_replay);
        if is_metered && !is_new {
            // Replays and refusals cost no rate.
            self.limiter.give_back(client.id, parts).await;
        }
        match result {
            // The message is committed, and its first caller is told that nobody knows.
            Ok(receipt) if is_new && provoked == Some(Refusal::OutcomeUncertainOnce) => {
                tracing::debug!(message.id = %receipt.message.record.key.id, "a sandbox answer is withheld");
                Err(AcceptError::Uncertain(None))
            }
            result => result,
        }
    }

    /// `true` = tokens were taken. Without tokens, a key that is remembered still passes: its replay is free.
    async fn pass_limiter(&self, client: &Client, prepared: &Prepared) -> Result<bool, AcceptError> {
        let per_second = u32::try_from(client.parts_per_second).unwrap_or(0);
        if per_second == 0 {
            return Ok(false);
        }
        let burst = u32::try_from(client.burst_parts).unwrap_or(0).max(1);
        let parts = u32::from(prepared.part_count);
        match self.limiter.take(client.id, parts, per_second, burst).await {
            RateDecision::Ok => Ok(true),
            RateDecision::RetryAfter(_) if self.is_remembered(prepared).await? => Ok(false),
            RateDecision::RetryAfter(retry_after) => {
                Err(AcceptError::RateLimited { retry_after, parts_per_second: per_second })
            }
        }
    }

    async fn is_remembered(&self, prepared: &Prepared) -> Result<bool, AcceptError> {
        let Some(key) = prepared.key() else { return Ok(false) };
        Ok(self.store.remembered(&key).await.map_err(AcceptError::Store)?.is_some())
    }

    async fn client(&self, id: ClientId) -> Result<Arc<Client>, AcceptError> {
        if let Some((read_at, client)) = self.remembered_clients().get(&id)
            && read_at.elapsed() < CLIENT_LIFETIME
        {
            return Ok(client.clone());
        }
        let read = self.store.client(id).await.map_err(AcceptError::Store)?;
        let (client, _) = read.ok_or(AcceptError::NoSuchClient)?;
        let client = Arc::new(client);
        let mut clients = self.remembered_clients();
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        clients.insert(id, (Instant::now(), client.clone()));
        Ok(client)
    }

    fn remembered_clients(&self) -> std::sync::MutexGuard<'_, HashMap<ClientId, (Instant, Arc<Client>)>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refuse_provoked(
    provoked: Option<Refusal>,
    client: &Client,
    prepared: &Prepared,
) -> Result<(), AcceptError> {
    match provoked {
        Some(Refusal::InsufficientCredit) => Err(AcceptError::InsufficientCredit {
            need_micros: prepared.price_micros,
            available_micros: 0,
            currency: client.currency.clone(),
        }),
        Some(Refusal::RateLimited { retry_after }) => {
            Err(AcceptError::RateLimited { retry_after, parts_per_second: 1 })
        }
        _ => Ok(()),
    }
}

/// Reads the rates into a table.
pub async fn read_rates(store: &dyn Store) -> Result<RateTable, StoreError> {
    let rows = store.rates().await?;
    let rows = rows.into_iter().map(|row| (row.currency, row.prefix, row.part_price_micros));
    RateTable::new(rows).map_err(|error| StoreError::Refused(Box::new(error)))
}
