//! Keys as a stranger can make them: the form is public, and so is the checksum.

use rand::Rng;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Well formed, with an id that no key has.
pub(super) fn unknown_id() -> String {
    let id = format!("live{}", random(16));
    sealed(&id)
}

/// Well formed, with the id of `key` and another secret.
pub(super) fn wrong_secret(key: &str) -> String {
    sealed(id_of(key))
}

/// `key` with a checksum that is not its own.
pub(super) fn malformed(key: &str) -> String {
    let (unsealed, _) = key.rsplit_once('_').expect("a key has a checksum");
    format!("{unsealed}_{}", random(6))
}

pub(super) fn id_of(key: &str) -> &str {
    key.split('_').nth(1).expect("a key has an id")
}

fn sealed(id: &str) -> String {
    let unsealed = format!("hk_{id}_{}", random(28));
    let sum = crc32fast::hash(unsealed.as_bytes());
    let digit = |index: usize| char::from(ALPHABET[(sum >> (5 * index)) as usize % ALPHABET.len()]);
    let checksum: String = (0..6).map(digit).collect();
    format!("{unsealed}_{checksum}")
}

fn random(length: usize) -> String {
    let mut rng = rand::rng();
    (0..length).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}
