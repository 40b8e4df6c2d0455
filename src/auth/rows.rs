//! The rows of API keys that this node remembers.
//!
//! Only keys that exist are remembered. An id that a stranger made up leaves nothing behind: it takes no memory, pushes
//! nobody out, and is found at once when it is given to a key. For each id one look-up runs at a time; who comes
//! meanwhile finds its result.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use delivery::model::ApiKey;
use delivery::port::{Store, StoreError};
use ipnet::IpNet;
use message::Timestamp;
use subtle::ConstantTimeEq;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::source::{self, Source};

/// A row, as it was when it was read.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) key: Arc<ApiKey>,
    /// bcrypt has agreed to the secret behind this row's fingerprint.
    pub(super) is_proven: bool,
    /// Before the look-up: no row is believed longer than it should be.
    read_at: Instant,
    /// The database's time at the read, of a key that expires.
    now: Option<Timestamp>,
    /// Where it may be used from; `None` = a range that does not read, which is damage and opens nothing.
    ranges: Option<Arc<[IpNet]>>,
}

impl Known {
    pub(super) fn is_younger_than(&self, age: Duration) -> bool {
        self.read_at.elapsed() < age
    }

    /// In constant time.
    pub(super) fn has_fingerprint(&self, fingerprint: &[u8; 32]) -> bool {
        fingerprint.as_slice().ct_eq(&self.key.fingerprint).into()
    }

    /// Neither revoked nor expired, and allowed where it comes from.
    pub(super) fn is_good_from(&self, source: Option<Source>) -> bool {
        self.is_live() && self.ranges.as_deref().is_some_and(|ranges| source::is_allowed(ranges, source))
    }

    /// Neither revoked nor expired. Judged by the database's time, carried on from the read by a monotonic clock.
    pub(super) fn is_live(&self) -> bool {
        let is_expired = self
            .key
            .expire_at
            .zip(self.now)
            .is_some_and(|(expire_at, read_at)| read_at + self.read_at.elapsed() >= expire_at);
        self.key.revoked_at.is_none() && !is_expired
    }
}

pub(super) struct Rows {
    store: Arc<dyn Store>,
    max: usize,
    known: Mutex<HashMap<String, Known>>,
    /// Of the ids that someone looks up, or waits for.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// The right to look an id up. Ends when dropped.
pub(super) struct Turn<'a> {
    rows: &'a Rows,
    id: &'a str,
    /// `None` = still waiting, or ended.
    held: Option<OwnedMutexGuard<()>>,
}

impl Rows {
    /// Remembers at most `max` rows.
    pub(super) fn new(store: Arc<dyn Store>, max: usize) -> Self {
        Self { store, max, known: Mutex::default(), turns: Mutex::default() }
    }

    /// The row as it is remembered, however old.
    pub(super) fn remembered(&self, id: &str) -> Option<Known> {
        self.known().get(id).cloned()
    }

    /// The row as it was at most `age` ago; `None` = there is no such key.
    pub(super) async fn fresh(&self, id: &str, age: Duration) -> Result<Option<Known>, StoreError> {
        if let Some(known) = self.remembered(id).filter(|known| known.is_younger_than(age)) {
            return Ok(Some(known));
        }
        let turn = self.turn(id).await;
        match self.remembered(id).filter(|known| known.is_younger_than(age)) {
            Some(known) => Ok(Some(known)),
            None => turn.look_up().await,
        }
    }

    /// Waits for the turn at this id.
    pub(super) async fn turn<'a>(&'a self, id: &'a str) -> Turn<'a> {
        let lock = locked(&self.turns).entry(id.to_owned()).or_default().clone();
        let mut turn = Turn { rows: self, id, held: None };
        turn.held = Some(lock.lock_owned().await);
        turn
    }

    /// The next call with this key looks it up again, whatever look-up is under way.
    pub(super) async fn forget(&self, id: &str) {
        let _turn = self.turn(id).await;
        self.known().remove(id);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        locked(&self.known)
    }

    /// As if every row had been read so much earlier.
    #[cfg(test)]
    pub(super) fn age_by(&self, age: Duration) {
        for known in self.known().values_mut() {
            known.read_at = known.read_at.checked_sub(age).expect("the machine runs longer than that");
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.known().len(), locked(&self.turns).len())
    }
}

impl Turn<'_> {
    pub(super) async fn look_up(&self) -> Result<Option<Known>, StoreError> {
        metrics::counter!("herald_key_lookups_total").increment(1);
        let read_at = Instant::now();
        let Some(key) = self.rows.store.api_key(self.id).await?.map(Arc::new) else {
            self.rows.known().remove(self.id);
            return Ok(None);
        };
        let now = match key.expire_at {
            Some(_) => Some(self.rows.store.now().await?),
            None => None,
        };
        let mut rows = self.rows.known();
        let before = rows.get(self.id);
        let is_proven =
            before.is_some_and(|before| before.is_proven && before.key.fingerprint == key.fingerprint);
        if before.is_none() && rows.len() >= self.rows.max {
            make_room(&mut rows);
        }
        let ranges = key.allowed_ranges.iter().map(|range| range.parse().ok()).collect();
        let known = Known { key, is_proven, read_at, now, ranges };
        rows.insert(self.id.to_owned(), known.clone());
        Ok(Some(known))
    }

    /// bcrypt has agreed.
    pub(super) fn note_proven(&self) {
        if let Some(known) = self.rows.known().get_mut(self.id) {
            known.is_proven = true;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = locked(&self.rows.turns);
        self.held = None;
        // Nobody gets hold of the lock but from the map, which is ours at the moment: so if it is the only one that has
        // it, nobody waits.
        if turns.get(self.id).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(self.id);
        }
    }
}

/// Forgets the older half. Whoever calls often has a young row, and proven ones stay before those that are not.
fn make_room(rows: &mut HashMap<String, Known>) {
    let mut ages: Vec<(bool, Instant)> = rows.values().map(|row| (row.is_proven, row.read_at)).collect();
    let half = ages.len() / 2;
    if half == 0 {
        return rows.clear();
    }
    let (_, last_to_go, _) = ages.select_nth_unstable(half - 1);
    let last_to_go = *last_to_go;
    rows.retain(|_, row| (row.is_proven, row.read_at) > last_to_go);
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
