//! From the key in a call to its principal, without letting strangers buy CPU or the store's time.
//!
//! Order: form and checksum; then a key whose secret bcrypt has agreed to on this node, known by its fingerprint, is let
//! in, and nothing that strangers do stands in its way, also not when its row has to be read again. Any other key takes
//! from the allowance of its source ([`Strangers`]); then come the row by key id, the keyed fingerprint, and bcrypt,
//! once per key and node.
//!
//! A source that has used up its allowance is not shut out: a good key that this node sees for the first time must
//! come in, also from behind an address that floods. But the look-ups of all such sources go through one narrow lane,
//! one at a time with a bounded queue. So a flood buys at most one small query at a time, whatever its size, and a new
//! key's first call passes in its turn, or finds the queue full and is told when to come back. A share for each
//! address would not do: the flood would take it before the honest caller came.

use std::sync::Arc;
use std::time::Duration;

use delivery::model::Scope;
use delivery::port::{Store, StoreError};

use super::lane::{Lane, Place};
use super::rows::{Known, Rows};
use super::{Principal, Source, Strangers, key};

/// How long a row is believed in calls: a revocation reaches this node within it.
const ROW_LIFETIME: Duration = Duration::from_secs(5);
/// The same for the keys of open streams, which are looked at every [`RECHECK`] only. The row is shared by all
/// streams of the key, so this costs a look-up per key, not per stream.
const STREAM_ROW_LIFETIME: Duration = Duration::from_secs(2);
/// How often the key of an open stream is looked at again.
pub const RECHECK: Duration = Duration::from_secs(5);
/// Revocation cuts streams within 10 s, of which the look-up and a busy node may take three.
const _: () = assert!(RECHECK.as_secs() + STREAM_ROW_LIFETIME.as_secs() <= 7);

/// Rows remembered at most.
const REMEMBERED_MAX: usize = 10_000;
/// Look-ups at once, and calls that may wait for one. Less than the store has connections.
const LOOKUPS: (usize, usize) = (2, 1_024);
/// The same for all sources together that have used up their allowances.
const CROWDED_LOOKUPS: (usize, usize) = (1, 64);
/// bcrypts at once, and calls that may wait for one.
const HASHES: (usize, usize) = (2, 64);
/// When to come back to a lane that was full.
const LANE_PAUSE: Duration = Duration::from_secs(1);

/// Verifies keys.
pub struct Authenticator {
    pepper: [u8; 32],
    rows: Rows,
    strangers: Arc<Strangers>,
    lookups: Lane,
    crowded: Lane,
    hashes: Lane,
    /// The bcrypt cost of new keys.
    pub cost: u32,
}

