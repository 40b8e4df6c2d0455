//! Why a call failed, as the server's google.rpc details tell it.

use std::collections::HashMap;
use std::fmt::{Display, Formatter};
use std::time::Duration;

use tonic::{Code, Status, TimeoutExpired};
use tonic_types::{ErrorDetails, StatusExt};

use crate::v1::ErrorReason;

/// A failed call.
///
/// A connection that could not be made, broke or fell silent is `UNAVAILABLE` without a reason.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    code: Code,
    message: String,
    reason: String,
    metadata: HashMap<String, String>,
    field_violations: Vec<FieldViolation>,
    retry_after: Option<Duration>,
    request_id: Option<String>,
}

/// One field of the request that breaks its documented limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// The field's name in the proto file.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Error {
    /// The gRPC code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Herald's own reason; `None` if the error did not come from a Herald server, or from one that knows more
    /// reasons than this SDK (then [`reason_name`](Self::reason_name) has it).
    pub fn reason(&self) -> Option<ErrorReason> {
        ErrorReason::from_str_name(&format!("ERROR_REASON_{}", self.0.reason))
    }

    /// The reason as the server wrote it, such as `INSUFFICIENT_CREDIT`; empty if it gave none.
    pub fn reason_name(&self) -> &str {
        &self.0.reason
    }

    /// What went wrong, for a person.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The facts that belong to the reason, such as `need_micros`; `ErrorReason` documents them.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.0.metadata
    }

    /// One of the facts that belong to the reason.
    pub fn info(&self, key: &str) -> Option<&str> {
        self.0.metadata.get(key).map(String::as_str)
    }

    /// Every field that is out of its limits.
    pub fn field_violations(&self) -> &[FieldViolation] {
        &self.0.field_violations
    }

    /// When the server wants to see the call again, from now.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Names the call in the server's log.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// An error that arises on this side.
    pub(crate) fn local(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            reason: String::new(),
            metadata: HashMap::new(),
            field_violations: Vec::new(),
            retry_after: None,
            request_id: None,
        }))
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        // Details that do not decode are as good as none: the code and the message stand.
        let details = status.check_error_details().unwrap_or_default();
        let (code, message) = verdict(&status, &details);
        let (reason, metadata) = match details.error_info() {
            Some(info) => (info.reason.clone(), info.metadata.clone()),
            None => Default::default(),
        };
        let header =
            || status.metadata().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let request_id =
            details.request_info().map(|info| info.request_id.clone()).filter(|id| !id.is_empty());
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        Self(Box::new(Inner {
            code,
            message,
            reason,
            metadata,
            field_violations: violations.iter().map(FieldViolation::from).collect(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            request_id: request_id.or_else(header),
        }))
    }
}

/// The error of one item, as a call of its own would have had it.
impl From<tonic_types::pb::Status> for Error {
    fn from(status: tonic_types::pb::Status) -> Self {
        let code = Code::from(status.code);
        let details = prost::Message::encode_to_vec(&status).into();
        Status::with_details(code, status.message, details).into()
    }
}

impl From<&tonic_types::FieldViolation> for FieldViolation {
    fn from(violation: &tonic_types::FieldViolation) -> Self {
        Self { field: violation.field.clone(), description: violation.description.clone() }
    }
}

