//! Operators' credit movements: each is booked once per key.

use ledger::{Balance, LedgerError, Movement};
use message::event::{Event, EventType};
use message::fingerprint::Fingerprint;
use message::id::ClientId;

use crate::book::{Book, Entry};
use crate::model::{AuditEntry, IdempotencyKey, KeyKind, Made, RememberedCall};
use crate::plan::Wanted;
use crate::port::{Bell, Store, StoreError};
use crate::timing::Timing;

/// Tries of a transaction that loses against another.
const TRIES: u32 = 5;

/// A movement to book, whatever its kind.
pub(crate) struct Order<'a> {
    pub client: ClientId,
    /// As a guard: empty, or the client's.
    pub currency: &'a str,
    pub kind: KeyKind,
    pub key: &'a str,
    pub fingerprint: Fingerprint,
    pub event: EventType,
    pub note: &'a str,
    /// Written with the movement; `None` = nobody's deed.
    pub audit: Option<&'a AuditEntry>,
}

/// The event that tells of the movement.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    pub event: Event,
    pub currency: String,
    pub is_replay: bool,
}

/// Why a movement is refused; nothing was booked.
#[derive(Debug, thiserror::Error)]
pub enum CreditError {
    #[error("no such client")]
    NoSuchClient,
    #[error("the client's currency is {0}")]
    CurrencyMismatch(String),
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The movement does not fit the balance, which is in this currency.
    #[error("the balance does not allow it")]
    Ledger { currency: String, source: LedgerError },
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// Books the order, or answers the first one again. `movement` decides on the balance.
pub(crate) async fn book(
    store: &dyn Store,
    bell: &dyn Bell,
    timing: &Timing,
    order: &Order<'_>,
    movement: impl Fn(Balance) -> Result<(Balance, Movement), LedgerError> + Send + Sync,
) -> Result<Receipt, CreditError> {
    let mut tries = 1;
    loop {
        match book_once(store, bell, timing, order, &movement).await {
            Err(CreditError::Store(StoreError::Conflict)) if tries < TRIES => tries += 1,
            done => return done,
        }
    }
}

async fn book_once(
    store: &dyn Store,
    bell: &dyn Bell,
    timing: &Timing,
    order: &Order<'_>,
    movement: &(impl Fn(Balance) -> Result<(Balance, Movement), LedgerError> + Send + Sync),
) -> Result<Receipt, CreditError> {
    let client = order.client;
    let key = IdempotencyKey { client, kind: order.kind, key: order.key.to_owned() };
    let wanted = Wanted { clients: [client].into(), keys: [key.clone()].into(), ..Wanted::default() };
    let mut tx = store.begin().await?;
    let mut loaded = tx.load(&wanted).await?;
    let mut book = Book::open(&mut loaded);
    let Some((settings, _)) = book.clients.get(&client) else { return Err(CreditError::NoSuchClient) };
    let currency = settings.currency.clone();
    if let Some(first) = loaded.keys.get(&key)
        && book.now.since(first.created_at) < timing.key_lifetime
    {
        drop(tx);
        return replay(store, first, order.fingerprint, currency).await;
    }
    if !order.currency.is_empty() && order.currency != currency {
        return Err(CreditError::CurrencyMismatch(currency));
    }
    let moved = movement(book.balance(client));
    let (balance, movement) =
        moved.map_err(|source| CreditError::Ledger { currency: currency.clone(), source })?;
    let entry = Entry {
        kind: order.event,
        previous_seq: 0,
        report: None,
        movement: Some((movement, None, order.note.to_owned())),
    };
    let seq = book.append(client, balance, entry);
    let created_at = book.now;
    let made = Made::Event(seq);
    book.plan.keys.push(RememberedCall { key, fingerprint: order.fingerprint, made, created_at });
    book.plan.audit_entries.extend(order.audit.cloned());
    let (plan, rings) = book.close();
    tx.write(&plan).await?;
    tx.commit().await?;
    bell.ring(&rings).await;
    let event = plan.events.into_iter().next_back().ok_or(CreditError::NoSuchClient)?;
    Ok(Receipt { event, currency, is_replay: false })
}

async fn replay(
    store: &dyn Store,
    first: &RememberedCall,
    fingerprint: Fingerprint,
    currency: String,
) -> Result<Receipt, CreditError> {
    let Made::Event(seq) = first.made else { return Err(CreditError::KeyReused) };
    if first.fingerprint != fingerprint {
        return Err(CreditError::KeyReused);
    }
    let page = store.events(first.key.client, seq - 1, 1).await?;
    let event = page.events.into_iter().find(|event| event.seq == seq);
    let event = event.ok_or_else(|| StoreError::Refused("the event of a remembered call is gone".into()))?;
    Ok(Receipt { event, currency, is_replay: true })
}
