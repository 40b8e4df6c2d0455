//! Who pushes a provider's reports: `hp_<key id>_<secret>_<checksum>` in the metadata `x-provider-key`.
//!
//! The keyed fingerprint alone decides: the secret has 140 bits, and only operators give such keys to their providers.
//! What strangers get wrong is counted with their wrong API keys.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use delivery::model::ProviderKey;
use delivery::port::Store;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::key::{self, ParsedKey};
use super::{AuthError, Authenticator, Source};

/// The metadata that carries the key.
pub const PROVIDER_KEY: &str = "x-provider-key";
/// How long a row is believed: a revocation reaches this node within it.
const ROW_LIFETIME: Duration = Duration::from_secs(5);
/// Rows remembered at most. Only keys that exist are.
const REMEMBERED_MAX: usize = 1_000;

/// Verifies providers' keys.
pub struct ProviderKeys {
    store: Arc<dyn Store>,
    /// Knows the pepper, and who failed too often.
    authenticator: Arc<Authenticator>,
    known: Mutex<HashMap<String, (Instant, Arc<ProviderKey>)>>,
}

impl ProviderKeys {
    pub fn new(store: Arc<dyn Store>, authenticator: Arc<Authenticator>) -> Self {
        Self { store, authenticator, known: Mutex::default() }
    }

    /// Whether the key, which came from `source`, may push the reports of `provider`. Unknown, malformed, revoked and
    /// another provider's look the same.
    pub async fn authenticate(
        &self,
        presented: &str,
        provider: &str,
        source: Option<Source>,
    ) -> Result<(), AuthError> {
        let parsed = key::parse_of_provider(presented);
        if let Some(parsed) = &parsed
            && let Some(known) = self.known(parsed.id)
            && self.is_good(parsed, &known, provider)
        {
            return Ok(());
        }
        let look_up = async {
            let Some(parsed) = &parsed else { return Ok(None) };
            let row = self.look_up(parsed.id).await?;
            Ok(row.filter(|row| self.is_good(parsed, row, provider)).map(|_| ()))
        };
        self.authenticator.guard(source, look_up).await
    }

    fn is_good(&self, parsed: &ParsedKey<'_>, row: &ProviderKey, provider: &str) -> bool {
        let fingerprint = parsed.fingerprint(self.authenticator.pepper());
        let is_same: bool = fingerprint.as_slice().ct_eq(&row.fingerprint).into();
        is_same && row.revoked_at.is_none() && row.provider == provider
    }

    /// The row, if it was read a moment ago.
    fn known(&self, id: &str) -> Option<Arc<ProviderKey>> {
        let known = self.rows().get(id).cloned();
        known.filter(|(read_at, _)| read_at.elapsed() < ROW_LIFETIME).map(|(_, row)| row)
    }

    async fn look_up(&self, id: &str) -> Result<Option<Arc<ProviderKey>>, AuthError> {
        let read_at = Instant::now();
        let row = self.store.provider_key(id).await?.map(Arc::new);
        let mut rows = self.rows();
        match &row {
            Some(row) => {
                if rows.len() >= REMEMBERED_MAX {
                    rows.clear();
                }
                rows.insert(id.to_owned(), (read_at, row.clone()));
            }
            None => drop(rows.remove(id)),
        }
        Ok(row)
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<String, (Instant, Arc<ProviderKey>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use delivery::port::AdminStore;
    use store_sqlite::{Clock, SqliteStore};
    use tempfile::TempDir;

    use super::super::Strangers;
    use super::super::key::{IssuedKey, Secret};
    use super::*;
    use crate::grpc::trail::{Author, Deed};

    const PEPPER: [u8; 32] = [7; 32];

    fn here() -> Option<Source> {
        Some(Source::new(std::net::Ipv4Addr::LOCALHOST.into()))
    }

    struct Fixture {
        _folder: TempDir,
        store: Arc<SqliteStore>,
        keys: ProviderKeys,
    }

    impl Fixture {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("herald.db");
            let store = Arc::new(SqliteStore::open(&path, Clock::Database).await.unwrap());
            store.migrate().await.unwrap();
            let strangers = Arc::new(Strangers::each(Duration::from_secs(3_600), 20));
            let authenticator = Arc::new(Authenticator::new(store.clone(), PEPPER, 4, strangers));
            let keys = ProviderKeys::new(store.clone(), authenticator);
            Self { _folder: folder, store, keys }
        }

        async fn issue(&self, provider: &str) -> (String, Secret) {
            let issued = IssuedKey::generate_for_provider(&mut rand::rng());
            let now = self.store.now().await.unwrap();
            let row = ProviderKey {
                id: issued.id.clone(),
                provider: provider.into(),
                name: "test".into(),
                fingerprint: issued.fingerprint(&PEPPER).to_vec(),
                created_at: now,
                revoked_at: None,
            };
            let entry = Author::server().entry(now, Deed::new("Test", None));
            self.store.create_provider_key(&row, &entry).await.unwrap();
            (issued.id, issued.whole)
        }

        async fn is_let_in(&self, key: &str, provider: &str) -> bool {
            match self.keys.authenticate(key, provider, here()).await {
                Ok(()) => true,
                Err(AuthError::Invalid) => false,
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_key_is_good_for_its_own_provider_until_it_is_revoked() {
        let fixture = Fixture::new().await;
        let (id, key) = fixture.issue("one").await;
        for _ in 0..2 {
            assert!(fixture.is_let_in(key.expose(), "one").await);
            assert!(!fixture.is_let_in(key.expose(), "two").await);
        }
        let (_, other) = fixture.issue("two").await;
        assert!(!fixture.is_let_in(other.expose(), "one").await);
        let stranger = IssuedKey::generate_for_provider(&mut rand::rng());
        for wrong in ["", "hp_x", stranger.whole.expose()] {
            assert!(!fixture.is_let_in(wrong, "one").await, "{wrong}");
        }
        let entry = Author::server().entry(fixture.store.now().await.unwrap(), Deed::new("Test", None));
        fixture.store.revoke_provider_key(&id, &entry).await.unwrap();
        // As if the row had been read long ago.
        for (read_at, _) in fixture.keys.rows().values_mut() {
            *read_at = read_at.checked_sub(ROW_LIFETIME).unwrap();
        }
        assert!(!fixture.is_let_in(key.expose(), "one").await);
    }

    #[tokio::test]
    async fn wrong_keys_use_up_their_addresss_allowance_and_good_ones_come_in_all_the_same() {
        let fixture = Fixture::new().await;
        let (_, key) = fixture.issue("one").await;
        let (_, unseen) = fixture.issue("one").await;
        assert!(fixture.is_let_in(key.expose(), "one").await);
        for _ in 0..100 {
            let _ = fixture.keys.authenticate("hp_x", "one", here()).await;
        }
        let refused = fixture.keys.authenticate("hp_x", "one", here()).await;
        assert!(matches!(refused, Err(AuthError::RateLimited { .. })), "{refused:?}");
        assert!(fixture.is_let_in(key.expose(), "one").await);
        assert!(fixture.is_let_in(unseen.expose(), "one").await);
    }
}
