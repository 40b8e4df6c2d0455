//! API keys and providers' keys: what is issued parses and is what it was, any change of a character is turned away, and nothing
//! parses that has not the documented form and checksum.
//!
//! Input: the kind, place and replacement of the change, then the random bytes of the key, which are
//! also tried as a key.
#![no_main]

use fuzz::Input;
use hmac::{Hmac, Mac};
use libfuzzer_sys::fuzz_target;
use rand::RngCore;
use sha2::Sha256;

#[allow(dead_code)]
#[path = "../../../src/auth/key.rs"]
mod key;

use key::{IssuedKey, ParsedKey};

const ALPHABET: &str = "0123456789abcdefghjkmnpqrstvwxyz";
const PEPPER: [u8; 32] = [7; 32];
const OTHER_PEPPER: [u8; 32] = [8; 32];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Live,
    Sandbox,
    Provider,
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let kind = [Kind::Live, Kind::Sandbox, Kind::Provider][usize::from(input.byte() % 3)];
    let place = input.place(usize::MAX);
    let to = input.byte();
    let rest = input.rest();

    let issued = kind.generate(&mut Drawn(Input::new(rest)));
    an_issued_key_parses(&issued, kind);
    a_changed_character_is_turned_away(issued.whole.expose(), place, to);
    if let Ok(found) = std::str::from_utf8(rest) {
        only_the_documented_form_parses(found);
        // The fuzzer does not guess checksums: it is given the right one.
        let sealed = format!("{found}_{}", checksum(found));
        only_the_documented_form_parses(&sealed);
        a_changed_character_is_turned_away(&sealed, place, to);
    }
});

impl Kind {
    fn generate(self, drawn: &mut Drawn<'_>) -> IssuedKey {
        match self {
            Self::Live => IssuedKey::generate(false, drawn),
            Self::Sandbox => IssuedKey::generate(true, drawn),
            Self::Provider => IssuedKey::generate_for_provider(drawn),
        }
    }

    /// What keys of this kind, and their ids, begin with.
    fn prefixes(self) -> (&'static str, &'static str) {
        match self {
            Self::Live => ("hk", "live"),
            Self::Sandbox => ("hk", "test"),
            Self::Provider => ("hp", "prov"),
        }
    }
}

/// As an API key or as a provider's, of which a text is at most one.
fn parse(key: &str) -> Option<(bool, ParsedKey<'_>)> {
    match (key::parse(key), key::parse_of_provider(key)) {
        (Some(_), Some(_)) => panic!("{key} is of a client and of a provider"),
        (client, provider) => client.map(|key| (false, key)).or(provider.map(|key| (true, key))),
    }
}

/// Random bytes from the input, then zeros.
struct Drawn<'a>(Input<'a>);

impl RngCore for Drawn<'_> {
    fn next_u32(&mut self) -> u32 {
        u32::from_be_bytes(self.0.array())
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_be_bytes(self.0.array())
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.0.byte());
    }
}

fn an_issued_key_parses(issued: &IssuedKey, kind: Kind) {
    let whole = issued.whole.expose();
    assert_eq!(documented(whole), Some(kind), "the form of {whole}");
    let (is_provider, parsed) = parse(whole).expect("an issued key parses");
    assert_eq!(is_provider, kind == Kind::Provider);
    assert_eq!(parsed.id, issued.id);
    assert_eq!(parsed.fingerprint(&PEPPER), issued.fingerprint(&PEPPER));
    assert!(!format!("{issued:?}").contains(&whole[24..]), "Debug shows the secret");
}

fn a_changed_character_is_turned_away(key: &str, place: usize, to: u8) {
    if parse(key).is_none() {
        return;
    }
    let place = place % key.len();
    let to = char::from(to & 0x7F).to_string();
    let mut changed = key.to_owned();
    changed.replace_range(place..=place, &to);
    if changed != key {
        assert!(parse(&changed).is_none(), "{changed} parses, and so does {key}");
    }
    changed.replace_range(place..=place, "");
    assert!(parse(&changed).is_none(), "{changed} parses, which is too short");
    assert!(parse(&format!("{key}{to}")).is_none(), "{key} with {to:?} parses, which is too long");
}

fn only_the_documented_form_parses(found: &str) {
    let (parsed, expected) = (parse(found), documented(found));
    let is_provider = parsed.as_ref().map(|(is_provider, _)| *is_provider);
    assert_eq!(is_provider, expected.map(|kind| kind == Kind::Provider), "whether {found:?} is a key");
    if let Some((_, parsed)) = parsed {
        assert_eq!(parsed.id, &found[3..23]);
        // The fingerprint is of the whole key: nothing of it was lost or normalised.
        assert_eq!(parsed.fingerprint(&PEPPER), hmac(&PEPPER, found));
        assert_ne!(parsed.fingerprint(&OTHER_PEPPER), hmac(&PEPPER, found));
    }
}

/// `hk_<test or live and 16 characters>_<28 characters>_<checksum>`, or with `hp` and `prov`.
fn documented(key: &str) -> Option<Kind> {
    let [prefix, id, secret, seal] = key.split('_').collect::<Vec<_>>()[..] else { return None };
    let (start, random) = id.split_at_checked(4)?;
    let kind = [Kind::Live, Kind::Sandbox, Kind::Provider]
        .into_iter()
        .find(|kind| kind.prefixes() == (prefix, start))?;
    let is_random = |text: &str, length| text.len() == length && text.chars().all(|c| ALPHABET.contains(c));
    let is_documented = is_random(random, 16)
        && is_random(secret, 28)
        // Whether the seal is six characters of ASCII is known once it is equal.
        && checksum(key.strip_suffix(seal)?.strip_suffix('_')?) == seal;
    is_documented.then_some(kind)
}

/// The low 30 bits of a CRC-32 (IEEE 802.3), bit by bit, five bits a character from the lowest.
fn checksum(text: &str) -> String {
    let crc = text.bytes().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    });
    let digit = |index| char::from(ALPHABET.as_bytes()[(!crc >> (5 * index)) as usize % 32]);
    (0..6).map(digit).collect()
}

fn hmac(pepper: &[u8; 32], key: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(pepper).expect("HMAC takes keys of any length");
    mac.update(key.as_bytes());
    mac.finalize().into_bytes().into()
}
