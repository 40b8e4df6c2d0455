//! What strangers may ask: how many calls without a valid key a source may make.
//!
//! The limiter is tower_governor's. Its layer stands before the methods that need no key and the calls that show none;
//! for keys that this node does not know as good yet, the authenticator takes from the same allowances. Sources are
//! hashed into a fixed number of places, so the limiter's memory is bounded whatever strangers do, and needs no
//! sweep. Two sources in one place share its allowance; the hash is keyed, so nobody can choose whose.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock, QuantaInstant};
use governor::middleware::NoOpMiddleware;
use http::Request;
use tower_governor::GovernorError;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;

use super::Source;

/// What a stranger asks for. Each has its own allowance, so that wrong keys that come through a proxy do not stop the
/// proxy's health probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asks {
    /// A method that is open to all.
    Open,
    /// To be let in, without a key or with one that is not known as good.
    Entry,
}

/// Where calls are counted: one of 65,536 for each [`Asks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    asks: Asks,
    number: u16,
}

/// Finds the [`Place`] that was put into the request.
#[derive(Clone, Copy, Debug)]
pub struct ByPlace;

/// The settings of tower_governor's layer, and its limiter.
pub type Limits = GovernorConfig<ByPlace, NoOpMiddleware<QuantaInstant>>;

/// The allowances of all sources.
pub struct Strangers {
    limits: Arc<Limits>,
    hasher: RandomState,
}

impl KeyExtractor for ByPlace {
    type Key = Place;

    fn extract<T>(&self, request: &Request<T>) -> Result<Place, GovernorError> {
        request.extensions().get().copied().ok_or(GovernorError::UnableToExtractKey)
    }
}

impl Strangers {
    /// Each source may make `per_second` calls, and `burst` at once, of each kind. From 1 to 1,000,000.
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self::each(Duration::from_secs(1) / per_second, burst)
    }

    /// The same with the time for one call.
    pub fn each(period: Duration, burst: u32) -> Self {
        let mut settings = GovernorConfigBuilder::default().key_extractor(ByPlace);
        // Not its `per_second`, which takes the seconds for each call.
        let limits =
            settings.period(period).burst_size(burst).finish().expect("the configuration was checked");
        Self { limits: Arc::new(limits), hasher: RandomState::new() }
    }

    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    pub fn place(&self, source: Source, asks: Asks) -> Place {
        let [low, high, ..] = self.hasher.hash_one(source.subscriber()).to_le_bytes();
        Place { asks, number: u16::from_le_bytes([low, high]) }
    }

    /// Takes one entry from the source's allowance. An error says after what time there will be one.
    pub fn take_entry(&self, source: Source) -> Result<(), Duration> {
        let taken = self.limits.limiter().check_key(&self.place(source, Asks::Entry));
        taken.map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn source(bits: u128) -> Source {
        Source::new(IpAddr::V6(bits.into()))
    }

    #[test]
    fn a_source_has_its_burst_then_one_each_period_and_is_told_the_wait() {
        let strangers = Strangers::new(1, 3);
        let one = source(1 << 64);
        assert_eq!((0..3).filter(|_| strangers.take_entry(one).is_ok()).count(), 3);
        let wait = strangers.take_entry(one).expect_err("the burst is used up");
        assert!(Duration::from_millis(500) < wait && wait <= Duration::from_secs(1), "{wait:?}");
        // Its network is held back with it; another is not, unless chance has put it into the same place.
        assert!(strangers.take_entry(source((1 << 64) + 7)).is_err());
        assert!((2..6).any(|network| strangers.take_entry(source(network << 64)).is_ok()));
    }

    #[test]
    fn many_sources_take_a_bounded_number_of_places() {
        let strangers = Strangers::new(1, 3);
        for network in 0..200_000 {
            let _ = strangers.take_entry(source(network << 64));
        }
        let places = strangers.limits().limiter().len();
        assert!((60_000..=65_536).contains(&places), "{places}");
    }
}
