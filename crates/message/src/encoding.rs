//! How content is written: the encodings of a short message, which one a text needs, and what fits a part.

pub mod gsm7;
pub mod national;
pub mod transliterate;

mod forcing;
pub(crate) mod room;
mod tables;

pub use forcing::{Forcing, NotEncodable, forcing_characters, forcing_characters_of};
pub use national::{NationalTable, Shifts};
pub use room::{ReferenceBits, SplitBy, unit_limit};
pub use transliterate::{replacement, transliterate};

use crate::words;

words! {
    /// How content is written into octets. Frozen at accept.
    pub enum Encoding {
        /// 7-bit default alphabet with its extension table (3GPP TS 23.038 section 6.2.1).
        Gsm7 = "GSM7",
        /// UTF-16, big-endian, without a byte order mark (3GPP TS 23.038 section 6.2.3 says UCS-2; phones take UTF-16).
        Ucs2 = "UCS2",
        /// 8-bit data.
        Binary = "BINARY",
    }
}

/// An encoding with the tables that it uses. Frozen at accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Coding {
    pub encoding: Encoding,
    /// [`Shifts::NONE`] unless the encoding is GSM-7: with another, nothing can be written.
    pub shifts: Shifts,
}

impl From<Encoding> for Coding {
    fn from(encoding: Encoding) -> Self {
        Self { encoding, shifts: Shifts::NONE }
    }
}

/// How to write a text: in the encoding asked for if it can be written in it, else in the smallest that can. With
/// `table`, GSM-7 may use that language's tables, as they need the fewest parts: plain GSM-7 if it needs no more than
/// they, then single shift, then locking shift, then both. Asking for [`Encoding::Binary`] is the caller's mistake; a
/// text is then treated as if nothing was asked.
pub fn choose(
    text: &str,
    asked: Option<Encoding>,
    table: Option<NationalTable>,
    reference_bits: ReferenceBits,
) -> Result<Coding, NotEncodable> {
    if asked == Some(Encoding::Ucs2) {
        return Ok(Encoding::Ucs2.into());
    }
    if let Some(shifts) = smallest(text, table, reference_bits) {
        return Ok(Coding { encoding: Encoding::Gsm7, shifts });
    }
    match asked {
        Some(Encoding::Gsm7) => forcing_characters_of(text, table).map_or(Ok(Encoding::Gsm7.into()), Err),
        _ => Ok(Encoding::Ucs2.into()),
    }
}

/// The tables that write the text into the fewest parts; `None` if none can write it.
fn smallest(text: &str, table: Option<NationalTable>, reference_bits: ReferenceBits) -> Option<Shifts> {
    if table.is_none() {
        // Nothing to compare: most messages need no count here.
        let is_plain = text.chars().all(|character| gsm7::septets(character) > 0);
        return is_plain.then_some(Shifts::NONE);
    }
    let count = |shifts| {
        let coding = Coding { encoding: Encoding::Gsm7, shifts };
        let parts = room::lay_out_text(text, coding, reference_bits, SplitBy::Grapheme)?;
        Some((parts.loads.len(), shifts))
    };
    // The first of equals is taken.
    Shifts::of(table).filter_map(count).min_by_key(|(parts, _)| *parts).map(|(_, shifts)| shifts)
}

#[cfg(test)]
mod tests;
