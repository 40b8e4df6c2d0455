//! Top-up: adds prepaid credit, once per key.

use ledger::LedgerError;
use message::event::{Event, EventType};
use message::fingerprint::Fingerprint;
use message::id::ClientId;

use crate::book::{Book, Entry};
use crate::model::{IdempotencyKey, KeyKind, Made, RememberedCall};
use crate::plan::Wanted;
use crate::port::{Bell, Store, StoreError};
use crate::timing::Timing;

/// Tries of a transaction that loses against another.
const TRIES: u32 = 5;

/// A valid request.
#[derive(Clone, Debug)]
pub struct TopUp {
    pub client: ClientId,
    /// Above zero.
    pub amount_micros: i64,
    /// As a guard: empty, or the client's.
    pub currency: String,
    pub idempotency_key: String,
    pub note: String,
}

/// The event that tells of the top-up.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    pub event: Event,
    pub currency: String,
    pub is_replay: bool,
}

/// Why a top-up is refused; nothing was booked.
#[derive(Debug, thiserror::Error)]
pub enum TopUpError {
    #[error("no such client")]
    NoSuchClient,
    #[error("the client's currency is {0}")]
    CurrencyMismatch(String),
    #[error("the idempotency key was used for another request")]
    KeyReused,
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// Books a top-up, or answers the first one again.
pub async fn top_up(
    store: &dyn Store,
    bell: &dyn Bell,
    timing: &Timing,
    request: &TopUp,
) -> Result<Receipt, TopUpError> {
    let mut tries = 1;
    loop {
        match top_up_once(store, bell, timing, request).await {
            Err(TopUpError::Store(StoreError::Conflict)) if tries < TRIES => tries += 1,
            done => return done,
        }
    }
}

async fn top_up_once(
    store: &dyn Store,
    bell: &dyn Bell,
    timing: &Timing,
    request: &TopUp,
) -> Result<Receipt, TopUpError> {
    let key =
        IdempotencyKey { client: request.client, kind: KeyKind::TopUp, key: request.idempotency_key.clone() };
    let fingerprint = Fingerprint::builder("top_up.v1")
        .int("amount_micros", request.amount_micros)
        .field("note", request.note.as_bytes())
        .finish();
    let wanted = Wanted { clients: [request.client].into(), keys: [key.clone()].into(), ..Wanted::default() };
    let mut tx = store.begin().await?;
    let mut loaded = tx.load(&wanted).await?;
    let mut book = Book::open(&mut loaded);
    let Some((client, _)) = book.clients.get(&request.client) else { return Err(TopUpError::NoSuchClient) };
    let currency = client.currency.clone();
    if let Some(first) = loaded.keys.get(&key)
        && book.now.since(first.created_at) < timing.key_lifetime
    {
        drop(tx);
        return replay(store, first, fingerprint, currency).await;
    }
    if !request.currency.is_empty() && request.currency != currency {
        return Err(TopUpError::CurrencyMismatch(currency));
    }
    let (balance, movement) = book.balance(request.client).top_up(request.amount_micros)?;
    let entry = Entry {
        kind: EventType::CreditToppedUp,
        previous_seq: 0,
        report: None,
        movement: Some((movement, None, request.note.clone())),
    };
    let seq = book.append(request.client, balance, entry);
    book.plan.keys.push(RememberedCall { key, fingerprint, made: Made::Event(seq), created_at: book.now });
    let (plan, rings) = book.close();
    tx.write(&plan).await?;
    tx.commit().await?;
    bell.ring(&rings).await;
    let event = plan.events.into_iter().next_back().ok_or(TopUpError::NoSuchClient)?;
    Ok(Receipt { event, currency, is_replay: false })
}

async fn replay(
    store: &dyn Store,
    first: &RememberedCall,
    fingerprint: Fingerprint,
    currency: String,
) -> Result<Receipt, TopUpError> {
    let Made::Event(seq) = first.made else { return Err(TopUpError::KeyReused) };
    if first.fingerprint != fingerprint {
        return Err(TopUpError::KeyReused);
    }
    let page = store.events(first.key.client, seq - 1, 1).await?;
    let event = page.events.into_iter().find(|event| event.seq == seq);
    let event = event.ok_or_else(|| StoreError::Refused("the event of a remembered call is gone".into()))?;
    Ok(Receipt { event, currency, is_replay: true })
}
