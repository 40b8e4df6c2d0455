//! A submission as the simulator sees it: without the text.

use std::fmt;

use message::parts::Content;
use message::report::AttemptRef;
use provider::Submission;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What is submitted, with a digest in place of the content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    #[serde(with = "crate::record::as_text")]
    pub attempt_ref: AttemptRef,
    pub to: Recipient,
    /// From 1 to 255.
    pub part_count: u16,
    /// Of the text in UTF-8, or of the data.
    pub content_bytes: usize,
    /// Of the same bytes, in hexadecimal.
    pub content_sha256: String,
}

impl From<&Submission> for Order {
    fn from(submission: &Submission) -> Self {
        let content: &[u8] = match &submission.content {
            Content::Text(text) => text.as_str().as_bytes(),
            Content::Binary(data) => data,
        };
        Self {
            attempt_ref: submission.attempt_ref,
            to: Recipient(submission.to.as_str().to_owned()),
            part_count: submission.part_count,
            content_bytes: content.len(),
            content_sha256: hex(&Sha256::digest(content)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
        text
    })
}

/// A number in E.164 that was checked by the submitter. Its Debug shows the last two digits only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recipient(String);

impl Recipient {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.len().checked_sub(2).and_then(|from| self.0.get(from..)).unwrap_or("");
        write!(f, "Recipient(..{digits})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_whole_number() {
        assert_eq!(format!("{:?}", Recipient("+12025550142".into())), "Recipient(..42)");
        assert_eq!(format!("{:?}", Recipient("é".into())), "Recipient(..é)");
        assert_eq!(format!("{:?}", Recipient("1".into())), "Recipient(..)");
    }
}
