//! National language tables: alphabets that a text names in its header (3GPP TS 23.038 section 6.2.1.2 and Annex A).

use std::fmt;
use std::str::FromStr;

use super::tables::{self, Alphabet, Extension};
use crate::status::UnknownWord;
use crate::words;

/// Information element identifiers of the header (3GPP TS 23.040 sections 9.2.3.24.15 and 9.2.3.24.16).
const SINGLE_SHIFT: u8 = 0x24;
const LOCKING_SHIFT: u8 = 0x25;
/// Octets of one such element: identifier, length, table.
const ELEMENT: usize = 3;

words! {
    /// A language that has tables. Not every handset and carrier takes them.
    pub enum NationalTable {
        /// Single and locking shift.
        Turkish = "TURKISH",
        /// Single shift only.
        Spanish = "SPANISH",
        /// Single and locking shift.
        Portuguese = "PORTUGUESE",
    }
}

impl NationalTable {
    /// The national language identifier (3GPP TS 23.038 section 6.2.1.2.4).
    pub const fn identifier(self) -> u8 {
        match self {
            Self::Turkish => 1,
            Self::Spanish => 2,
            Self::Portuguese => 3,
        }
    }

    /// Takes the place of the extension table: its characters take two septets each.
    pub(super) fn single(self) -> &'static Extension {
        match self {
            Self::Turkish => &tables::TURKISH_SINGLE,
            Self::Spanish => &tables::SPANISH_SINGLE,
            Self::Portuguese => &tables::PORTUGUESE_SINGLE,
        }
    }

    /// Takes the place of the default alphabet: its characters take one septet each. `None` if the language has none.
    pub(super) fn locking(self) -> Option<&'static Alphabet> {
        match self {
            Self::Turkish => Some(&tables::TURKISH_LOCKING),
            Self::Spanish => None,
            Self::Portuguese => Some(&tables::PORTUGUESE_LOCKING),
        }
    }
}

/// The tables that a GSM-7 text is written with. Stored as words: empty if none, else as `L:TURKISH,S:TURKISH`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shifts {
    /// In the place of the default alphabet. With a language that has no such table, nothing can be written.
    pub locking: Option<NationalTable>,
    /// In the place of the extension table.
    pub single: Option<NationalTable>,
}

impl Shifts {
    /// The default alphabet and its extension.
    pub const NONE: Self = Self { locking: None, single: None };

    /// What a text can be written with if it may use `table`: the plainest first.
    pub fn of(table: Option<NationalTable>) -> impl Iterator<Item = Self> {
        let locking = table.filter(|table| table.locking().is_some());
        let single = table.map(|table| Self { locking: None, single: Some(table) });
        let with_locking = locking.map(|table| {
            let locking = Some(table);
            [Self { locking, single: None }, Self { locking, single: locking }]
        });
        std::iter::once(Self::NONE).chain(single).chain(with_locking.into_iter().flatten())
    }

    /// The language of these tables; `None` if there are none.
    pub fn table(self) -> Option<NationalTable> {
        self.single.or(self.locking)
    }

    /// Octets that these tables add to the user data header, without the header's own length.
    pub const fn header_octets(self) -> usize {
        let locking = if self.locking.is_some() { ELEMENT } else { 0 };
        let single = if self.single.is_some() { ELEMENT } else { 0 };
        locking + single
    }

    /// The information elements that name the tables.
    pub(crate) fn elements(self) -> impl Iterator<Item = [u8; ELEMENT]> {
        let element = |kind: u8, table: NationalTable| [kind, 1, table.identifier()];
        let single = self.single.map(|table| element(SINGLE_SHIFT, table));
        let locking = self.locking.map(|table| element(LOCKING_SHIFT, table));
        single.into_iter().chain(locking)
    }

