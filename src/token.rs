//! Resume and page tokens: opaque, sealed, bound to their client.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use message::id::ClientId;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Octets of the seal.
const SEAL: usize = 16;
/// Longest token that is read.
const LENGTH_MAX: usize = 512;

/// Seals and opens tokens.
#[derive(Clone)]
pub struct Tokens {
    secret: [u8; 32],
    /// The history of the log that positions belong to.
    epoch: u64,
}

/// A token that cannot be used. Why is not told to the caller: malformed, forged, another client's, another
/// list's or another history's all look the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is not valid here")]
pub struct BadToken;

/// What a page token continues: the list's name and its filter.
pub struct PageOf([u8; 32]);

impl PageOf {
    /// `filter` must hold everything that changes what the list shows.
    pub fn new(list: &str, filter: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(&list).chain(filter) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self(hash.finalize().into())
    }
}

impl Tokens {
    pub fn new(secret: [u8; 32], epoch: u64) -> Self {
        Self { secret, epoch }
    }

    /// The position after `seq` in the client's log.
    pub fn resume(&self, client: ClientId, seq: i64) -> String {
        self.seal(b"resume.1", &self.epoch.to_be_bytes(), client, &seq.to_be_bytes())
    }

    pub fn open_resume(&self, token: &str, client: ClientId) -> Result<i64, BadToken> {
        let seq = self.open(b"resume.1", &self.epoch.to_be_bytes(), client, token)?;
        Ok(i64::from_be_bytes(seq.as_slice().try_into().map_err(|_| BadToken)?))
    }

    /// The position after `cursor` in a list.
    pub fn page(&self, client: ClientId, of: &PageOf, cursor: &[u8]) -> String {
        self.seal(b"page.1", &of.0, client, cursor)
    }

    pub fn open_page(&self, token: &str, client: ClientId, of: &PageOf) -> Result<Vec<u8>, BadToken> {
        self.open(b"page.1", &of.0, client, token)
    }

    /// What a token is for and whom it belongs to is not in it but under its seal.
    fn seal(&self, purpose: &[u8], context: &[u8], client: ClientId, position: &[u8]) -> String {
        let mut token = position.to_vec();
        token.extend(self.mac(purpose, context, client, position));
        URL_SAFE_NO_PAD.encode(token)
    }

    fn open(
        &self,
        purpose: &[u8],
        context: &[u8],
        client: ClientId,
        token: &str,
    ) -> Result<Vec<u8>, BadToken> {
        if token.len() > LENGTH_MAX {
            return Err(BadToken);
        }
        let token = URL_SAFE_NO_PAD.decode(token).map_err(|_| BadToken)?;
        let length = token.len().checked_sub(SEAL).ok_or(BadToken)?;
        let (position, seal) = token.split_at(length);
        let is_ours: bool = seal.ct_eq(&self.mac(purpose, context, client, position)).into();
        if is_ours { Ok(position.to_vec()) } else { Err(BadToken) }
    }

    fn mac(&self, purpose: &[u8], context: &[u8], client: ClientId, position: &[u8]) -> [u8; SEAL] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        for part in [purpose, context, client.as_uuid().as_bytes(), position] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let mut seal = [0; SEAL];
        seal.copy_from_slice(&mac.finalize().into_bytes()[..SEAL]);
        seal
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use message::Timestamp;
    use message::id::Entropy;

    fn client(number: u8) -> ClientId {
        ClientId::new(Timestamp::from_micros(0), Entropy([number; 10]))
    }

    #[test]
    fn a_token_opens_for_its_own_client_list_and_history_only() {
        let tokens = Tokens::new([1; 32], 7);
        let token = tokens.resume(client(1), 42);
        assert_eq!(tokens.open_resume(&token, client(1)), Ok(42));
        assert_eq!(tokens.open_resume(&token, client(2)), Err(BadToken));
        assert_eq!(Tokens::new([1; 32], 8).open_resume(&token, client(1)), Err(BadToken));
        assert_eq!(Tokens::new([2; 32], 7).open_resume(&token, client(1)), Err(BadToken));
        let (list, other) = (PageOf::new("list", &["a", "b"]), PageOf::new("list", &["ab", ""]));
        let page = tokens.page(client(1), &list, b"cursor");
        assert_eq!(tokens.open_page(&page, client(1), &list).unwrap(), b"cursor");
        assert_eq!(tokens.open_page(&page, client(1), &other), Err(BadToken));
        assert_eq!(tokens.open_resume(&page, client(1)), Err(BadToken));
    }

    #[test]
    fn any_changed_character_and_any_junk_is_refused() {
        let tokens = Tokens::new([1; 32], 7);
        let token = tokens.resume(client(1), 42);
        for index in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'Q' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(tokens.open_resume(&changed, client(1)), Err(BadToken), "character {index}");
        }
        for junk in ["", "A", "!!", &"A".repeat(600), "é"] {
            assert_eq!(tokens.open_resume(junk, client(1)), Err(BadToken));
        }
    }
}
