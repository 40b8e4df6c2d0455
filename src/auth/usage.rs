//! When API keys were last used, told to the store once in a while: a write for each call would cost more than the
//! calls.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use delivery::port::{Store, StoreError};
use message::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the store is told.
const INTERVAL: Duration = Duration::from_secs(60);
/// Keys noted between two times. More are left out: a key in use is noted at its next call.
const KEYS_MAX: usize = 10_000;

/// Notes the use of keys.
#[derive(Debug, Default)]
pub struct KeyUsage {
    used: Mutex<HashMap<String, Instant>>,
}

impl KeyUsage {
    /// The key is in use now.
    pub fn note(&self, key_id: &str) {
        self.note_at(key_id, Instant::now());
    }

    fn note_at(&self, key_id: &str, at: Instant) {
        let mut used = self.used();
        if let Some(noted) = used.get_mut(key_id) {
            *noted = at.max(*noted);
        } else if used.len() < KEYS_MAX {
            used.insert(key_id.to_owned(), at);
        }
    }

    /// Tells the store. What it cannot be told is kept for the next time.
    pub async fn flush(&self, store: &dyn Store) -> Result<(), StoreError> {
        let used = std::mem::take(&mut *self.used());
        if used.is_empty() {
            return Ok(());
        }
        let told = tell(store, &used).await;
        if told.is_err() {
            let mut newer = self.used();
            for (key_id, at) in used {
                if let Entry::Vacant(vacant) = newer.entry(key_id) {
                    vacant.insert(at);
                }
            }
        }
        told
    }

    /// Tells the store at every interval, and a last time at `stop`.
    pub async fn run(self: Arc<Self>, store: Arc<dyn Store>, stop: CancellationToken) {
        loop {
            let is_last = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(INTERVAL) => false,
            };
            if let Err(error) = self.flush(store.as_ref()).await {
                tracing::warn!(error = ?error, "the last use of keys was not written; the next time comes");
            }
            if is_last {
                return;
            }
        }
    }

    fn used(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By the database's clock, carried back by a monotonic one.
async fn tell(store: &dyn Store, used: &HashMap<String, Instant>) -> Result<(), StoreError> {
    let now = store.now().await?;
    let used: Vec<(String, Timestamp)> =
        used.iter().map(|(key_id, at)| (key_id.clone(), now - at.elapsed())).collect();
    store.touch_api_keys(&used).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use delivery::model::{ApiKey, Scope};
    use delivery::port::AdminStore;
    use store_sqlite::{Clock, SqliteStore};

    use super::*;
    use crate::grpc::trail::{Author, Deed};

    async fn make_key(store: &SqliteStore, id: &str) {
        let now = store.now().await.unwrap();
        let key = ApiKey {
            id: id.into(),
            client: None,
            name: "test".into(),
            scopes: vec![Scope::Admin],
            secret_hash: String::new(),
            fingerprint: Vec::new(),
            created_at: now,
            expire_at: None,
            revoked_at: None,
            last_used_at: None,
            allowed_ranges: Vec::new(),
        };
        let entry = Author::server().entry(now, Deed::new("Test", None));
        store.create_api_key(&key, &entry).await.unwrap();
    }

    #[tokio::test]
    async fn a_key_that_was_used_is_told_with_its_time_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("herald.db"), Clock::Database).await.unwrap();
        store.migrate().await.unwrap();
        make_key(&store, "live1").await;
        make_key(&store, "live2").await;
        let usage = KeyUsage::default();
        usage.flush(&store).await.unwrap();
        let before = store.now().await.unwrap();
        usage.note("live1");
        // One that is gone by then is nobody's fault.
        usage.note("live3");
        usage.flush(&store).await.unwrap();
        let used_at = store.api_key("live1").await.unwrap().unwrap().last_used_at;
        assert!(used_at.is_some_and(|at| at >= before - Duration::from_millis(1)), "{used_at:?}");
        assert_eq!(store.api_key("live2").await.unwrap().unwrap().last_used_at, None);
        assert!(usage.used().is_empty());
        // An older use that is told late does not take the time back.
        usage.note_at("live1", Instant::now().checked_sub(Duration::from_secs(5)).unwrap());
        usage.flush(&store).await.unwrap();
        assert_eq!(store.api_key("live1").await.unwrap().unwrap().last_used_at, used_at);
    }

    #[test]
    fn the_number_of_keys_is_bounded_and_those_that_are_known_stay_current() {
        let usage = KeyUsage::default();
        let first = Instant::now();
        for number in 0..2 * KEYS_MAX {
            usage.note_at(&number.to_string(), first);
        }
        assert_eq!(usage.used().len(), KEYS_MAX);
        let later = first + Duration::from_secs(1);
        usage.note_at("0", later);
        assert_eq!(usage.used().get("0"), Some(&later));
    }
}
