//! What fits a part: the units of a text, the room for them beside the header, and the filling of parts with pieces that
//! stay whole (3GPP TS 23.040 section 9.2.3.24).

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use super::{Coding, Encoding, Shifts, gsm7};

/// Octets of user data in one short message (TP-UD, 3GPP TS 23.040 section 9.2.3.24).
pub(crate) const USER_DATA: usize = 140;

/// The size of the reference that tells a handset which parts belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceBits {
    /// Information element 0x00: a header of 6 octets (section 9.2.3.24.1).
    Eight,
    /// Information element 0x08: a header of 7 octets (section 9.2.3.24.8). Not every handset takes it.
    Sixteen,
}

impl ReferenceBits {
    /// Of a header that has this element alone.
    pub const fn header_octets(self) -> usize {
        match self {
            Self::Eight => 6,
            Self::Sixteen => 7,
        }
    }

    pub const fn bits(self) -> u8 {
        match self {
            Self::Eight => 8,
            Self::Sixteen => 16,
        }
    }
}

/// What is kept together at the edge of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitBy {
    /// Extended grapheme clusters (Unicode Annex 29): what a person sees as one character. A cluster that is
    /// larger than a part is split by code point.
    Grapheme,
    /// Code points: only escape pairs and surrogate pairs are kept together, as the standard demands.
    CodePoint,
}

/// Units that fit a part with a header of so many octets: 160, 153 and 152 septets; 70, 67 and 66 UTF-16 units;
/// 140, 134 and 133 octets.
pub fn unit_limit(encoding: Encoding, header_octets: usize) -> usize {
    let octets = USER_DATA - header_octets;
    match encoding {
        Encoding::Gsm7 => octets * 8 / 7,
        Encoding::Ucs2 => octets / 2,
        Encoding::Binary => octets,
    }
}

impl Coding {
    /// Octets of the user data header: its length, then the elements. `concatenation` is that of a message of several
    /// parts. Without an element there is no header.
    pub const fn header_octets(self, concatenation: Option<ReferenceBits>) -> usize {
        match (concatenation, self.shifts.header_octets()) {
            (None, 0) => 0,
            (None, shifts) => 1 + shifts,
            (Some(bits), shifts) => bits.header_octets() + shifts,
        }
    }

    /// Units that fit a part.
    pub fn unit_limit(self, concatenation: Option<ReferenceBits>) -> usize {
        unit_limit(self.encoding, self.header_octets(concatenation))
    }

    /// The units of one character; `None` if it cannot be written so.
    pub(crate) fn units(self, character: char) -> Option<usize> {
        match (self.encoding, self.shifts) {
            (Encoding::Gsm7, shifts) => {
                Some(gsm7::septets_with(character, shifts)).filter(|units| *units > 0)
            }
            (Encoding::Ucs2, Shifts::NONE) => Some(character.len_utf16()),
            _ => None,
        }
    }
}

/// What one part carries.
pub(crate) struct Load {
    pub(crate) units: usize,
    /// Octets of the content.
    pub(crate) range: Range<usize>,
}

/// Content laid out in parts.
pub(crate) struct Loads {
    /// The most units that one of them has room for.
    pub(crate) unit_limit: usize,
    pub(crate) loads: Vec<Load>,
}

/// Lays out a text: one part if it fits without concatenation. `None` if it cannot be written in `coding`.
pub(crate) fn lay_out_text(text: &str, coding: Coding, bits: ReferenceBits, by: SplitBy) -> Option<Loads> {
    let total = text.chars().try_fold(0, |sum, character| Some(sum + coding.units(character)?))?;
    let single = coding.unit_limit(None);
    if total <= single {
        let loads = if total == 0 { vec![] } else { vec![Load { units: total, range: 0..text.len() }] };
        return Some(Loads { unit_limit: single, loads });
    }
    let mut packer = Packer::new(coding.unit_limit(Some(bits)));
    packer.add_text(text, coding, by);
    Some(packer.loads)
}

/// Lays out data of `length` octets.
pub(crate) fn lay_out_data(length: usize, coding: Coding, bits: ReferenceBits) -> Loads {
    let single = coding.unit_limit(None);
    let limit = if length <= single { single } else { coding.unit_limit(Some(bits)) };
    let mut packer = Packer::new(limit);
    for start in (0..length).step_by(limit) {
        let end = length.min(start + limit);
        packer.add(end - start, start..end);
    }
    packer.loads
}

/// Fills parts with pieces that must not be split.
struct Packer {
    loads: Loads,
}

impl Packer {
    fn new(unit_limit: usize) -> Self {
        Self { loads: Loads { unit_limit, loads: Vec::new() } }
    }

    fn add_text(&mut self, text: &str, coding: Coding, by: SplitBy) {
        if by == SplitBy::CodePoint {
            return self.add_code_points(0, text, coding);
        }
        for (start, cluster) in text.grapheme_indices(true) {
            let units = cluster.chars().filter_map(|character| coding.units(character)).sum();
            if units <= self.loads.unit_limit {
                self.add(units, start..start + cluster.len());
            } else {
                self.add_code_points(start, cluster, coding);
            }
        }
    }

    fn add_code_points(&mut self, start: usize, text: &str, coding: Coding) {
        for (at, character) in text.char_indices() {
            let start = start + at;
            self.add(coding.units(character).unwrap_or(0), start..start + character.len_utf8());
        }
    }

    fn add(&mut self, units: usize, range: Range<usize>) {
        if let Some(last) = self.loads.loads.last_mut()
            && last.units + units <= self.loads.unit_limit
        {
            last.units += units;
            last.range.end = range.end;
            return;
        }
        self.loads.loads.push(Load { units, range });
    }
}
