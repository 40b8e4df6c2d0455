//! Splitting content into parts by really packing it (3GPP TS 23.040 section 9.2.3.24).

use std::fmt;
use std::ops::Range;

use crate::encoding::room::{self, Load, Loads};
use crate::encoding::{Coding, Encoding, Shifts, gsm7};

pub use crate::encoding::{ReferenceBits, SplitBy, unit_limit};

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
    /// The content cannot be written so.
    #[error("is not {0}")]
    WrongEncoding(Encoding),
}

/// Splits content that is written in `coding`. One part if it fits without concatenation; the header that names a text's
/// tables is in every part.
pub fn split(
    content: &Content,
    coding: impl Into<Coding>,
    reference_bits: ReferenceBits,
    by: SplitBy,
) -> Result<Vec<Part>, PartsError> {
    let coding = coding.into();
    let wrong = PartsError::WrongEncoding(coding.encoding);
    let Loads { unit_limit, loads } = match (content, coding.encoding) {
        (Content::Text(text), Encoding::Gsm7 | Encoding::Ucs2) => {
            room::lay_out_text(text.as_str(), coding, reference_bits, by).ok_or(wrong)?
        }
        (Content::Binary(data), Encoding::Binary) if coding.shifts == Shifts::NONE => {
            room::lay_out_data(data.len(), coding, reference_bits)
        }
        _ => return Err(wrong),
    };
    match loads.len() {
        0 => Err(PartsError::Empty),
        count if count > PARTS_MAX => Err(PartsError::TooManyParts { parts: count, max: PARTS_MAX }),
        _ => Ok((1..)
            .zip(loads)
            .map(|(number, Load { units, range })| Part { number, units, unit_limit, range })
            .collect()),
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

    /// The user data of this part as it goes on the air: the header, if the message has `total` > 1 parts or its text
    /// uses national tables, then the packed content (TP-UD, 3GPP TS 23.040 section 9.2.3.24). `None` if content and
    /// coding do not belong together.
    pub fn user_data(
        &self,
        content: &Content,
        coding: impl Into<Coding>,
        reference_bits: ReferenceBits,
        reference: u16,
        total: u8,
    ) -> Option<Vec<u8>> {
        let coding = coding.into();
        let number = u8::try_from(self.number).ok()?;
        let concatenation = (total > 1).then(|| concatenation(reference_bits, reference, total, number));
        let mut octets = header(concatenation, coding.shifts);
        match (content, coding.encoding, coding.shifts) {
            (Content::Text(_), Encoding::Gsm7, shifts) => {
                let septets = gsm7::encode(self.text(content)?, shifts)?;
                octets.extend(gsm7::pack(&septets, octets.len()));
            }
            (Content::Text(_), Encoding::Ucs2, Shifts::NONE) => {
                octets.extend(self.text(content)?.encode_utf16().flat_map(u16::to_be_bytes));
            }
            (Content::Binary(data), Encoding::Binary, Shifts::NONE) => {
                octets.extend(data.get(self.range.clone())?);
            }
            _ => return None,
        }
        Some(octets)
    }
}

/// The user data header: its length, then its information elements. Without elements there is none.
fn header(concatenation: Option<Vec<u8>>, shifts: Shifts) -> Vec<u8> {
    let mut elements = concatenation.unwrap_or_default();
    elements.extend(shifts.elements().flatten());
    if let Ok(length @ 1..) = u8::try_from(elements.len()) {
        elements.insert(0, length);
    }
    elements
}

/// The information element that says which part of what this is.
fn concatenation(reference_bits: ReferenceBits, reference: u16, total: u8, number: u8) -> Vec<u8> {
    let [high, low] = reference.to_be_bytes();
    match reference_bits {
        ReferenceBits::Eight => vec![0x00, 0x03, low, total, number],
        ReferenceBits::Sixteen => vec![0x08, 0x04, high, low, total, number],
    }
}

#[cfg(test)]
mod tests;
