//! From the key in a call to its principal, without letting strangers buy CPU.
//!
//! Order: form and checksum; the failure limiter of the source address; the row by key id; the keyed fingerprint;
//! the cache; bcrypt, once per key and node, on a blocking thread and a few at a time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use delivery::model::{ApiKey, Scope};
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
    /// Held by the call that runs bcrypt: the others with the same key wait for its result.
    turn: Arc<tokio::sync::Mutex<()>>,
}

struct Failures {
    tokens: f64,
    filled_at: Instant,
}

/// Why a caller is turned away.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("the call has no API key")]
    Missing,
    /// Unknown, malformed, revoked and expired look the same.
    #[error("the API key is not valid")]
    Invalid,
    #[error("the API key lacks the scope {0}")]
    ScopeMissing(Scope),
    #[error("herald-client-id is not a client's id")]
    MalformedClientId,
    /// A client's key named another client.
    #[error("a client's key may not act for another client")]
    ActingNotAllowed,
    /// An operator's key called a client's method and named no client.
    #[error("an operator's key must name the client it acts for")]
    ClientNotNamed,
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
    pub async fn authenticate(
        &self,
        presented: &str,
        source: Option<IpAddr>,
    ) -> Result<Principal, AuthError> {
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
            let _turn = remembered.turn.lock().await;
            let is_verified = self.rows().get(&row.id).is_some_and(|now| now.is_verified_as(&row));
            if !is_verified {
                self.verify_hash(presented, &row).await?;
            }
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
        if let Some(remembered) = self.rows().get(id)
            && remembered.read_at.elapsed() < ROW_LIFETIME
        {
            return Ok(remembered.clone());
        }
        let row = self.store.api_key(id).await?.map(Arc::new);
        let now = self.store.now().await?;
        let mut rows = self.rows();
        if rows.len() >= REMEMBERED_MAX {
            rows.retain(|_, remembered| {
                remembered.read_at.elapsed() < ROW_LIFETIME && remembered.row.is_some()
            });
            if rows.len() >= REMEMBERED_MAX {
                rows.clear();
            }
        }
        // The same row with the same hash stays verified.
        let before = rows.get(id);
        let is_verified = before.zip(row.as_ref()).is_some_and(|(before, row)| before.is_verified_as(row));
        let turn = before.map(|before| before.turn.clone()).unwrap_or_default();
        let remembered = Remembered { read_at: Instant::now(), now, row, is_verified, turn };
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

impl Remembered {
    fn is_verified_as(&self, row: &ApiKey) -> bool {
        self.is_verified && self.row.as_ref().is_some_and(|read| read.fingerprint == row.fingerprint)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use delivery::model::{Client, ClientState};
    use delivery::port::AdminStore;
    use ledger::Policy;
    use message::id::{ClientId, Entropy};
    use message::status::OnUnknown;
    use store_sqlite::{Clock, SqliteStore};
    use tempfile::TempDir;

    use super::super::key::{IssuedKey, Secret};
    use super::*;

    const PEPPER: [u8; 32] = [7; 32];
    const SOURCE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    struct Fixture {
        _folder: TempDir,
        store: Arc<SqliteStore>,
        authenticator: Authenticator,
        client: ClientId,
    }

    impl Fixture {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("herald.db");
            let store = Arc::new(SqliteStore::open(&path, Clock::Database).await.unwrap());
            store.migrate().await.unwrap();
            let now = store.now().await.unwrap();
            let client = client(ClientId::new(now, Entropy([1; 10])), now);
            store.create_client(&client).await.unwrap();
            let authenticator = Authenticator::new(store.clone(), PEPPER, 4);
            Self { _folder: folder, store, authenticator, client: client.id }
        }

        async fn issue(&self, expire_at: Option<Timestamp>) -> (String, Secret) {
            let issued = IssuedKey::generate(true, &mut rand::rng());
            let row = ApiKey {
                id: issued.id.clone(),
                client: Some(self.client),
                name: "test".into(),
                scopes: vec![Scope::Read],
                secret_hash: issued.hash(4).unwrap(),
                fingerprint: issued.fingerprint(&PEPPER).to_vec(),
                created_at: self.store.now().await.unwrap(),
                expire_at,
                revoked_at: None,
            };
            self.store.create_api_key(&row).await.unwrap();
            (issued.id, issued.whole)
        }

        async fn authenticate(&self, key: &str) -> Result<Principal, AuthError> {
            self.authenticator.authenticate(key, SOURCE).await
        }

        /// As if the rows that this node remembers had been read long ago.
        fn age_rows(&self) {
            for row in self.authenticator.rows().values_mut() {
                row.read_at = row.read_at.checked_sub(ROW_LIFETIME).unwrap();
            }
        }
    }

    fn client(id: ClientId, now: Timestamp) -> Client {
        Client {
            id,
            name: "test".into(),
            state: ClientState::Active,
            suspend_reason: String::new(),
            currency: "USD".into(),
            is_sandbox: true,
            policy: Policy::default(),
            report_timeout: Duration::from_secs(1),
            on_unknown: OnUnknown::Wait,
            resend_after: Duration::from_secs(1),
            parts_per_second: 0,
            burst_parts: 0,
            default_sender: String::new(),
            max_parts: 10,
            created_at: now,
        }
    }

    #[tokio::test]
    async fn a_key_opens_its_own_client_and_a_changed_one_nothing() {
        let fixture = Fixture::new().await;
        let (id, key) = fixture.issue(None).await;
        let principal = fixture.authenticate(key.expose()).await.unwrap();
        assert_eq!((principal.key_id, principal.owner), (id, Some(fixture.client)));
        // Of the right form, with the id of a key that exists.
        let other = IssuedKey::generate(true, &mut rand::rng());
        for wrong in ["", "hk_x", other.whole.expose()] {
            assert!(matches!(fixture.authenticate(wrong).await, Err(AuthError::Invalid)), "{wrong}");
        }
    }

    #[tokio::test]
    async fn an_expired_key_is_refused() {
        let fixture = Fixture::new().await;
        let past = fixture.store.now().await.unwrap() - Duration::from_secs(1);
        let (_, key) = fixture.issue(Some(past)).await;
        assert!(matches!(fixture.authenticate(key.expose()).await, Err(AuthError::Invalid)));
    }

    #[tokio::test]
    async fn a_revoked_key_is_refused_once_the_remembered_row_is_old() {
        let fixture = Fixture::new().await;
        let (id, key) = fixture.issue(None).await;
        let principal = fixture.authenticate(key.expose()).await.unwrap();
        assert!(fixture.store.revoke_api_key(&id).await.unwrap());
        fixture.age_rows();
        assert!(matches!(fixture.authenticate(key.expose()).await, Err(AuthError::Invalid)));
        assert!(!fixture.authenticator.is_still_valid(&principal).await.unwrap());
    }

    #[tokio::test]
    async fn bcrypt_runs_once_for_a_key_even_when_its_row_is_read_again() {
        let fixture = Fixture::new().await;
        let (id, key) = fixture.issue(None).await;
        fixture.authenticate(key.expose()).await.unwrap();
        fixture.age_rows();
        fixture.authenticator.hashes.close();
        fixture.authenticate(key.expose()).await.unwrap();
        assert!(fixture.authenticator.rows().get(&id).unwrap().is_verified);
    }

    #[tokio::test]
    async fn many_first_calls_with_one_key_wait_for_one_bcrypt() {
        let fixture = Fixture::new().await;
        let (_, key) = fixture.issue(None).await;
        let calls = (0..10 * (HASHES + HASHES_WAITING)).map(|_| fixture.authenticate(key.expose()));
        let answers = futures_util::future::join_all(calls).await;
        assert!(answers.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn an_address_that_fails_too_often_is_held_back_and_others_are_not() {
        let fixture = Fixture::new().await;
        let (_, key) = fixture.issue(None).await;
        let wrong = IssuedKey::generate(true, &mut rand::rng());
        for _ in 0..100 {
            let _ = fixture.authenticate(wrong.whole.expose()).await;
        }
        assert!(matches!(fixture.authenticate(key.expose()).await, Err(AuthError::Overloaded)));
        let elsewhere = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));
        assert!(fixture.authenticator.authenticate(key.expose(), elsewhere).await.is_ok());
    }
}