/// A well-formed key, as it came.
struct Presented<'a> {
    whole: &'a str,
    id: &'a str,
    fingerprint: [u8; 32],
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
    /// Said instead of `Invalid`, or where a new key would have to wait behind such keys.
    #[error("too many calls without a valid API key from this address")]
    RateLimited { retry_after: Duration },
    #[error("too many new keys at once")]
    Overloaded,
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Authenticator {
    pub fn new(store: Arc<dyn Store>, pepper: [u8; 32], cost: u32, strangers: Arc<Strangers>) -> Self {
        Self {
            pepper,
            rows: Rows::new(store, REMEMBERED_MAX),
            strangers,
            lookups: Lane::new(LOOKUPS.0, LOOKUPS.1),
            crowded: Lane::new(CROWDED_LOOKUPS.0, CROWDED_LOOKUPS.1),
            hashes: Lane::new(HASHES.0, HASHES.1),
            cost,
        }
    }

    pub fn pepper(&self) -> &[u8; 32] {
        &self.pepper
    }

    pub fn strangers(&self) -> &Arc<Strangers> {
        &self.strangers
    }

    /// The principal of a key that came from `source`; `None` = from within the process, which has no limit.
    pub async fn authenticate(
        &self,
        presented: &str,
        source: Option<Source>,
    ) -> Result<Principal, AuthError> {
        let Some(presented) = Presented::read(presented, &self.pepper) else {
            return Err(turned_away(self.take_entry(source)));
        };
        if self.is_proven(&presented) {
            let known = self.rows.fresh(presented.id, ROW_LIFETIME).await?;
            let is_good =
                |known: &Known| known.has_fingerprint(&presented.fingerprint) && known.is_good_from(source);
            let known = known.filter(is_good);
            return known.as_ref().map(principal).ok_or_else(|| turned_away(self.take_entry(source)));
        }
        let taken = self.take_entry(source);
        let proven = self.prove(&presented, source, taken.is_err()).await?;
        proven.as_ref().map(principal).ok_or_else(|| turned_away(taken))
    }

    /// Lets `look_up` find out whose a key of another kind is (`None` = nobody's), within the allowance of its source,
    /// like a key that this node does not know.
    pub async fn guard<T>(
        &self,
        source: Option<Source>,
        look_up: impl Future<Output = Result<Option<T>, AuthError>>,
    ) -> Result<T, AuthError> {
        let taken = self.take_entry(source);
        let _place = self.lookup_place(taken.is_err()).await?;
        look_up.await?.ok_or_else(|| turned_away(taken))
    }

    /// Whether the key of an open stream is still good.
    pub async fn is_still_valid(&self, principal: &Principal) -> Result<bool, AuthError> {
        let known = self.rows.fresh(&principal.key_id, STREAM_ROW_LIFETIME).await?;
        Ok(known.is_some_and(|known| known.is_live()))
    }

    /// What this node remembers of the key is void: it was revoked or changed here. Other nodes learn of it from
    /// the row.
    pub async fn forget(&self, key_id: &str) {
        self.rows.forget(key_id).await;
    }

    fn is_proven(&self, presented: &Presented<'_>) -> bool {
        let known = self.rows.remembered(presented.id);
        known.is_some_and(|known| known.is_proven && known.has_fingerprint(&presented.fingerprint))
    }

    /// The row of a key that this node does not know as good, if it is good. `is_crowded`: its source has used up
    /// its allowance.
    async fn prove(
        &self,
        presented: &Presented<'_>,
        source: Option<Source>,
        is_crowded: bool,
    ) -> Result<Option<Known>, AuthError> {
        // A key's fingerprint never changes: a wrong secret needs no look-up, however old the row.
        if self
            .rows
            .remembered(presented.id)
            .is_some_and(|known| !known.has_fingerprint(&presented.fingerprint))
        {
            return Ok(None);
        }
        let turn = self.rows.turn(presented.id).await;
        let remembered = self.rows.remembered(presented.id);
        let known = match remembered.filter(|known| known.is_younger_than(ROW_LIFETIME)) {
            Some(known) => Some(known),
            None => {
                let _place = self.lookup_place(is_crowded).await?;
                turn.look_up().await?
            }
        };
        let is_good =
            |known: &Known| known.has_fingerprint(&presented.fingerprint) && known.is_good_from(source);
        let Some(known) = known.filter(is_good) else { return Ok(None) };
        if !known.is_proven {
            if !self.hash_agrees(presented, &known).await? {
                return Ok(None);
            }
            turn.note_proven();
        }
        Ok(Some(known))
    }

    async fn lookup_place(&self, is_crowded: bool) -> Result<Place<'_>, AuthError> {
        if is_crowded {
            self.crowded.enter().await.ok_or(AuthError::RateLimited { retry_after: LANE_PAUSE })
        } else {
            self.lookups.enter().await.ok_or(AuthError::Overloaded)
        }
    }

    /// Runs bcrypt, on a blocking thread. Only for a key whose fingerprint is right.
    async fn hash_agrees(&self, presented: &Presented<'_>, known: &Known) -> Result<bool, AuthError> {
        let _place = self.hashes.enter().await.ok_or(AuthError::Overloaded)?;
        metrics::counter!("herald_key_hashes_total").increment(1);
        let (whole, row) = (presented.whole.to_owned(), known.key.clone());
        let agrees = tokio::task::spawn_blocking(move || {
            key::parse(&whole).is_some_and(|parsed| parsed.matches(&row.secret_hash))
        });
        Ok(agrees.await.unwrap_or(false))
    }

    /// An error says how long it would take to be within the allowance.
    fn take_entry(&self, source: Option<Source>) -> Result<(), Duration> {
        source.map_or(Ok(()), |source| self.strangers.take_entry(source))
    }
}

impl<'a> Presented<'a> {
    /// `None` unless form and checksum are right.
    fn read(whole: &'a str, pepper: &[u8; 32]) -> Option<Self> {
        let parsed = key::parse(whole)?;
        Some(Self { whole, id: parsed.id, fingerprint: parsed.fingerprint(pepper) })
    }
}

fn principal(known: &Known) -> Principal {
    let key = &known.key;
    Principal { key_id: key.id.clone(), owner: key.client, scopes: key.scopes.clone(), acting_for: None }
}

/// What the owner of a bad key is told, who has `taken` from its allowance for it.
fn turned_away(taken: Result<(), Duration>) -> AuthError {
    metrics::counter!("herald_auth_failures_total").increment(1);
    match taken {
        Ok(()) => AuthError::Invalid,
        Err(retry_after) => AuthError::RateLimited { retry_after },
    }
}

#[cfg(test)]
mod tests;