/// `UNAVAILABLE: RATE_LIMITED: message; field: problem; come back in 1s; request id`, as far as known.
impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(code_name(self.0.code))?;
        if !self.0.reason.is_empty() && self.0.reason != code_name(self.0.code) {
            write!(f, " {}", self.0.reason)?;
        }
        if !self.0.message.is_empty() {
            write!(f, ": {}", self.0.message)?;
        }
        // Herald's message lists them already; another server's may not.
        for violation in &self.0.field_violations {
            if !self.0.message.contains(&violation.description) || !self.0.message.contains(&violation.field)
            {
                write!(f, "; {} {}", violation.field, violation.description)?;
            }
        }
        if let Some(after) = self.0.retry_after {
            write!(f, " (try again in {:.1} s)", after.as_secs_f64())?;
        }
        match &self.0.request_id {
            Some(id) if self.0.code == Code::Internal => write!(f, " (request id {id})"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// The code and the message that a caller can act on. A connection's failures come with many codes, by the moment
/// at which it broke; they all mean the same.
fn verdict(status: &Status, details: &ErrorDetails) -> (Code, String) {
    let comes_from_server = details.error_info().is_some();
    let source = std::error::Error::source(status);
    if comes_from_server || (source.is_none() && status.code() != Code::Unknown) {
        return (status.code(), status.message().to_owned());
    }
    let causes: Vec<_> = std::iter::successors(source, |cause| cause.source()).collect();
    if causes.iter().any(|cause| cause.is::<TimeoutExpired>()) {
        return (
            Code::DeadlineExceeded,
            "the call took longer than its deadline; it may have been done".into(),
        );
    }
    let message = match causes.last() {
        Some(root) => format!("no connection to the server: {root}"),
        // A reset reaches us as a clean end without a status.
        None => format!("the connection to the server broke: {}", status.message()),
    };
    (Code::Unavailable, message)
}

/// The code as the gRPC documentation writes it, such as `NOT_FOUND`.
pub const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn refused(code: Code, message: &str, fill: impl FnOnce(&mut ErrorDetails)) -> Error {
        let mut details = ErrorDetails::new();
        fill(&mut details);
        Status::with_error_details(code, message, details).into()
    }

    #[test]
    fn the_servers_details_are_read() {
        let error = refused(Code::FailedPrecondition, "credit is short", |details| {
            let facts = [("need_micros", "7500"), ("available_micros", "0")];
            let facts = facts.map(|(key, value)| (key.to_owned(), value.to_owned()));
            details.set_error_info("INSUFFICIENT_CREDIT", "herald", facts);
            details.set_request_info("req-1", "");
            details.set_retry_info(Some(Duration::from_millis(1_500)));
        });
        assert_eq!(error.code(), Code::FailedPrecondition);
        assert_eq!(error.reason(), Some(ErrorReason::InsufficientCredit));
        assert_eq!(error.info("need_micros"), Some("7500"));
        assert_eq!(error.request_id(), Some("req-1"));
        assert_eq!(error.retry_after(), Some(Duration::from_millis(1_500)));
        let shown = error.to_string();
        assert_eq!(shown, "FAILED_PRECONDITION INSUFFICIENT_CREDIT: credit is short (try again in 1.5 s)");
    }

    #[test]
    fn an_items_error_tells_what_a_call_would_have_told() {
        use prost::Message;
        let mut details = ErrorDetails::new();
        details.set_error_info("NO_ROUTE", "herald", HashMap::<String, String>::new());
        details.set_request_info("req-3", "");
        let status = Status::with_error_details(Code::FailedPrecondition, "nobody reaches it", details);
        let item = tonic_types::pb::Status::decode(status.details()).unwrap();
        let error = Error::from(item);
        assert_eq!((error.code(), error.reason()), (Code::FailedPrecondition, Some(ErrorReason::NoRoute)));
        assert_eq!((error.message(), error.request_id()), ("nobody reaches it", Some("req-3")));
    }

    #[test]
    fn every_violated_field_is_shown_once() {
        let fill = |details: &mut ErrorDetails| {
            details.add_bad_request_violation("to", "is not a number");
            details.add_bad_request_violation("text", "is empty");
        };
        let told = refused(Code::InvalidArgument, "to is not a number; text is empty", fill);
        assert_eq!(told.to_string(), "INVALID_ARGUMENT: to is not a number; text is empty");
        let untold = refused(Code::InvalidArgument, "no", fill);
        assert_eq!(untold.to_string(), "INVALID_ARGUMENT: no; to is not a number; text is empty");
        assert_eq!(untold.field_violations().len(), 2);
        assert_eq!(untold.field_violations()[1].field, "text");
    }

    #[test]
    fn a_reason_of_a_newer_server_keeps_its_name() {
        let none = HashMap::<String, String>::new();
        let error = refused(Code::Aborted, "", |details| {
            details.set_error_info("MOON_IN_WRONG_PHASE", "herald", none);
        });
        assert_eq!((error.reason(), error.reason_name()), (None, "MOON_IN_WRONG_PHASE"));
    }

    #[test]
    fn an_internal_error_names_the_call_for_the_servers_log() {
        let error = refused(Code::Internal, "a fault", |details| {
            details.set_error_info("INTERNAL", "herald", HashMap::<String, String>::new());
            details.set_request_info("req-2", "");
        });
        assert_eq!(error.to_string(), "INTERNAL: a fault (request id req-2)");
    }

    #[test]
    fn whatever_breaks_a_connection_is_unavailable() {
        let cause = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "reset by peer");
        let broken = Error::from(Status::from_error(Box::new(cause)));
        assert_eq!((broken.code(), broken.reason()), (Code::Unavailable, None));
        assert!(broken.message().contains("reset by peer"), "{broken}");
        // hyper hides a reset stream, and tonic then misses the status.
        assert_eq!(Error::from(Status::unknown("missing grpc-status")).code(), Code::Unavailable);
        // What a server or this program says is not touched.
        for code in [Code::Internal, Code::Cancelled, Code::Unimplemented] {
            assert_eq!(Error::from(Status::new(code, "said so")).code(), code);
        }
    }

    #[test]
    fn a_deadline_that_passed_on_this_side_is_called_so() {
        let error = Error::from(Status::from_error(Box::new(TimeoutExpired(()))));
        assert_eq!(error.code(), Code::DeadlineExceeded);
    }

    #[test]
    fn details_that_do_not_decode_leave_code_and_message() {
        let status = Status::with_details(Code::NotFound, "gone", vec![0xff, 0xff, 0xff].into());
        let error = Error::from(status);
        assert_eq!((error.code(), error.message()), (Code::NotFound, "gone"));
    }
}
