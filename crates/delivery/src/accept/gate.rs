//! The front of accept: settings, the limiter, the batcher, and what sandbox clients may provoke.

mod limit;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use message::id::{ClientId, Entropy};
use message::parts::ReferenceBits;
use provider::magic::{self, Refusal};
use routing::rates::RateTable;
use routing::route::ProviderEntry;
use tokio::time::Instant;

use self::limit::Passage;
use super::batcher::Answer;
use super::decide::Submission;
use super::prepare::{self, Prepared, SendRequest, Setting};
use super::preview::{self, Preview, PreviewRequest};
use super::quote::{self, Line, QuoteRequest};
use super::{AcceptError, Acceptor, Receipt};
use crate::model::{Client, IdempotencyKey, KeyKind, Made};
use crate::port::{Limiter, Store, StoreError};

/// How long a client's settings are believed. The transaction checks again whatever refuses a send.
const CLIENT_LIFETIME: Duration = Duration::from_secs(5);
/// Clients read at once, at most.
const READERS: usize = 16;
/// Clients remembered at most.
const CLIENTS_MAX: usize = 10_000;

/// What happens to a send when the client's rate is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverRate {
    /// It is refused, with the time to come back.
    Refuse,
    /// It waits for its turn.
    Wait,
}

/// A send that was handed over: its answer comes. Dropped, it is decided all the same.
pub struct Pending {
    answer: Awaited,
    /// Whose rate it has taken, and how much.
    metered: Option<(ClientId, u32)>,
    provoked: Option<Refusal>,
}

enum Awaited {
    Decision(Answer),
    Replay(Box<Receipt>),
}

/// A send that the limiter has let through, or whose answer is known already: what is left is to hand it over.
pub struct Asked(Passed);

enum Passed {
    Submission {
        submission: Box<Submission>,
        /// Whose rate it has taken, and how much.
        metered: Option<(ClientId, u32)>,
        provoked: Option<Refusal>,
    },
    Replay(Box<Receipt>),
}

impl Pending {
    fn replayed(receipt: Box<Receipt>) -> Self {
        Self { answer: Awaited::Replay(receipt), metered: None, provoked: None }
    }

    /// The answer: when it is `Ok`, the message is committed.
    pub async fn finish(self, gate: &Gate) -> Result<Receipt, AcceptError> {
        let result = match self.answer {
            Awaited::Decision(answer) => answer.wait().await,
            Awaited::Replay(receipt) => return Ok(*receipt),
        };
        let is_new = matches!(&result, Ok(receipt) if !receipt.is_replay);
        if !is_new {
            gate.give_back(self.metered);
        }
        match result {
            // The message is committed, and its first caller is told that nobody knows.
            Ok(receipt) if is_new && self.provoked == Some(Refusal::OutcomeUncertainOnce) => {
                tracing::debug!(message.id = %receipt.message.record.key.id, "a sandbox answer is withheld");
                Err(AcceptError::Uncertain(None))
            }
            result => result,
        }
    }
}

