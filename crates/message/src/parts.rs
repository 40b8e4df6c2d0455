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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::encoding;
    use proptest::prelude::*;

    fn text(text: &str) -> Content {
        Content::Text(MessageText::from(text.to_owned()))
    }

    fn count(body: &str, by: SplitBy) -> usize {
        let encoding = encoding::choose(body, None).unwrap();
        split(&text(body), encoding, ReferenceBits::Eight, by).unwrap().len()
    }

    #[test]
    fn limits_are_those_of_the_standard() {
        let cases = [
            (Encoding::Gsm7, [160, 153, 152]),
            (Encoding::Ucs2, [70, 67, 66]),
            (Encoding::Binary, [140, 134, 133]),
        ];
        for (encoding, expected) in cases {
            assert_eq!([0, 6, 7].map(|header| unit_limit(encoding, header)), expected);
        }
    }

    #[test]
    fn counts_at_the_edges() {
        let cases = [
            ("a".repeat(160), 1),
            ("a".repeat(161), 2),
            ("a".repeat(306), 2),
            ("a".repeat(307), 3),
            ("€".repeat(80), 1),
            ("€".repeat(81), 2),
            // 76 escape pairs fit a part of 153 septets, not 76 and a half.
            ("€".repeat(153), 3),
            ("я".repeat(70), 1),
            ("я".repeat(71), 2),
            ("😀".repeat(35), 1),
            ("😀".repeat(36), 2),
            ("😀".repeat(67), 3),
        ];
        for (body, expected) in cases {
            assert_eq!(count(&body, SplitBy::CodePoint), expected, "{} characters", body.chars().count());
        }
    }

    #[test]
    fn a_cluster_larger_than_a_part_is_split_and_a_smaller_one_is_not() {
        let family = "👨\u{200D}👩\u{200D}👧\u{200D}👦";
        let body = format!("{}{family}", "я".repeat(63));
        let parts = split(&text(&body), Encoding::Ucs2, ReferenceBits::Eight, SplitBy::Grapheme).unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[1].text(&text(&body)), Some(family));
        let monster = format!("a{}", "\u{301}".repeat(200));
        let parts = split(&text(&monster), Encoding::Ucs2, ReferenceBits::Eight, SplitBy::Grapheme).unwrap();
        assert_eq!(parts.len(), 3);
    }

    #[test]
    fn too_much_and_nothing_are_refused() {
        let split =
            |content: &Content, encoding| split(content, encoding, ReferenceBits::Eight, SplitBy::Grapheme);
        assert_eq!(split(&text(""), Encoding::Gsm7), Err(PartsError::Empty));
        assert_eq!(split(&Content::Binary(Vec::new()), Encoding::Binary), Err(PartsError::Empty));
        let error = PartsError::TooManyParts { parts: 256, max: 255 };
        assert_eq!(split(&text(&"a".repeat(153 * 255 + 1)), Encoding::Gsm7), Err(error));
        assert_eq!(split(&Content::Binary(vec![0; 134 * 255 + 1]), Encoding::Binary), Err(error));
        assert_eq!(split(&text("ç"), Encoding::Gsm7), Err(PartsError::WrongEncoding(Encoding::Gsm7)));
        assert_eq!(split(&text("a"), Encoding::Binary), Err(PartsError::WrongEncoding(Encoding::Binary)));
    }

    #[test]
    fn user_data_carries_the_header_and_the_packed_content() {
        let body = text(&"a".repeat(161));
        let parts = split(&body, Encoding::Gsm7, ReferenceBits::Eight, SplitBy::Grapheme).unwrap();
        let first = parts[0].user_data(&body, Encoding::Gsm7, ReferenceBits::Eight, 0x1234, 2).unwrap();
        assert_eq!(first[..6], [0x05, 0x00, 0x03, 0x34, 0x02, 0x01]);
        assert_eq!(first.len(), 140);
        // One fill bit after a header of 48 bits, then 'a' (0x61).
        assert_eq!(first[6] >> 1, 0x61);
        let second = parts[1].user_data(&body, Encoding::Gsm7, ReferenceBits::Sixteen, 0x1234, 2).unwrap();
        assert_eq!(second[..7], [0x06, 0x08, 0x04, 0x12, 0x34, 0x02, 0x02]);
        let short = text("я");
        let parts = split(&short, Encoding::Ucs2, ReferenceBits::Eight, SplitBy::Grapheme).unwrap();
        let data = parts[0].user_data(&short, Encoding::Ucs2, ReferenceBits::Eight, 0, 1).unwrap();
        assert_eq!(data, [0x04, 0x4F]);
    }

    fn bodies() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => "[a-zA-Z0-9 @£èéÇ]{1,40}",
            2 => "[\\^{}\\[\\]~|€\\\\]{1,20}",
            2 => "[яжшä]{1,20}",
            1 => Just("😀".to_owned()),
            1 => Just("👨\u{200D}👩\u{200D}👧\u{200D}👦".to_owned()),
            1 => Just("🇩🇪".to_owned()),
            1 => "e[\u{300}-\u{310}]{1,80}",
            1 => Just("\r\n".to_owned()),
        ];
        proptest::collection::vec(piece, 1..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn parts_join_back_fit_and_split_no_cluster_that_fits(body in bodies(), sixteen: bool, code_points: bool) {
            let encoding = encoding::choose(&body, None).unwrap();
            let bits = if sixteen { ReferenceBits::Sixteen } else { ReferenceBits::Eight };
            let by = if code_points { SplitBy::CodePoint } else { SplitBy::Grapheme };
            let content = text(&body);
            let parts = split(&content, encoding, bits, by).unwrap();
            let joined: String = parts.iter().filter_map(|part| part.text(&content)).collect();
            prop_assert_eq!(&joined, &body);
            let total = u8::try_from(parts.len()).unwrap();
            for (index, part) in parts.iter().enumerate() {
                prop_assert_eq!(usize::from(part.number), index + 1);
                prop_assert!(part.units <= part.unit_limit);
                let data = part.user_data(&content, encoding, bits, 7, total).unwrap();
                prop_assert!(data.len() <= USER_DATA);
            }
            if by == SplitBy::Grapheme && parts.len() > 1 {
                let limit = parts[0].unit_limit;
                for (start, cluster) in body.grapheme_indices(true) {
                    let units: usize = cluster.chars().map(|c| match encoding {
                        Encoding::Gsm7 => gsm7::septets(c),
                        _ => c.len_utf16(),
                    }).sum();
                    let is_cut = parts.iter().any(|part| part.range.start > start && part.range.start < start + cluster.len());
                    prop_assert!(!is_cut || units > limit, "a cluster of {units} units was cut");
                }
            }
        }
    }
}
