//! `hk_<key id>_<secret>_<checksum>`: API keys. With `hp`: what providers push their reports with.
//!
//! The checksum turns away mistyped keys without a look-up, the fingerprint wrong ones without bcrypt.

use std::fmt;

use hmac::{Hmac, Mac};
use rand::Rng;
use sha2::Sha256;

/// Crockford's base 32, lower case: no letter is taken for a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// What API keys begin with, and their ids.
const API: (&str, &[&str]) = ("hk_", &["test", "live"]);
/// The same of providers' keys.
const PROVIDER: (&str, &[&str]) = ("hp_", &["prov"]);
/// Random characters of a key id after its kind: 80 bits.
const ID_RANDOM: usize = 16;
/// Characters of a secret: 140 bits.
const SECRET: usize = 28;
/// Characters of a checksum: 30 bits of a CRC-32.
const CHECKSUM: usize = 6;
/// The length of every key.
const LENGTH: usize = 3 + 4 + ID_RANDOM + 1 + SECRET + 1 + CHECKSUM;

/// A whole key. Debug masks it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The key itself, for the one place that hands it out.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A new key: what is handed out, and what the store keeps of it.
#[derive(Clone, Debug)]
pub struct IssuedKey {
    pub id: String,
    pub whole: Secret,
}

/// A key of the right form; whether it is anyone's is not known yet.
pub struct ParsedKey<'a> {
    pub id: &'a str,
    secret: &'a str,
    whole: &'a str,
}

impl IssuedKey {
    /// An API key.
    pub fn generate(is_sandbox: bool, rng: &mut impl Rng) -> Self {
        Self::new(API.0, if is_sandbox { "test" } else { "live" }, rng)
    }

    /// A key with which a provider pushes its reports.
    pub fn generate_for_provider(rng: &mut impl Rng) -> Self {
        Self::new(PROVIDER.0, "prov", rng)
    }

    fn new(prefix: &str, kind: &str, rng: &mut impl Rng) -> Self {
        let id = format!("{kind}{}", random(ID_RANDOM, rng));
        let unsealed = format!("{prefix}{id}_{}", random(SECRET, rng));
        Self { id, whole: Secret(sealed(&unsealed)) }
    }

    /// bcrypt of the secret, which is far below the 72 bytes that bcrypt reads.
    pub fn hash(&self, cost: u32) -> Result<String, bcrypt::BcryptError> {
        let parsed = parse(self.whole.expose());
        bcrypt::non_truncating_hash(parsed.map_or("", |key| key.secret), cost)
    }

    pub fn fingerprint(&self, pepper: &[u8; 32]) -> [u8; 32] {
        fingerprint(pepper, self.whole.expose())
    }
}

impl ParsedKey<'_> {
    pub fn fingerprint(&self, pepper: &[u8; 32]) -> [u8; 32] {
        fingerprint(pepper, self.whole)
    }

    /// Runs bcrypt: milliseconds of CPU.
    pub fn matches(&self, hash: &str) -> bool {
        bcrypt::non_truncating_verify(self.secret, hash).unwrap_or(false)
    }
}

/// Takes an API key apart; `None` unless form and checksum are right.
pub fn parse(key: &str) -> Option<ParsedKey<'_>> {
    parse_with(API, key)
}

/// The same for a provider's key.
pub fn parse_of_provider(key: &str) -> Option<ParsedKey<'_>> {
    parse_with(PROVIDER, key)
}

fn parse_with<'a>((prefix, kinds): (&str, &[&str]), key: &'a str) -> Option<ParsedKey<'a>> {
    if key.len() != LENGTH || !key.is_ascii() {
        return None;
    }
    let (unsealed, seal) = key.rsplit_once('_')?;
    let (id, secret) = unsealed.strip_prefix(prefix)?.split_once('_')?;
    let is_fine = kinds.iter().any(|kind| id.starts_with(kind))
        && id.len() == 4 + ID_RANDOM
        && secret.len() == SECRET
        && id.bytes().skip(4).chain(secret.bytes()).all(|character| ALPHABET.contains(&character))
        && seal == checksum(unsealed);
    is_fine.then_some(ParsedKey { id, secret, whole: key })
}

fn fingerprint(pepper: &[u8; 32], key: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(pepper).expect("HMAC takes keys of any length");
    mac.update(key.as_bytes());
    mac.finalize().into_bytes().into()
}

/// The key with its checksum.
pub(super) fn sealed(unsealed: &str) -> String {
    format!("{unsealed}_{}", checksum(unsealed))
}

fn random(length: usize, rng: &mut impl Rng) -> String {
    (0..length).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}

fn checksum(text: &str) -> String {
    let sum = crc32fast::hash(text.as_bytes());
    let digit = |index: usize| ALPHABET[(sum >> (5 * index)) as usize % ALPHABET.len()];
    (0..CHECKSUM).map(|index| char::from(digit(index))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_issued_key_reads_back_and_matches_its_hash() {
        let issued = IssuedKey::generate(true, &mut rand::rng());
        let parsed = parse(issued.whole.expose()).unwrap();
        assert_eq!(parsed.id, issued.id);
        assert!(parsed.id.starts_with("test"));
        assert!(parsed.matches(&issued.hash(4).unwrap()));
        assert_eq!(parsed.fingerprint(&[7; 32]), issued.fingerprint(&[7; 32]));
        assert_ne!(parsed.fingerprint(&[8; 32]), issued.fingerprint(&[7; 32]));
        assert!(
            !parse(IssuedKey::generate(true, &mut rand::rng()).whole.expose())
                .unwrap()
                .matches(&issued.hash(4).unwrap())
        );
    }

    #[test]
    fn a_providers_key_is_no_api_key() {
        let issued = IssuedKey::generate_for_provider(&mut rand::rng());
        let key = issued.whole.expose();
        assert!(key.starts_with("hp_prov"));
        let parsed = parse_of_provider(key).unwrap();
        assert_eq!(parsed.id, issued.id);
        assert_eq!(parsed.fingerprint(&[7; 32]), issued.fingerprint(&[7; 32]));
        assert!(parse(key).is_none());
        assert!(parse_of_provider(IssuedKey::generate(false, &mut rand::rng()).whole.expose()).is_none());
    }

    #[test]
    fn any_changed_character_is_turned_away() {
        let issued = IssuedKey::generate(false, &mut rand::rng());
        let key = issued.whole.expose();
        for index in 0..key.len() {
            let mut changed = key.as_bytes().to_vec();
            changed[index] = if changed[index] == b'0' { b'1' } else { b'0' };
            assert!(parse(&String::from_utf8(changed).unwrap()).is_none(), "character {index}");
        }
        for junk in ["", "hk_", "hk___", &"_".repeat(LENGTH), &"é".repeat(LENGTH / 2)] {
            assert!(parse(junk).is_none());
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let mut rng = rand::rng();
        for issued in [IssuedKey::generate(true, &mut rng), IssuedKey::generate_for_provider(&mut rng)] {
            assert!(!format!("{issued:?}").contains(&issued.whole.expose()[24..]));
        }
    }
}
