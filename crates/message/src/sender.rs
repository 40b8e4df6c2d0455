//! Who a message says it is from.

use std::fmt;

use crate::encoding::gsm7;

/// A valid sender: alphanumeric, a phone number, or a short code. Debug gives its kind only.
#[derive(Clone, PartialEq, Eq)]
pub struct Sender {
    kind: SenderKind,
    text: String,
}

/// The kind decides type of number and numbering plan (3GPP TS 23.040 section 9.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderKind {
    /// 1 to 11 characters of the GSM-7 default alphabet, at least one a letter. Cannot be answered.
    Alphanumeric,
    /// 7 to 15 digits with or without `+`.
    Phone,
    /// 3 to 6 digits.
    ShortCode,
}

/// Why a sender is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SenderError {
    #[error("must not be empty")]
    Empty,
    #[error("a name must have at most 11 characters")]
    NameTooLong,
    #[error(
        "a name may hold printable characters of the GSM-7 default alphabet only, without spaces at its ends"
    )]
    NameCharacter,
    #[error("a number must have 7 to 15 digits, a short code 3 to 6")]
    DigitCount,
}

impl Sender {
    pub fn parse(text: &str) -> Result<Self, SenderError> {
        if text.is_empty() {
            return Err(SenderError::Empty);
        }
        let digits = text.strip_prefix('+').unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let kind = match (digits.len(), digits.len() == text.len()) {
                (7..=15, _) => SenderKind::Phone,
                (3..=6, true) => SenderKind::ShortCode,
                _ => return Err(SenderError::DigitCount),
            };
            return Ok(Self { kind, text: text.to_owned() });
        }
        if text.chars().count() > 11 {
            return Err(SenderError::NameTooLong);
        }
        let is_allowed = |c: char| !c.is_control() && gsm7::is_basic(c);
        let is_trimmed = text.trim() == text;
        if !text.chars().all(is_allowed) || !is_trimmed || !text.chars().any(char::is_alphabetic) {
            return Err(SenderError::NameCharacter);
        }
        Ok(Self { kind: SenderKind::Alphanumeric, text: text.to_owned() })
    }

    pub fn kind(&self) -> SenderKind {
        self.kind
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{:?} sender>", self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_are_names_numbers_or_short_codes() {
        let cases = [
            ("Herald", Ok(SenderKind::Alphanumeric)),
            ("Straße 7", Ok(SenderKind::Alphanumeric)),
            ("+12025550100", Ok(SenderKind::Phone)),
            ("12025550100", Ok(SenderKind::Phone)),
            ("72345", Ok(SenderKind::ShortCode)),
            ("", Err(SenderError::Empty)),
            ("TwelveLetter", Err(SenderError::NameTooLong)),
            ("Herald ", Err(SenderError::NameCharacter)),
            ("Zoë€", Err(SenderError::NameCharacter)),
            ("--", Err(SenderError::NameCharacter)),
            ("12", Err(SenderError::DigitCount)),
            ("+123456", Err(SenderError::DigitCount)),
            ("1234567890123456", Err(SenderError::DigitCount)),
        ];
        for (text, expected) in cases {
            assert_eq!(Sender::parse(text).map(|sender| sender.kind()), expected, "{text}");
        }
    }
}
