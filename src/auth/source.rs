//! Where a call comes from: the peer, or whom the trusted proxies in front of this server name.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source(IpAddr);

impl Source {
    /// An IPv4 address is the same when a listener for both families shows it as an IPv6 address.
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    pub fn address(self) -> IpAddr {
        self.0
    }

    /// What limits count by: an IPv4 address, or the /64 of an IPv6 address, of which one subscriber has all addresses.
    pub fn subscriber(self) -> IpAddr {
        match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        }
    }
}

/// The source of a call from `peer`. The header counts only if the peer is a trusted proxy, and is read from its end: each
/// trusted proxy has added the address it was called from, and what stands before those the caller may have made
/// up. A word there that is no address means that the proxies are not as we think: then it is the peer.
pub fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Source {
    let peer = Source::new(peer);
    let is_trusted = |source: Source| trusted.iter().any(|range| range.contains(&source.address()));
    if !is_trusted(peer) {
        return peer;
    }
    let mut source = peer;
    for header in headers.get_all(FORWARDED_FOR).iter().rev() {
        let Ok(text) = header.to_str() else { return peer };
        for word in text.rsplit(',') {
            let Some(named) = address(word.trim()) else { return peer };
            source = Source::new(named);
            if !is_trusted(source) {
                return source;
            }
        }
    }
    // Trusted all the way: the one that called first.
    source
}

/// Whether a key that may be used from `ranges` (empty = from everywhere) may be used from `source`. A caller without
/// an address is in no range.
pub fn is_allowed(ranges: &[IpNet], source: Option<Source>) -> bool {
    ranges.is_empty()
        || source.is_some_and(|source| ranges.iter().any(|range| range.contains(&source.address())))
}

/// `address`, `address:port`, `[address]` or `[address]:port`: some proxies tell the port too.
fn address(word: &str) -> Option<IpAddr> {
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
    let alone = match bare {
        Some(word) => word.parse().ok().map(IpAddr::V6),
        None => word.parse().ok(),
    };
    alone.or_else(|| word.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PROXIES: [&str; 2] = ["10.0.0.0/8", "fd00::/8"];

    fn ranges(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn source(peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        of(peer.parse().unwrap(), &headers, &ranges(&PROXIES)).address().to_string()
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxy_is_the_source() {
        let cases: [(&str, &[&str], &str); 14] = [
            // A stranger names whom it likes: nobody listens.
            ("192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            // What stands before the last stranger was told by the stranger.
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1", &["junk, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["198.51.100.7", "203.0.113.9 , fd00::2"], "203.0.113.9"),
            ("fd00::1", &["10.0.0.3,10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
            // Malformed where a trusted proxy should have written.
            ("10.0.0.1", &["198.51.100.7, junk"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7,"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7, é"], "10.0.0.1"),
        ];
        for (peer, forwarded, expected) in cases {
            assert_eq!(source(peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn an_ipv6_source_is_limited_with_its_whole_network() {
        let subscriber = |text: &str| Source::new(text.parse().unwrap()).subscriber().to_string();
        assert_eq!(subscriber("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(subscriber("192.0.2.77"), "192.0.2.77");
        assert_eq!(subscriber("::ffff:192.0.2.77"), "192.0.2.77");
    }

    #[test]
    fn a_key_with_ranges_is_good_in_them_only() {
        let allowed = |texts: &[&str], source: Option<&str>| {
            is_allowed(&ranges(texts), source.map(|text| Source::new(text.parse().unwrap())))
        };
        assert!(allowed(&[], Some("192.0.2.1")));
        assert!(allowed(&[], None));
        assert!(allowed(&["198.51.100.0/24", "192.0.2.1/32"], Some("192.0.2.1")));
        assert!(allowed(&["192.0.2.0/24"], Some("::ffff:192.0.2.1")));
        assert!(allowed(&["2001:db8::/32"], Some("2001:db8::1")));
        assert!(!allowed(&["192.0.2.1/32"], Some("192.0.2.2")));
        assert!(!allowed(&["0.0.0.0/0"], Some("2001:db8::1")));
        assert!(!allowed(&["0.0.0.0/0"], None));
    }

    fn any_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
            any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
            // Often enough a proxy.
            any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([10, a, b, c])),
        ]
    }

    fn headers_of(values: &[Vec<u8>]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
            headers.append(FORWARDED_FOR, value);
        }
        headers
    }

    proptest! {
        #[test]
        fn a_peer_that_is_no_proxy_is_the_source_whatever_it_says(
            peer in any_address(),
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
        ) {
            let trusted = ranges(&PROXIES);
            prop_assume!(!trusted.iter().any(|range| range.contains(&peer.to_canonical())));
            prop_assert_eq!(of(peer, &headers_of(&values), &trusted), Source::new(peer));
        }

        #[test]
        fn callers_cannot_change_their_source_by_what_they_send_through_a_proxy(
            caller in any_address(),
            sent in prop::collection::vec("[ -~]{0,40}", 0..4),
            hops in prop::collection::vec(any::<[u8; 3]>(), 0..3),
        ) {
            let trusted = ranges(&PROXIES);
            prop_assume!(!trusted.iter().any(|range| range.contains(&caller.to_canonical())));
            // The first proxy adds its caller, the second the first, and so on.
            let mut told = vec![caller];
            told.extend(hops.iter().map(|[a, b, c]| IpAddr::from([10, *a, *b, *c])));
            let told: Vec<String> = told.iter().map(IpAddr::to_string).collect();
            let mut values: Vec<Vec<u8>> = sent.into_iter().map(String::into_bytes).collect();
            values.push(told.join(", ").into_bytes());
            let peer = IpAddr::from([10, 0, 0, 1]);
            prop_assert_eq!(of(peer, &headers_of(&values), &trusted), Source::new(caller));
        }

        #[test]
        fn no_header_stops_the_server(
            peer in any_address(),
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
        ) {
            of(peer, &headers_of(&values), &ranges(&["0.0.0.0/0", "::/0"]));
        }
    }
}