/// Takes sends.
pub struct Gate {
    store: Arc<dyn Store>,
    limiter: Arc<dyn Limiter>,
    acceptor: Acceptor,
    rates: RwLock<Arc<RateTable>>,
    providers: Vec<ProviderEntry>,
    reference_bits: ReferenceBits,
    clients: Mutex<HashMap<ClientId, (Instant, Arc<Client>)>>,
    /// Many calls of a client that is not remembered read it once, and go on in the order in which they came. Clients share them.
    reading: [tokio::sync::Mutex<()>; READERS],
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
        let (clients, reading) = Default::default();
        Self { store, limiter, acceptor, rates, providers, reference_bits, clients, reading }
    }

    /// Puts new rates in force for sends from now on.
    pub fn set_rates(&self, rates: RateTable) {
        *self.rates.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rates);
    }

    /// Accepts one send. `entropy` makes its id. When this answers `Ok` the message survives every crash.
    pub async fn send(
        &self,
        client: ClientId,
        request: &SendRequest,
        entropy: Entropy,
    ) -> Result<Receipt, AcceptError> {
        self.begin(client, request, entropy, OverRate::Refuse).await?.finish(self).await
    }

    /// What a send would come to, without doing it.
    pub async fn preview(
        &self,
        client: ClientId,
        request: &PreviewRequest,
    ) -> Result<(Preview, Arc<Client>), AcceptError> {
        let client = self.client(client).await?;
        let rates = self.rates();
        Ok((preview::preview(&client, self.setting(&rates), request)?, client))
    }

    /// What a campaign costs: the parts of each message and a line for each recipient.
    pub async fn quote(
        &self,
        client: ClientId,
        request: &QuoteRequest,
    ) -> Result<(u16, Vec<Line>), AcceptError> {
        let client = self.client(client).await?;
        let rates = self.rates();
        quote::quote(&client, self.setting(&rates), request)
    }

    /// Hands one send over, and answers when it will be decided in its turn. `over_rate` says what to do when the client's
    /// rate is used up.
    pub async fn begin(
        &self,
        client: ClientId,
        request: &SendRequest,
        entropy: Entropy,
        over_rate: OverRate,
    ) -> Result<Pending, AcceptError> {
        let asked = self.ask(client, request, entropy, over_rate).await?;
        self.hand_over(asked)
    }

    /// All that comes before a send is handed over: its settings, its checks, its rate. Several of one caller may be asked
    /// at once.
    pub async fn ask(
        &self,
        client: ClientId,
        request: &SendRequest,
        entropy: Entropy,
        over_rate: OverRate,
    ) -> Result<Asked, AcceptError> {
        let client = self.client(client).await?;
        let prepared = match self.prepare(&client, request) {
            Ok(prepared) => prepared,
            Err(error) => {
                let receipt = self.replay_or(&client, request, error).await?;
                return Ok(Asked(Passed::Replay(receipt)));
            }
        };
        let provoked = client.is_sandbox.then(|| magic::refusal(&prepared.to)).flatten();
        refuse_provoked(provoked, &client, &prepared)?;
        let submission = Submission { prepared, entropy, deed: None };
        self.ask_limiter(&client, submission, over_rate, provoked).await
    }

    /// What is handed over in turn is decided in that order.
    pub fn hand_over(&self, asked: Asked) -> Result<Pending, AcceptError> {
        match asked.0 {
            Passed::Replay(receipt) => Ok(Pending::replayed(receipt)),
            Passed::Submission { submission, metered, provoked } => match self.acceptor.accept(*submission) {
                Ok(answer) => Ok(Pending { answer: Awaited::Decision(answer), metered, provoked }),
                Err(error) => {
                    self.give_back(metered);
                    Err(error)
                }
            },
        }
    }

    fn prepare(&self, client: &Client, request: &SendRequest) -> Result<Prepared, AcceptError> {
        let rates = self.rates();
        prepare::prepare(client, self.setting(&rates), request)
    }

    pub(super) fn rates(&self) -> Arc<RateTable> {
        self.rates.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn setting<'a>(&'a self, rates: &'a RateTable) -> Setting<'a> {
        Setting { rates, providers: &self.providers, reference_bits: self.reference_bits }
    }

    /// A remembered call is answered again, also where its request would be refused by now: rates and settings may
    /// have changed since.
    async fn replay_or(
        &self,
        client: &Client,
        request: &SendRequest,
        error: AcceptError,
    ) -> Result<Box<Receipt>, AcceptError> {
        if !prepare::is_idempotency_key(&request.idempotency_key) {
            return Err(error);
        }
        let key =
            IdempotencyKey { client: client.id, kind: KeyKind::Send, key: request.idempotency_key.clone() };
        let first = crash_point!("gate.remembered", self.store.remembered(&key)).await;
        let Some(first) = first.map_err(AcceptError::Store)? else { return Err(error) };
        let now = crash_point!("gate.now", self.store.now()).await.map_err(AcceptError::Store)?;
        let is_live = now.since(first.created_at) < self.acceptor.key_lifetime();
        let is_same = first.fingerprint == prepare::fingerprint(client.id, request);
        match first.made {
            Made::Message(id) if is_live && is_same => {
                let receipt = self.first_receipt(client.id, id).await?;
                receipt.ok_or(AcceptError::Uncertain(None))
            }
            _ => Err(error),
        }
    }

    pub(super) async fn ask_limiter(
        &self,
        client: &Client,
        submission: Submission,
        over_rate: OverRate,
        provoked: Option<Refusal>,
    ) -> Result<Asked, AcceptError> {
        let metered = match self.pass_limiter(client, &submission.prepared, over_rate).await? {
            Passage::Metered => Some((client.id, u32::from(submission.prepared.part_count))),
            Passage::Free => None,
            Passage::Replay(receipt) => return Ok(Asked(Passed::Replay(receipt))),
        };
        Ok(Asked(Passed::Submission { submission: Box::new(submission), metered, provoked }))
    }

    /// Replays and refusals cost no rate.
    fn give_back(&self, metered: Option<(ClientId, u32)>) {
        if let Some((client, parts)) = metered {
            self.limiter.give_back(client, parts);
        }
    }

    /// Reads the client's settings anew at its next call.
    pub fn forget(&self, client: ClientId) {
        self.remembered_clients().remove(&client);
    }

    pub(super) async fn client(&self, id: ClientId) -> Result<Arc<Client>, AcceptError> {
        if let Some(client) = self.remembered_client(id) {
            return Ok(client);
        }
        let _reading = self.reading[usize::from(id.as_uuid().as_bytes()[15]) % READERS].lock().await;
        if let Some(client) = self.remembered_client(id) {
            return Ok(client);
        }
        let read = crash_point!("gate.client", self.store.client(id)).await.map_err(AcceptError::Store)?;
        let (client, _) = read.ok_or(AcceptError::NoSuchClient)?;
        let client = Arc::new(client);
        let mut clients = self.remembered_clients();
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        clients.insert(id, (Instant::now(), client.clone()));
        Ok(client)
    }

    fn remembered_client(&self, id: ClientId) -> Option<Arc<Client>> {
        let clients = self.remembered_clients();
        let (read_at, client) = clients.get(&id)?;
        (read_at.elapsed() < CLIENT_LIFETIME).then(|| client.clone())
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
    let rows = crash_point!("gate.rates", store.rates()).await?;
    let rows = rows.into_iter().map(|row| (row.currency, row.prefix, row.part_price_micros));
    RateTable::new(rows).map_err(|error| StoreError::Refused(Box::new(error)))
}
