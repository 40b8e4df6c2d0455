//! Asks the oracle: one run of Node.js for all texts.

use std::io::{Seek, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use message::encoding::Encoding;
use serde::Deserialize;

/// Where split-sms is installed; set by `make test`.
const VARIABLE: &str = "HERALD_TEST_SMS_ORACLE";

/// What the oracle says of a text.
#[derive(Deserialize)]
pub(super) struct Answer {
    encoding: String,
    /// The text of each part.
    pub(super) parts: Vec<String>,
    /// Septets or UTF-16 units of each part.
    pub(super) units: Vec<usize>,
    /// The grapheme clusters of the text, by ICU.
    pub(super) clusters: Vec<String>,
}

impl Answer {
    pub(super) fn encoding(&self) -> Encoding {
        self.encoding.parse().expect("oracle.js uses our words")
    }
}

/// One answer for each text, in order.
pub(super) fn ask(texts: &[String]) -> Vec<Answer> {
    let Some(splitter) = std::env::var_os(VARIABLE) else {
        panic!("{VARIABLE} is not set: run `make test`, which installs split-sms and says where it is");
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/parts_oracle/oracle.js");
    // A file, not a pipe: nobody waits for the other side's buffer.
    let mut input = tempfile::tempfile().expect("a temporary file can be made");
    input.write_all(&serde_json::to_vec(texts).expect("texts are JSON")).expect("the texts are written");
    input.rewind().expect("a file can be read from its start");
    let run = Command::new("node").arg(script).arg(splitter).stdin(Stdio::from(input)).output();
    let run = run.expect("Node.js is installed, as CONTRIBUTING.md asks");
    assert!(run.status.success(), "the oracle failed: {}", String::from_utf8_lossy(&run.stderr));
    let answers: Vec<Answer> = serde_json::from_slice(&run.stdout).expect("the oracle answers JSON");
    assert_eq!(answers.len(), texts.len());
    answers
}
