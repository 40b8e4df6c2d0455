//! How a command fails: what is printed and the exit code.

use std::process::ExitCode;

use anyhow::anyhow;
use herald_sdk::{Error, FieldViolation, code_name};
use serde_json::json;
use tonic::Code;

/// A failed command.
#[derive(Debug)]
pub struct Failed {
    pub code: u8,
    pub error: anyhow::Error,
}

/// The command did what it could, and some of it was refused.
pub const REFUSED: u8 = 3;
/// The server cannot be reached, stops, or took too long.
pub const UNAVAILABLE: u8 = 7;
/// The message ended undelivered.
pub const UNDELIVERED: u8 = 10;
/// Bad configuration (EX_USAGE of sysexits.h).
pub const CONFIGURATION: u8 = 64;

impl Failed {
    pub fn new(code: u8, error: anyhow::Error) -> Self {
        Self { code, error }
    }

    /// Prints why, with the causes, and gives the exit code.
    pub fn tell(self) -> ExitCode {
        if self.code != 0 {
            eprintln!("error: {:#}", self.error);
        }
        ExitCode::from(self.code)
    }

    /// The call may have been done: names the key under which it can be made again without harm.
    pub fn of_keyed_call(error: Error, key: &str) -> Self {
        let may_be_done = matches!(error.code(), Code::Unavailable | Code::DeadlineExceeded);
        let failed = Self::from(error);
        if !may_be_done {
            return failed;
        }
        let hint = format!("  it may have been done; to make sure, repeat it with --key {key}");
        Self::new(failed.code, anyhow!("{}\n{hint}", failed.error))
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self::new(1, error)
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        // The reader has seen enough, as in `| head`.
        let code = u8::from(error.kind() != std::io::ErrorKind::BrokenPipe);
        Self::new(code, error.into())
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::new(code_of(error.code()), anyhow!(explain(&error)))
    }
}

/// The exit code for a gRPC code.
pub fn code_of(code: Code) -> u8 {
    match code {
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::AlreadyExists
        | Code::OutOfRange
        | Code::Aborted => REFUSED,
        Code::Unauthenticated | Code::PermissionDenied => 4,
        Code::NotFound => 5,
        Code::ResourceExhausted => 6,
        Code::Unavailable | Code::DeadlineExceeded => UNAVAILABLE,
        _ => 1,
    }
}

/// The reason with the message on one line, for lists of outcomes.
pub fn summary(error: &Error) -> String {
    match error.message() {
        "" => reason(error).to_owned(),
        message => format!("{}: {message}", reason(error)),
    }
}

/// The error for a program.
pub fn error_json(error: &Error) -> serde_json::Value {
    let violations = error.field_violations().iter();
    let violations = violations.map(|one| json!({"field": one.field, "description": one.description}));
    json!({
        "code": code_name(error.code()),
        "reason": error.reason_name(),
        "message": error.message(),
        "fieldViolations": violations.collect::<Vec<_>>(),
        "requestId": error.request_id().unwrap_or_default(),
    })
}

/// The error for a person: what and why, each field on a line of its own, when to come back, and the name under which
/// the server's log has the call.
fn explain(error: &Error) -> String {
    let violations = error.field_violations();
    let is_told = |one: &FieldViolation| error.message().contains(&one.description);
    // Where the message is nothing but the list of the fields, the list is told better below.
    let mut lines = vec![if !violations.is_empty() && violations.iter().all(is_told) {
        format!("{}: the request is not as it must be", reason(error))
    } else {
        summary(error)
    }];
    lines.extend(violations.iter().map(|one| format!("  {}: {}", one.field, one.description)));
    if let Some(after) = error.retry_after() {
        lines.push(format!("  try again in {:.1} s", after.as_secs_f64()));
    }
    // A server that answers gives a reason.
    if error.code() == Code::Unavailable && error.reason_name().is_empty() {
        lines.push("  is the server running, and is this its address (--address, HERALD_ADDRESS)?".into());
    }
    lines.extend(error.request_id().map(|id| format!("  request id {id}")));
    lines.join("\n")
}

/// Herald's own reason, or the code of an error without one.
fn reason(error: &Error) -> &str {
    if error.reason_name().is_empty() { code_name(error.code()) } else { error.reason_name() }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use tonic::Status;
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    fn refused(code: Code, reason: &str, message: &str, fill: impl FnOnce(&mut ErrorDetails)) -> Error {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, "herald", HashMap::<String, String>::new());
        details.set_request_info("req-1", "");
        fill(&mut details);
        Status::with_error_details(code, message, details).into()
    }

    #[test]
    fn each_violated_field_has_a_line_of_its_own() {
        let message = "to is not a number; text is empty";
        let error = refused(Code::InvalidArgument, "INVALID_FIELD", message, |details| {
            details.add_bad_request_violation("to", "is not a number");
            details.add_bad_request_violation("text", "is empty");
        });
        let expected = "INVALID_FIELD: the request is not as it must be\n  to: is not a number\n  text: is empty\n  \
            request id req-1";
        assert_eq!(explain(&error), expected);
        assert_eq!(Failed::from(error).code, REFUSED);
    }

    #[test]
    fn an_error_says_when_to_come_back_and_whom_to_ask_for() {
        let error = refused(Code::ResourceExhausted, "RATE_LIMITED", "too fast", |details| {
            details.set_retry_info(Some(Duration::from_millis(1_500)));
        });
        let expected = "RATE_LIMITED: too fast\n  try again in 1.5 s\n  request id req-1";
        assert_eq!(explain(&error), expected);
        assert_eq!(summary(&error), "RATE_LIMITED: too fast");
        assert_eq!(Failed::from(error).code, 6);
    }

    #[test]
    fn a_keyed_call_that_may_have_been_done_names_its_key() {
        let uncertain = refused(Code::Unavailable, "OUTCOME_UNCERTAIN", "who knows", |_| {});
        let told = Failed::of_keyed_call(uncertain, "k1").error.to_string();
        assert!(told.ends_with("repeat it with --key k1"), "{told}");
        let refusal = refused(Code::FailedPrecondition, "NO_ROUTE", "nobody reaches it", |_| {});
        assert!(!Failed::of_keyed_call(refusal, "k1").error.to_string().contains("k1"));
    }
}
