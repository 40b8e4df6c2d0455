//! The three encodings of a short message, and which one a text needs.

pub mod gsm7;

use std::fmt;

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

/// Characters listed in an error at most.
const LISTED: usize = 16;

/// Characters of a text that the encoding asked for does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct NotEncodable {
    /// Each once, with its first position in characters from 0; at most 16.
    pub listed: Vec<(char, usize)>,
    /// How many characters of the text are concerned, repetitions included.
    pub total: usize,
}

impl NotEncodable {
    /// The characters themselves, joined.
    pub fn characters(&self) -> String {
        self.listed.iter().map(|(character, _)| character).collect()
    }
}

impl fmt::Display for NotEncodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} characters are not in the GSM-7 alphabet:", self.total)?;
        for (index, (character, at)) in self.listed.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator} U+{:04X} at {at}", u32::from(*character))?;
        }
        Ok(())
    }
}

/// The encoding for a text: the one asked for if it can be written in it, else the smallest that can. Asking
/// for [`Encoding::Binary`] is the caller's mistake; a text is then treated as if nothing was asked.
pub fn choose(text: &str, asked: Option<Encoding>) -> Result<Encoding, NotEncodable> {
    match asked {
        Some(Encoding::Ucs2) => Ok(Encoding::Ucs2),
        Some(Encoding::Gsm7) => forcing_characters(text).map_or(Ok(Encoding::Gsm7), Err),
        _ if forcing_characters(text).is_some() => Ok(Encoding::Ucs2),
        _ => Ok(Encoding::Gsm7),
    }
}

/// The characters that keep a text out of GSM-7; `None` = it fits.
pub fn forcing_characters(text: &str) -> Option<NotEncodable> {
    let mut error = NotEncodable { listed: Vec::new(), total: 0 };
    for (at, character) in text.chars().enumerate() {
        if gsm7::septets(character) > 0 {
            continue;
        }
        error.total += 1;
        let is_new = error.listed.iter().all(|(listed, _)| *listed != character);
        if is_new && error.listed.len() < LISTED {
            error.listed.push((character, at));
        }
    }
    (error.total > 0).then_some(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_encoding_is_chosen_unless_one_is_asked_for() {
        assert_eq!(choose("Hello {€}", None), Ok(Encoding::Gsm7));
        assert_eq!(choose("Ça va", None), Ok(Encoding::Gsm7));
        assert_eq!(choose("ça va", None), Ok(Encoding::Ucs2));
        assert_eq!(choose("Hello", Some(Encoding::Ucs2)), Ok(Encoding::Ucs2));
    }

    #[test]
    fn a_refusal_lists_each_character_once_with_its_place() {
        let error = choose("açbçc`", Some(Encoding::Gsm7)).expect_err("ç and ` are not GSM-7");
        assert_eq!(error.listed, [('ç', 1), ('`', 5)]);
        assert_eq!(error.total, 3);
        assert_eq!(error.characters(), "ç`");
        assert_eq!(error.to_string(), "3 characters are not in the GSM-7 alphabet: U+00E7 at 1, U+0060 at 5");
    }
}
