//! Phone numbers in E.164 form.

use std::fmt;

use rlibphonenumber::PHONE_NUMBER_UTIL;

/// Most digits of an international number (ITU-T E.164 section 6).
const DIGITS_MAX: usize = 15;
/// Longest spelling that is read: digits with generous punctuation.
const SPELLING_MAX: usize = 40;

/// A valid recipient in E.164 form: `+` and 2 to 15 digits. Debug masks it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PhoneNumber(Box<str>);

/// Why a spelling is not a phone number. It never repeats the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    #[error("must not be empty")]
    Empty,
    #[error("must begin with + and the country code (E.164)")]
    NoPlus,
    #[error("may hold digits, spaces, '-', '.', '(' and ')' only, after the +")]
    BadCharacter,
    #[error("must have at most 15 digits (E.164)")]
    TooLong,
    #[error("is not a number that its country's numbering plan has")]
    NotValid,
}

impl PhoneNumber {
    /// Reads an international spelling. Spaces, hyphens, dots and parentheses are taken out; the rest must be
    /// `+` and digits, and a number that its country's numbering plan knows.
    pub fn parse(spelling: &str) -> Result<Self, PhoneError> {
        let spelling = spelling.trim();
        if spelling.is_empty() {
            return Err(PhoneError::Empty);
        }
        let rest = spelling.strip_prefix('+').ok_or(PhoneError::NoPlus)?;
        if spelling.len() > SPELLING_MAX {
            return Err(PhoneError::TooLong);
        }
        let mut number = String::with_capacity(spelling.len());
        number.push('+');
        for character in rest.chars() {
            match character {
                '0'..='9' => number.push(character),
                ' ' | '-' | '.' | '(' | ')' => {}
                _ => return Err(PhoneError::BadCharacter),
            }
        }
        if number.len() > DIGITS_MAX + 1 {
            return Err(PhoneError::TooLong);
        }
        let parsed = PHONE_NUMBER_UTIL.parse(&number, None).map_err(|_| PhoneError::NotValid)?;
        // The parser may read more into a spelling than stands there (an extra national prefix, say): only
        // a number that reads back as it was written is taken.
        let is_as_written = parsed.format_as(rlibphonenumber::PhoneNumberFormat::E164) == number;
        if !is_as_written || !PHONE_NUMBER_UTIL.is_valid_number(&parsed) {
            return Err(PhoneError::NotValid);
        }
        Ok(Self(number.into_boxed_str()))
    }

