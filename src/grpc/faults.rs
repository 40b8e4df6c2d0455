//! What is wrong with a request's fields, told all at once.

use std::fmt::Display;
use std::str::FromStr;

use delivery::accept::{FieldViolation, ViolationKind};
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

    /// The violations, for a use case that adds its own.
    pub fn into_violations(self) -> Vec<FieldViolation> {
        let violation = |(field, problem)| FieldViolation { field, problem, kind: ViolationKind::Field };
        self.0.into_iter().map(violation).collect()
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

/// Gathers violations of a list's items, as in `rates[3].prefix`.
#[derive(Debug)]
pub struct ListFaults {
    list: &'static str,
    told: Vec<(String, String)>,
    untold: usize,
}

impl ListFaults {
    /// Violations that are told: an error travels in headers, which have little room, and what is wrong with one item
    /// of a long list is often wrong with all.
    const TOLD_MAX: usize = 20;

    pub fn of(list: &'static str) -> Self {
        Self { list, told: Vec::new(), untold: 0 }
    }

    /// Adds what is wrong with the item at `index`. The field `""` is the item itself.
    pub fn absorb(&mut self, index: usize, item: Faults) {
        let list = self.list;
        for (field, problem) in item.0 {
            let dot = if field.is_empty() { "" } else { "." };
            self.push(format!("{list}[{index}]{dot}{field}"), problem);
        }
    }

    /// INVALID_FIELD with the first violations, if there is one.
    pub fn into_result(mut self) -> Result<(), Status> {
        let untold = self.untold;
        if let Some((_, problem)) = self.told.last_mut().filter(|_| untold > 0) {
            *problem = format!("{problem} (and {untold} more violations)");
        }
        if self.told.is_empty() { Ok(()) } else { Err(status::invalid_fields(&self.told)) }
    }

    fn push(&mut self, field: String, problem: String) {
        if self.told.len() < Self::TOLD_MAX {
            self.told.push((field, problem));
        } else {
            self.untold += 1;
        }
    }
}

/// Reads one id.
pub fn read_id<T: FromStr<Err = MalformedId>>(field: &'static str, text: &str) -> Result<T, Status> {
    text.parse().map_err(|error: MalformedId| status::invalid_field(field, error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tonic_types::StatusExt;

    use super::*;

    #[test]
    fn a_long_list_of_faults_is_cut_and_says_so() {
        let mut faults = ListFaults::of("rates");
        for index in 0..1_000 {
            let mut item = Faults::default();
            item.add(if index == 0 { "" } else { "prefix" }, "is wrong");
            faults.absorb(index, item);
        }
        let refused = faults.into_result().unwrap_err();
        let told = refused.get_details_bad_request().unwrap().field_violations;
        assert_eq!(told.len(), ListFaults::TOLD_MAX);
        assert_eq!((told[0].field.as_str(), told[1].field.as_str()), ("rates[0]", "rates[1].prefix"));
        assert_eq!(told[19].description, "is wrong (and 980 more violations)");
        assert!(ListFaults::of("rates").into_result().is_ok());
    }
}