    /// `None` if the language has no locking shift table.
    pub(super) fn alphabet(self) -> Option<&'static Alphabet> {
        self.locking.map_or(Some(&tables::DEFAULT), NationalTable::locking)
    }

    pub(super) fn extension(self) -> &'static Extension {
        self.single.map_or(&tables::DEFAULT_EXTENSION, NationalTable::single)
    }
}

impl fmt::Display for Shifts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.locking.is_some() && self.single.is_some() { "," } else { "" };
        if let Some(table) = self.locking {
            write!(f, "L:{table}{separator}")?;
        }
        self.single.map_or(Ok(()), |table| write!(f, "S:{table}"))
    }
}

impl FromStr for Shifts {
    type Err = UnknownWord;

    /// Reads what `Display` writes and nothing else.
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let unknown = || UnknownWord { kind: "Shifts", word: text.to_owned() };
        let mut shifts = Self::NONE;
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let (place, table) = match word.split_once(':') {
                Some(("L", table)) => (&mut shifts.locking, table),
                Some(("S", table)) => (&mut shifts.single, table),
                _ => return Err(unknown()),
            };
            *place = Some(table.parse().map_err(|_| unknown())?);
        }
        let is_written_so = shifts.to_string() == text;
        if is_written_so && shifts.alphabet().is_some() { Ok(shifts) } else { Err(unknown()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_word_reads_back_and_junk_does_not() {
        let tables = || NationalTable::ALL.iter().copied().map(Some).chain([None]);
        for (locking, single) in tables().flat_map(|locking| tables().map(move |single| (locking, single))) {
            let shifts = Shifts { locking, single };
            let read = shifts.to_string().parse::<Shifts>();
            match locking {
                Some(NationalTable::Spanish) => assert!(read.is_err(), "{shifts}: there is no such table"),
                _ => assert_eq!(read, Ok(shifts)),
            }
        }
        assert_eq!("".parse(), Ok(Shifts::NONE));
        assert_eq!("L:TURKISH,S:TURKISH".parse::<Shifts>().unwrap().to_string(), "L:TURKISH,S:TURKISH");
        for junk in
            ["TURKISH", "S:", "S:turkish", "S:TURKISH,", "S:TURKISH,L:TURKISH", "S:TURKISH,S:TURKISH", ","]
        {
            let expected = UnknownWord { kind: "Shifts", word: junk.to_owned() };
            assert_eq!(junk.parse::<Shifts>(), Err(expected), "{junk}");
        }
    }

    #[test]
    fn a_language_offers_the_tables_that_it_has() {
        let words = |table| Shifts::of(table).map(|shifts| shifts.to_string()).collect::<Vec<_>>();
        assert_eq!(words(None), [""]);
        assert_eq!(words(Some(NationalTable::Spanish)), ["", "S:SPANISH"]);
        assert_eq!(
            words(Some(NationalTable::Turkish)),
            ["", "S:TURKISH", "L:TURKISH", "L:TURKISH,S:TURKISH"]
        );
        let languages: Vec<_> = Shifts::of(Some(NationalTable::Turkish)).map(Shifts::table).collect();
        let turkish = Some(NationalTable::Turkish);
        assert_eq!(languages, [None, turkish, turkish, turkish]);
    }

    #[test]
    fn tables_are_named_by_elements_of_three_octets_single_shift_first() {
        let both = Shifts { locking: Some(NationalTable::Portuguese), single: Some(NationalTable::Spanish) };
        let cases = [
            (Shifts::NONE, vec![]),
            (Shifts { locking: None, ..both }, vec![[0x24, 1, 2]]),
            (Shifts { single: None, ..both }, vec![[0x25, 1, 3]]),
            (both, vec![[0x24, 1, 2], [0x25, 1, 3]]),
        ];
        for (shifts, elements) in cases {
            assert_eq!(shifts.header_octets(), elements.len() * 3, "{shifts}");
            assert_eq!(shifts.elements().collect::<Vec<_>>(), elements);
        }
    }
}