    /// Takes a number that was valid when it was stored: only its form is checked, since numbering plans change.
    pub fn from_trusted(number: String) -> Result<Self, PhoneError> {
        let digits = number.strip_prefix('+').ok_or(PhoneError::NoPlus)?;
        if digits.len() < 2 || digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(PhoneError::BadCharacter);
        }
        if digits.len() > DIGITS_MAX {
            return Err(PhoneError::TooLong);
        }
        Ok(Self(number.into_boxed_str()))
    }

    /// The whole number, `+12025550100`. Not for logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits after the plus.
    pub fn digits(&self) -> &str {
        &self.0[1..]
    }

    /// The region whose numbering plan has it, as in `US` (ISO 3166-1 alpha-2); `None` for numbers that are no region's,
    /// like those of satellite networks.
    pub fn region(&self) -> Option<String> {
        let parsed = PHONE_NUMBER_UTIL.parse(self.as_str(), None).ok()?;
        let region = PHONE_NUMBER_UTIL.get_region_for_number(&parsed)?;
        Some(region.to_string()).filter(|code| code.len() == 2)
    }

    /// A number set aside for fiction, `+1 <area> 555 01NN` (North American Numbering Plan): no real route may
    /// take it.
    pub fn is_fictional(&self) -> bool {
        let digits = self.digits();
        digits.len() == 11 && digits.starts_with('1') && &digits[4..9] == "55501"
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.len().min(4);
        write!(f, "{}***", &self.0[..shown])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_number_are_one_number() {
        for spelling in ["+12025550100", "+1 202 555 0100", " +1 (202) 555-0100 ", "+1.202.555.0100"] {
            assert_eq!(PhoneNumber::parse(spelling).unwrap().as_str(), "+12025550100");
        }
        for valid in ["+14155550199", "+19075550123", "+61491570006", "+46701740605", "+4915123456789"] {
            assert_eq!(PhoneNumber::parse(valid).unwrap().as_str(), valid);
        }
    }

    #[test]
    fn what_is_not_a_number_says_why() {
        let cases = [
            ("", PhoneError::Empty),
            ("12025550100", PhoneError::NoPlus),
            ("+1202555010x", PhoneError::BadCharacter),
            ("+1202555０100", PhoneError::BadCharacter),
            ("+1234567890123456", PhoneError::TooLong),
            ("+15555550100", PhoneError::NotValid),
            ("+", PhoneError::NotValid),
            ("+999", PhoneError::NotValid),
            ("+4402079460000", PhoneError::NotValid),
        ];
        for (spelling, expected) in cases {
            assert_eq!(PhoneNumber::parse(spelling), Err(expected), "{spelling}");
        }
    }

    #[test]
    fn the_region_is_that_of_the_numbering_plan() {
        let cases = [
            ("+12025550100", Some("US")),
            ("+16135550100", Some("CA")),
            ("+447400123456", Some("GB")),
            ("+80012345678", None),
            ("+883510012345", None),
            ("+9991234567", None),
        ];
        for (number, expected) in cases {
            let number = PhoneNumber::from_trusted(number.to_owned()).unwrap();
            assert_eq!(number.region().as_deref(), expected, "{}", number.as_str());
        }
    }

    #[test]
    fn debug_masks_the_number() {
        let number = PhoneNumber::parse("+12025550100").unwrap();
        assert_eq!(format!("{number:?}"), "+120***");
        assert!(number.is_fictional());
        assert!(!PhoneNumber::parse("+12025551100").unwrap().is_fictional());
    }

    /// Numbers of different lengths and plans, each as its country code and the rest.
    const VALID: [(&str, &str); 8] = [
        ("1", "2025550100"),
        ("44", "7400123456"),
        ("49", "15123456789"),
        ("33", "612345678"),
        ("39", "3123456789"),
        ("46", "701740605"),
        ("61", "491570006"),
        ("91", "8123456789"),
    ];

    fn separator() -> impl Strategy<Value = &'static str> {
        prop_oneof![6 => Just(""), 1 => Just(" "), 1 => Just("-"), 1 => Just("."), 1 => Just(" ("), 1 => Just(") ")]
    }

    proptest! {
        #[test]
        fn every_spelling_of_a_number_is_that_number(
            (country, rest) in proptest::sample::select(&VALID[..]),
            separators in proptest::collection::vec(separator(), 15),
            (before, after) in ("[ ]{0,2}", "[ ]{0,2}"),
        ) {
            let digits = format!("{country}{rest}");
            let spelled: String = digits.chars().zip(&separators).map(|(digit, gap)| format!("{gap}{digit}")).collect();
            let spelling = format!("{before}+{spelled}{after}");
            let expected = if spelling.trim().len() > SPELLING_MAX {
                Err(PhoneError::TooLong)
            } else {
                PhoneNumber::from_trusted(format!("+{digits}"))
            };
            prop_assert_eq!(PhoneNumber::parse(&spelling), expected);
        }

        #[test]
        fn parsing_never_panics_and_is_idempotent(spelling in "\\PC{0,50}|\\+[0-9 ().-]{0,20}") {
            if let Ok(number) = PhoneNumber::parse(&spelling) {
                prop_assert_eq!(PhoneNumber::parse(number.as_str()), Ok(number.clone()));
                prop_assert_eq!(PhoneNumber::from_trusted(number.as_str().to_owned()), Ok(number));
            }
        }
    }
}
