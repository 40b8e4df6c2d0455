//! Splitting content into parts by really packing it (3GPP TS 23.040 section 9.2.3.24).

use std::fmt;
use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use crate::encoding::{Encoding, gsm7};

/// Octets of user data in one short message (TP-UD, 3GPP TS 23.040 section 9.2.3.24).
const USER_DATA: usize = 140;
/// A part's number is one octet.
pub const PARTS_MAX: usize = 255;

/// A message's text. Debug gives its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageText(String);

impl MessageText {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for MessageText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for MessageText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} octets of text>", self.0.len())
    }
}

/// What a message carries. Debug gives its length only.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    Text(MessageText),
    Binary(Vec<u8>),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Binary(data) => write!(f, "<{} octets of data>", data.len()),
        }
    }
}

/// The size of the reference that tells a handset which parts belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceBits {
    /// Information element 0x00: a header of 6 octets (section 9.2.3.24.1).
    Eight,
    /// Information element 0x08: a header of 7 octets (section 9.2.3.24.8). Not every handset takes it.
    Sixteen,
}

impl ReferenceBits {
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

/// One part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 1.
    pub number: u16,
    /// Septets, UTF-16 units or octets, by the encoding.
    pub units: usize,
    /// The most units a part of this message has room for.
    pub unit_limit: usize,
    /// The octets of the content (UTF-8 of the text, or the data) that this part carries.
    pub range: Range<usize>,
}

/// Why content cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartsError {
    #[error("must not be empty")]
    Empty,
    #[error("needs {parts} parts, a message has at most {max}")]
    TooManyParts { parts: usize, max: usize },
    /// The content was encoded as something it is not.
    #[error("is not {0}")]
    WrongEncoding(Encoding),
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

/// Splits content that is written in `encoding`. One part if it fits without a header.
pub fn split(
    content: &Content,
    encoding: Encoding,
    reference_bits: ReferenceBits,
    by: SplitBy,
) -> Result<Vec<Part>, PartsError> {
    let single = unit_limit(encoding, 0);
    let limit = unit_limit(encoding, reference_bits.header_octets());
    let parts = match (content, encoding) {
        (Content::Binary(data), Encoding::Binary) => split_octets(data.len(), single, limit),
        (Content::Text(text), Encoding::Gsm7 | Encoding::Ucs2) => {
            let count = if encoding == Encoding::Gsm7 { gsm7_units } else { utf16_units };
            let total = text.as_str().chars().try_fold(0, |sum, character| Some(sum + count(character)?));
            let total = total.ok_or(PartsError::WrongEncoding(encoding))?;
            match total {
                0 => Vec::new(),
                total if total <= single => {
                    vec![Part { number: 1, units: total, unit_limit: single, range: 0..text.as_str().len() }]
                }
                _ => pack_text(text.as_str(), limit, by, count),
            }
        }
        (_, encoding) => return Err(PartsError::WrongEncoding(encoding)),
    };
    match parts.len() {
        0 => Err(PartsError::Empty),
        count if count > PARTS_MAX => Err(PartsError::TooManyParts { parts: count, max: PARTS_MAX }),
        _ => Ok(parts),
    }
}

fn gsm7_units(character: char) -> Option<usize> {
    Some(gsm7::septets(character)).filter(|units| *units > 0)
}

fn utf16_units(character: char) -> Option<usize> {
    Some(character.len_utf16())
}

fn split_octets(length: usize, single: usize, limit: usize) -> Vec<Part> {
    let size = if length <= single { single } else { limit };
    let starts = (0..length).step_by(size);
    let mut packer = Packer::new(size);
    for start in starts {
        let end = length.min(start + size);
        packer.add(end - start, start..end);
    }
    packer.finish()
}

fn pack_text(text: &str, limit: usize, by: SplitBy, count: fn(char) -> Option<usize>) -> Vec<Part> {
    let units = |cluster: &str| cluster.chars().filter_map(count).sum::<usize>();
    let mut packer = Packer::new(limit);
    let mut add = |start: usize, piece: &str| packer.add(units(piece), start..start + piece.len());
    let add_code_points = |start: usize, piece: &str, add: &mut dyn FnMut(usize, &str)| {
        for (at, character) in piece.char_indices() {
            add(start + at, &piece[at..at + character.len_utf8()]);
        }
    };
    match by {
        SplitBy::CodePoint => add_code_points(0, text, &mut add),
        SplitBy::Grapheme => {
            for (start, cluster) in text.grapheme_indices(true) {
                if units(cluster) <= limit {
                    add(start, cluster);
                } else {
                    add_code_points(start, cluster, &mut add);
                }
            }
        }
    }
    packer.finish()
}

/// Fills parts with pieces that must not be split.
struct Packer {
    limit: usize,
    parts: Vec<Part>,
}

impl Packer {
    fn new(limit: usize) -> Self {
        Self { limit, parts: Vec::new() }
    }

    fn add(&mut self, units: usize, range: Range<usize>) {
        if let Some(last) = self.parts.last_mut()
            && last.units + units <= self.limit
        {
            last.units += units;
            last.range.end = range.end;
            return;
        }
        let number = u16::try_from(self.parts.len() + 1).unwrap_or(u16::MAX);
        self.parts.push(Part { number, units, unit_limit: self.limit, range });
    }

    fn finish(self) -> Vec<Part> {
        self.parts
    }
}

impl Part {
    /// The text of this part; `None` when the content is binary.
    pub fn text<'a>(&self, content: &'a Content) -> Option<&'a str> {
        match content {
            Content::Text(text) => text.as_str().get(self.range.clone()),
            Content::Binary(_) => None,
        }
    }

    /// The user data of this part as it goes on the air: the concatenation header, if the message has `total` > 1
    /// parts, then the packed content (TP-UD, 3GPP TS 23.040 section 9.2.3.24). `None` if content and encoding do
    /// not belong together.
    pub fn user_data(
        &self,
        content: &Content,
        encoding: Encoding,
        reference_bits: ReferenceBits,
        reference: u16,
        total: u8,
    ) -> Option<Vec<u8>> {
        let mut octets = if total > 1 {
            header(reference_bits, reference, total, u8::try_from(self.number).ok()?)
        } else {
            Vec::new()
        };
        match (content, encoding) {
            (Content::Text(_), Encoding::Gsm7) => {
                let septets = gsm7::encode(self.text(content)?)?;
                octets.extend(gsm7::pack(&septets, octets.len()));
            }
            (Content::Text(_), Encoding::Ucs2) => {
                octets.extend(self.text(content)?.encode_utf16().flat_map(u16::to_be_bytes));
            }
            (Content::Binary(data), Encoding::Binary) => octets.extend(data.get(self.range.clone())?),
            _ => return None,
        }
        Some(octets)
    }
}

/// User data header with one concatenation element.
fn header(reference_bits: ReferenceBits, reference: u16, total: u8, number: u8) -> Vec<u8> {
    let [high, low] = reference.to_be_bytes();
    match reference_bits {
        ReferenceBits::Eight => vec![0x05, 0x00, 0x03, low, total, number],
        ReferenceBits::Sixteen => vec![0x06, 0x08, 0x04, high, low, total, number],
    }
}

#[cfg(test)]
mod tests;
