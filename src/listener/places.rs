//! How many connections there may be: in all, and from one source address; and for a moment none from an address that
//! has flooded one, or reconnecting would renew what a connection may do.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::Instant;

use super::limits::Limits;

/// A host is given a network of this size, so all of it counts as one source.
const IPV6_PREFIX: u32 = 64;
/// How long an address must wait that has flooded a connection.
const PAUSE: Duration = Duration::from_secs(1);
/// Addresses that wait. More at once are not remembered: a flood from so many is not stopped by address.
const PAUSED_MOST: usize = 4_096;

/// The connections that are open.
pub(super) struct Places {
    most: usize,
    most_per_address: usize,
    trusted_proxies: Vec<IpNet>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    in_all: usize,
    by_address: HashMap<IpAddr, usize>,
    paused_until: HashMap<IpAddr, Instant>,
}

/// One connection's place; dropping it makes room.
pub(super) struct Place {
    places: Arc<Places>,
    /// `None` = a trusted proxy's, which speaks for many addresses.
    address: Option<IpAddr>,
}

impl Places {
    pub(super) fn new(limits: &Limits, trusted_proxies: Vec<IpNet>) -> Self {
        Self {
            most: limits.max_connections,
            most_per_address: limits.max_connections_per_address,
            trusted_proxies,
            taken: Mutex::default(),
        }
    }

    /// A place for a connection from `peer`; `None` = there is none.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let is_proxy = self.trusted_proxies.iter().any(|network| network.contains(&peer));
        let address = (!is_proxy).then(|| source(peer));
        let reason = self.count(address).err();
        if let Some(reason) = reason {
            metrics::counter!("herald_connections_refused_total", "reason" => reason).increment(1);
            return None;
        }
        metrics::gauge!("herald_connections").increment(1);
        Some(Place { places: self.clone(), address })
    }

    fn count(&self, address: Option<IpAddr>) -> Result<(), &'static str> {
        let mut taken = self.taken.lock().expect("nothing panics while it is held");
        if taken.in_all >= self.most {
            return Err("all");
        }
        if let Some(address) = address {
            if taken.paused_until.get(&address).is_some_and(|until| *until > Instant::now()) {
                return Err("flood");
            }
            let theirs = taken.by_address.get(&address).copied().unwrap_or(0);
            if theirs >= self.most_per_address {
                return Err("address");
            }
            taken.by_address.insert(address, theirs + 1);
        }
        taken.in_all += 1;
        Ok(())
    }
}

impl Place {
    /// This connection was flooded: its address has to wait before it gets another.
    pub(super) fn blame(&self) {
        let Some(address) = self.address else { return };
        let mut taken = self.places.taken.lock().expect("nothing panics while it is held");
        let now = Instant::now();
        if taken.paused_until.len() >= PAUSED_MOST {
            taken.paused_until.retain(|_, until| *until > now);
        }
        if taken.paused_until.len() < PAUSED_MOST {
            taken.paused_until.insert(address, now + PAUSE);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::gauge!("herald_connections").decrement(1);
        let mut taken = self.places.taken.lock().expect("nothing panics while it is held");
        taken.in_all -= 1;
        let Some(address) = self.address else { return };
        let theirs = taken.by_address.get(&address).copied().unwrap_or(0);
        if theirs <= 1 {
            // Kept, the addresses of all who ever called would add up.
            taken.by_address.remove(&address);
        } else {
            taken.by_address.insert(address, theirs - 1);
        }
    }
}

fn source(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << (128 - IPV6_PREFIX));
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn places(most: usize, most_per_address: usize) -> Arc<Places> {
        let limits = Limits {
            max_connections: most,
            max_connections_per_address: most_per_address,
            ..Limits::default()
        };
        Arc::new(Places::new(&limits, vec!["10.0.0.0/8".parse().unwrap()]))
    }

    fn take(places: &Arc<Places>, peer: &str) -> Option<Place> {
        places.take(peer.parse().unwrap())
    }

    #[test]
    fn one_address_takes_its_share_and_leaves_the_others_theirs() {
        let places = places(10, 2);
        let first = take(&places, "192.0.2.1");
        let _second = take(&places, "192.0.2.1").unwrap();
        assert!(take(&places, "192.0.2.1").is_none());
        assert!(take(&places, "192.0.2.2").is_some());
        drop(first);
        assert!(take(&places, "192.0.2.1").is_some());
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let places = places(10, 1);
        let _first = take(&places, "2001:db8:0:1::1").unwrap();
        assert!(take(&places, "2001:db8:0:1:ffff::2").is_none());
        assert!(take(&places, "2001:db8:0:2::1").is_some());
    }

    #[test]
    fn a_trusted_proxy_speaks_for_many_addresses_but_not_past_the_cap_on_all() {
        let places = places(3, 1);
        let held: Vec<_> = (0..3).map(|_| take(&places, "10.1.2.3").unwrap()).collect();
        assert!(take(&places, "10.1.2.3").is_none());
        assert!(take(&places, "192.0.2.1").is_none());
        drop(held);
        assert!(take(&places, "192.0.2.1").is_some());
        assert!(places.taken.lock().unwrap().by_address.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_floods_waits_for_a_moment_and_a_proxy_does_not() {
        let places = places(10, 10);
        take(&places, "192.0.2.1").unwrap().blame();
        take(&places, "10.1.2.3").unwrap().blame();
        assert!(take(&places, "192.0.2.1").is_none());
        assert!(take(&places, "192.0.2.2").is_some() && take(&places, "10.1.2.3").is_some());
        tokio::time::advance(PAUSE).await;
        assert!(take(&places, "192.0.2.1").is_some());
    }
}
