//! Fingerprints: equal exactly for equal lists of fields. SHA-256 stands; what is tested is the octets under it: they
//! are the documented ones, and they read back as the list, so no two lists share them.
//!
//! Input: two lists one after the other, each a version, a number of fields, and per field a kind, a name and a value.
#![no_main]

use std::collections::BTreeMap;

use fuzz::Input;
use libfuzzer_sys::fuzz_target;
use message::fingerprint::{Builder, Fingerprint};
use sha2::{Digest, Sha256};

const FIELDS_MAX: u8 = 12;

#[derive(Clone, Debug, PartialEq)]
struct List {
    version: String,
    fields: Vec<(String, Value)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Absent,
    Bytes(Vec<u8>),
    Int(i64),
    Map(BTreeMap<String, String>),
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (one, other) = (list(&mut input), list(&mut input));
    let fingerprint = one.fingerprint();
    assert_eq!(one.fingerprint(), fingerprint, "the same list, the same fingerprint");
    assert_eq!(one == other, fingerprint == other.fingerprint(), "{one:?} and {other:?}");
    for near in one.nearby() {
        assert_eq!(one == near, fingerprint == near.fingerprint(), "{one:?} and {near:?}");
    }

    let octets = one.octets();
    assert_eq!(fingerprint.as_bytes(), Sha256::digest(&octets).as_slice(), "the octets of {one:?}");
    assert_eq!(List::read(&octets).as_ref(), Some(&one), "the octets read back");
    bytes_and_digits(fingerprint);
});

fn bytes_and_digits(fingerprint: Fingerprint) {
    let bytes = fingerprint.as_bytes();
    assert_eq!(Fingerprint::from_slice(bytes), Some(fingerprint));
    assert_eq!(Fingerprint::from_slice(&bytes[1..]), None);
    assert_eq!(Fingerprint::from_slice(&[&bytes[..], &[0]].concat()), None);
    let digits = fingerprint.to_string();
    let read = (0..32).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16));
    assert_eq!(read.collect::<Result<Vec<u8>, _>>().as_deref(), Ok(&bytes[..]));
    assert_eq!(digits.len(), 64);
}

fn list(input: &mut Input<'_>) -> List {
    let version = input.text().into_owned();
    let count = input.byte() % (FIELDS_MAX + 1);
    let fields = (0..count).map(|_| field(input)).collect();
    List { version, fields }
}

fn field(input: &mut Input<'_>) -> (String, Value) {
    let kind = input.byte();
    let name = input.text().into_owned();
    let value = match kind % 4 {
        0 => Value::Absent,
        1 => Value::Bytes(input.piece().to_vec()),
        2 => Value::Int(i64::from_be_bytes(input.array())),
        _ => {
            let count = input.byte() % 8;
            let mut entry = || (input.text().into_owned(), input.text().into_owned());
            Value::Map((0..count).map(|_| entry()).collect())
        }
    };
    (name, value)
}

impl List {
    fn fingerprint(&self) -> Fingerprint {
        let add = |list: Builder, (name, value): &(String, Value)| match value {
            Value::Absent => list.opt(name, None),
            // Both ways to say it; a field's length decides which, so that the same list is always said alike.
            Value::Bytes(value) if value.len() % 2 == 0 => list.field(name, value),
            Value::Bytes(value) => list.opt(name, Some(value)),
            Value::Int(value) => list.int(name, *value),
            Value::Map(entries) => list.map(name, entries),
        };
        self.fields.iter().fold(Fingerprint::builder(&self.version), add).finish()
    }

    /// The octets that are hashed: a change of them needs a new version, since stores keep fingerprints.
    fn octets(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        let mut put = |bytes: &[u8]| {
            octets.extend((bytes.len() as u64).to_be_bytes());
            octets.extend(bytes);
        };
        put(self.version.as_bytes());
        for (name, value) in &self.fields {
            put(name.as_bytes());
            match value {
                Value::Absent => put(&[0]),
                Value::Bytes(bytes) => [&[1], &bytes[..]].into_iter().for_each(&mut put),
                Value::Int(int) => [&[2], &int.to_be_bytes()[..]].into_iter().for_each(&mut put),
                Value::Map(entries) => {
                    put(&[3]);
                    put(&(entries.len() as u64).to_be_bytes());
                    entries
                        .iter()
                        .flat_map(|(key, value)| [key, value])
                        .for_each(|text| put(text.as_bytes()));
                }
            }
        }
        octets
    }

    fn read(octets: &[u8]) -> Option<Self> {
        let mut pieces = Pieces(octets);
        let version = pieces.text()?;
        let mut fields = Vec::new();
        while !pieces.0.is_empty() {
            let name = pieces.text()?;
            let value = match pieces.next()? {
                [0] => Value::Absent,
                [1] => Value::Bytes(pieces.next()?.to_vec()),
                [2] => Value::Int(i64::from_be_bytes(pieces.next()?.try_into().ok()?)),
                [3] => {
                    let count = u64::from_be_bytes(pieces.next()?.try_into().ok()?);
                    let entries = (0..count).map(|_| Some((pieces.text()?, pieces.text()?)));
                    Value::Map(entries.collect::<Option<_>>()?)
                }
                _ => return None,
            };
            fields.push((name, value));
        }
        Some(Self { version, fields })
    }

    /// Lists that a careless encoding would confuse with this one.
    fn nearby(&self) -> Vec<Self> {
        let mut nearby = Vec::new();
        let mut change = |change: &dyn Fn(&mut Self)| {
            let mut near = self.clone();
            change(&mut near);
            nearby.push(near);
        };
        change(&|near| near.version.push('\0'));
        change(&|near| near.fields.push((String::new(), Value::Absent)));
        change(&|near| near.fields.push((String::new(), Value::Bytes(Vec::new()))));
        change(&|near| drop(near.fields.pop()));
        change(&|near| near.fields.reverse());
        for at in 0..self.fields.len() {
            change(&|near| near.fields[at].1 = near.fields[at].1.lookalike());
            change(&|near| move_a_character(&mut near.fields[at]));
        }
        nearby
    }
}

impl Value {
    /// Another kind of value that holds the same.
    fn lookalike(&self) -> Self {
        match self {
            Self::Absent => Self::Bytes(Vec::new()),
            Self::Bytes(bytes) => {
                bytes.as_slice().try_into().map_or(Self::Absent, |int| Self::Int(i64::from_be_bytes(int)))
            }
            Self::Int(int) => Self::Bytes(int.to_be_bytes().to_vec()),
            Self::Map(entries) => {
                Self::Map(entries.iter().map(|(key, value)| (value.clone(), key.clone())).collect())
            }
        }
    }
}

/// The last character of the name becomes the first of the value.
fn move_a_character((name, value): &mut (String, Value)) {
    if let Value::Bytes(bytes) = value
        && let Some(last) = name.pop()
    {
        bytes.splice(0..0, last.to_string().into_bytes());
    }
}

/// A length of eight octets, then as many.
struct Pieces<'a>(&'a [u8]);

impl<'a> Pieces<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (piece, rest) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
        self.0 = rest;
        Some(piece)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.next()?.to_vec()).ok()
    }
}
