//! What is wrong with a request's fields, told all at once.

use std::fmt::Display;
use std::str::FromStr;

use message::id::MalformedId;
use tonic::Status;

use crate::status;

/// Gathers violations.
#[derive(Debug, Default)]
pub struct Faults(Vec<(&'static str, String)>);

impl Faults {
    pub fn add(&mut self, field: &'static str, problem: impl Display) {
        self.0.push((field, problem.to_string()));
    }

    /// Adds the problem unless the field is fine.
    pub fn check(&mut self, field: &'static str, is_fine: bool, problem: &str) {
        if !is_fine {
            self.add(field, problem);
        }
    }

    /// The value, or its error as a violation.
    pub fn take<T, E: Display>(&mut self, field: &'static str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(field, error)).ok()
    }

    /// INVALID_FIELD with every violation, if there is one.
    pub fn into_result(self) -> Result<(), Status> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into_status()) }
    }

    /// The same, where a violation is known to have been added.
    pub fn into_status(self) -> Status {
        status::invalid_fields(&self.0)
    }

    #[cfg(test)]
    pub fn fields(&self) -> Vec<&'static str> {
        self.0.iter().map(|(field, _)| *field).collect()
    }
}

/// Reads one id.
pub fn read_id<T: FromStr<Err = MalformedId>>(field: &'static str, text: &str) -> Result<T, Status> {
    text.parse().map_err(|error: MalformedId| status::invalid_field(field, error))
}
