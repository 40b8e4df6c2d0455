//! From the key in a call to its principal, without letting strangers buy CPU.
//!
//! Order: form and checksum; the failure limiter of the source address; the row by key id; the keyed fingerprint;
//! the cache; bcrypt, once per key and node, on a blocking thread and a few at a time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use delivery::model::ApiKey;
use delivery::port::{Store, StoreError};
use message::Timestamp;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Principal, key};

/// How long a row is believed: a revocation reaches this node within it.
const ROW_LIFETIME: Duration = Duration::from_secs(5);
/// Rows, verified fingerprints and source addresses remembered at most.
const REMEMBERED_MAX: usize = 10_000;
/// Failures that a source address may make at once, and how fast they are forgiven.
const FAILURES_BURST: f64 = 20.0;
const FAILURES_PER_SECOND: f64 = 1.0;
/// bcrypts at once, and calls that may wait for one.
const HASHES: usize = 2;
const HASHES_WAITING: usize = 64;

/// Verifies keys.
pub struct Authenticator {
    store: Arc<dyn Store>,
    pepper: [u8; 32],
    rows: Mutex<HashMap<String, Remembered>>,
    failures: Mutex<HashMap<IpAddr, Failures>>,
    hashes: Semaphore,
    waiting: Semaphore,
    /// The bcrypt cost of new keys.
    pub cost: u32,
}

#[derive(Clone)]
struct Remembered {
    read_at: Instant,
    /// The database's time at the read.
    now: Timestamp,
    /// `None` = there is no such key.
    row: Option<Arc<ApiKey>>,
    /// bcrypt has agreed to this fingerprint.
    is_verified: bool,
}

struct Failures {
    tokens: f64,
    filled_at: Instant,
}

/// Why a caller is turned away.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Unknown, malformed, revoked and expired look the same.
    #[error("the API key is not valid")]
    Invalid,
    #[error("too many wrong keys from this address, or too many keys at once")]
    Overloaded,
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Authenticator {
    pub fn new(store: Arc<dyn Store>, pepper: [u8; 32], cost: u32) -> Self {
        Self {
            store,
            pepper,
            rows: Mutex::default(),
            failures: Mutex::default(),
            hashes: Semaphore::new(HASHES),
            waiting: Semaphore::new(HASHES + HASHES_WAITING),
            cost,
        }
    }

    pub fn pepper(&self) -> &[u8; 32] {
        &self.pepper
    }

    /// The principal of a key that came from `source`.
    pub async fn verify(&self, presented: &str, source: Option<IpAddr>) -> Result<Principal, AuthError> {
        let result = self.check(presented, source).await;
        if let (Err(AuthError::Invalid), Some(source)) = (&result, source) {
            metrics::counter!("herald_auth_failures_total").increment(1);
            self.note_failure(source);
        }
        result
    }

    /// Whether the key of an open stream is still good.
    pub async fn is_still_valid(&self, principal: &Principal) -> Result<bool, AuthError> {
        let remembered = self.row(&principal.key_id).await?;
        Ok(remembered.row.as_ref().is_some_and(|row| is_live(row, &remembered)))
    }

    async fn check(&self, presented: &str, source: Option<IpAddr>) -> Result<Principal, AuthError> {
        let parsed = key::parse(presented).ok_or(AuthError::Invalid)?;
        if source.is_some_and(|source| self.has_failed_too_often(source)) {
            return Err(AuthError::Overloaded);
        }
        let remembered = self.row(parsed.id).await?;
        let row = remembered.row.clone().ok_or(AuthError::Invalid)?;
        let fingerprint = parsed.fingerprint(&self.pepper);
        let is_same: bool = fingerprint.as_slice().ct_eq(&row.fingerprint).into();
        if !is_same || !is_live(&row, &remembered) {
            return Err(AuthError::Invalid);
        }
        if !remembered.is_verified {
            self.verify_hash(presented, &row).await?;
        }
        Ok(Principal {
            key_id: row.id.clone(),
            owner: row.client,
            scopes: row.scopes.clone(),
            acting_for: None,
        })
    }

    async fn verify_hash(&self, presented: &str, row: &ApiKey) -> Result<(), AuthError> {
        let _place = self.waiting.try_acquire().map_err(|_| AuthError::Overloaded)?;
        let _turn = self.hashes.acquire().await.map_err(|_| AuthError::Overloaded)?;
        metrics::counter!("herald_key_hashes_total").increment(1);
        let (presented, hash) = (presented.to_owned(), row.secret_hash.clone());
        let verified = tokio::task::spawn_blocking(move || {
            key::parse(&presented).is_some_and(|parsed| parsed.matches(&hash))
        });
        if !verified.await.unwrap_or(false) {
            return Err(AuthError::Invalid);
        }
        if let Some(remembered) = self.rows().get_mut(&row.id) {
            remembered.is_verified = true;
        }
        Ok(())
    }

    async fn row(&self, id: &str) -> Result<Remembered, AuthError> {
        let before = self.rows().get(id).cloned();
        if let Some(remembered) = &before
            && remembered.read_at.elapsed() < ROW_LIFETIME
        {
            return Ok(remembered.clone());
        }
        let row = self.store.api_key(id).await?.map(Arc::new);
        let now = self.store.now().await?;
        // The same row with the same hash stays verified.
        let is_verified = before.is_some_and(|before| {
            before.is_verified
                && before.row.zip(row.clone()).is_some_and(|(old, new)| old.fingerprint == new.fingerprint)
        });
        let remembered = Remembered { read_at: Instant::now(), now, row, is_verified };
        let mut rows = self.rows();
        if rows.len() >= REMEMBERED_MAX {
            rows.retain(|_, remembered| remembered.read_at.elapsed() < ROW_LIFETIME && remembered.row.is_some());
            if rows.len() >= REMEMBERED_MAX {
                rows.clear();
            }
        }
        rows.insert(id.to_owned(), remembered.clone());
        Ok(remembered)
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_failed_too_often(&self, source: IpAddr) -> bool {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get_mut(&source).is_some_and(|failures| failures.fill() < 1.0)
    }

    fn note_failure(&self, source: IpAddr) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= REMEMBERED_MAX {
            failures.retain(|_, failures| failures.fill() < FAILURES_BURST);
        }
        let fresh = Failures { tokens: FAILURES_BURST, filled_at: Instant::now() };
        let failures = failures.entry(source).or_insert(fresh);
        failures.fill();
        failures.tokens = (failures.tokens - 1.0).max(0.0);
    }
}

impl Failures {
    fn fill(&mut self) -> f64 {
        let gained = self.filled_at.elapsed().as_secs_f64() * FAILURES_PER_SECOND;
        self.tokens = (self.tokens + gained).min(FAILURES_BURST);
        self.filled_at = Instant::now();
        self.tokens
    }
}

/// Judged by the database's time, carried on from the read by a monotonic clock.
fn is_live(row: &ApiKey, remembered: &Remembered) -> bool {
    let now = remembered.now + remembered.read_at.elapsed();
    row.revoked_at.is_none() && row.expire_at.is_none_or(|expire_at| now < expire_at)
}
