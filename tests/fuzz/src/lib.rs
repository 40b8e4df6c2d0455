//! How a target reads its choices from the bytes that libFuzzer hands it. The layout of every target's input is
//! its order of calls, so that a seed can be written by hand.

use std::borrow::Cow;

use message::encoding::{NationalTable, Shifts};

/// The bytes that are left. Reading past the end gives zeros, so that every input means something.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// A place below `length`, which is not 0.
    pub fn place(&mut self, length: usize) -> usize {
        usize::from(u16::from_be_bytes(self.array())) % length
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    /// A length of one octet, then as many bytes.
    pub fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte());
        self.take(length)
    }

    /// A piece as text; what is not UTF-8 becomes U+FFFD.
    pub fn text(&mut self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.piece())
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// Any pair of tables, also one that no text can be written with.
pub fn shifts(byte: u8) -> Shifts {
    Shifts { locking: table(byte), single: table(byte / 4) }
}

pub fn table(byte: u8) -> Option<NationalTable> {
    NationalTable::ALL.get(usize::from(byte % 4)).copied()
}
