//! The fingerprint of a request: equal for equal requests, however they were transported.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};

/// SHA-256 over a versioned list of named, length-prefixed fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Starts one. `version` names the list of fields: a changed list needs a new version.
    pub fn builder(version: &str) -> Builder {
        Builder(Sha256::new()).bytes(version.as_bytes())
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// `None` unless there are 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Gathers the fields. Each is written with its name and length, so no two lists read alike.
pub struct Builder(Sha256);

impl Builder {
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    fn tagged(self, name: &str, tag: u8) -> Self {
        self.bytes(name.as_bytes()).bytes(&[tag])
    }

    pub fn field(self, name: &str, value: &[u8]) -> Self {
        self.tagged(name, 1).bytes(value)
    }

    pub fn opt(self, name: &str, value: Option<&[u8]>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self.tagged(name, 0),
        }
    }

    pub fn int(self, name: &str, value: i64) -> Self {
        self.tagged(name, 2).bytes(&value.to_be_bytes())
    }

    pub fn map(self, name: &str, entries: &BTreeMap<String, String>) -> Self {
        let start = self.tagged(name, 3).bytes(&(entries.len() as u64).to_be_bytes());
        entries.iter().fold(start, |list, (key, value)| list.bytes(key.as_bytes()).bytes(value.as_bytes()))
    }

    pub fn finish(self) -> Fingerprint {
        Fingerprint(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(fields: &[(String, Option<String>)]) -> Fingerprint {
        let start = Fingerprint::builder("test.v1");
        fields
            .iter()
            .fold(start, |list, (name, value)| list.opt(name, value.as_ref().map(String::as_bytes)))
            .finish()
    }

    #[test]
    fn moving_a_character_between_fields_makes_another_request() {
        let of = |to: &str, text: &str| of(&[(to.into(), Some(text.into()))]);
        assert_ne!(of("ab", "c"), of("a", "bc"));
        assert_ne!(Fingerprint::builder("v1").finish(), Fingerprint::builder("v2").finish());
        assert_ne!(
            Fingerprint::builder("v1").opt("a", None).finish(),
            Fingerprint::builder("v1").field("a", b"").finish()
        );
    }

    /// One field of any kind.
    #[derive(Clone, Debug, PartialEq)]
    enum Field {
        Bytes(Vec<u8>),
        Absent,
        Int(i64),
        Map(BTreeMap<String, String>),
    }

    fn fields() -> impl Strategy<Value = Vec<(String, Field)>> {
        let small = proptest::collection::vec(0..2u8, 0..10);
        let map = proptest::collection::btree_map("[ab]{0,2}", "[ab]{0,2}", 0..3);
        let field = prop_oneof![
            3 => small.prop_map(Field::Bytes),
            1 => Just(Field::Absent),
            2 => (0..3i64).prop_map(Field::Int),
            2 => map.prop_map(Field::Map),
        ];
        proptest::collection::vec(("[ab]{0,2}", field), 0..4)
    }

    fn of_any(fields: &[(String, Field)]) -> Fingerprint {
        let list = Fingerprint::builder("test.v1");
        let add = |list: Builder, (name, field): &(String, Field)| match field {
            Field::Bytes(value) => list.opt(name, Some(value)),
            Field::Absent => list.opt(name, None),
            Field::Int(value) => list.int(name, *value),
            Field::Map(entries) => list.map(name, entries),
        };
        fields.iter().fold(list, add).finish()
    }

    proptest! {
        #[test]
        fn no_two_lists_of_any_kinds_are_confused(
            (a, b) in (fields(), fields()).prop_flat_map(|(a, b)| {
                // Half of the pairs differ little or not at all.
                let near = a.iter().cloned().chain(b.first().cloned()).collect::<Vec<_>>();
                (Just(a.clone()), prop_oneof![Just(b), Just(a), Just(near)])
            }),
        ) {
            prop_assert_eq!(of_any(&a) == of_any(&b), a == b);
            prop_assert_eq!(Fingerprint::from_slice(of_any(&a).as_bytes()), Some(of_any(&a)));
        }

        #[test]
        fn only_equal_lists_are_equal(
            a in proptest::collection::vec(("[ab]{0,2}", proptest::option::of("[ab]{0,2}")), 0..4),
            b in proptest::collection::vec(("[ab]{0,2}", proptest::option::of("[ab]{0,2}")), 0..4),
        ) {
            prop_assert_eq!(of(&a) == of(&b), a == b);
        }
    }
}
