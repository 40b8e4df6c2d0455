//! What is wrong with settings.

use std::fmt;
use std::path::PathBuf;

use super::read::Origin;

/// One setting that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its name, as in `timing.lease_ms`; empty if the file as a whole cannot be read.
    pub setting: String,
    /// What is wrong with it, as the end of a sentence that begins with the name.
    pub fault: String,
    /// Where its value comes from, if that is known and not the default.
    pub origin: Option<Origin>,
}

/// Everything that is wrong, at least one thing: a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problem {
    pub fn new(setting: &str, fault: impl Into<String>) -> Self {
        Self { setting: setting.to_owned(), fault: fault.into(), origin: None }
    }
}

/// Of a certificate and its key, one file is no good without the other.
pub(super) fn pair_problem(
    table: &str,
    certificate: &Option<PathBuf>,
    key: &Option<PathBuf>,
) -> Option<Problem> {
    let (missing, given) = match (certificate, key) {
        (Some(_), None) => ("key_file", "cert_file"),
        (None, Some(_)) => ("cert_file", "key_file"),
        _ => return None,
    };
    Some(Problem::new(&format!("{table}.{missing}"), format!("must be set, because {table}.{given} is")))
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.setting.is_empty() {
            write!(f, "{} ", self.setting)?;
        }
        f.write_str(&self.fault)?;
        match &self.origin {
            Some(origin) => write!(f, " [{origin}]"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}
