//! The one place where errors become gRPC statuses: a code, an `ErrorReason`, and details. What a store said is
//! logged here with its whole chain and leaves as "internal".

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Display;
use std::time::Duration;

use delivery::accept::quote::LineError;
use delivery::accept::{AcceptError, FieldViolation, ViolationKind};
use delivery::cancel::CancelError;
use delivery::credit::CreditError;
use delivery::port::StoreError;
use delivery::statement::StatementError;
use delivery::watch::WatchError;
use ledger::LedgerError;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

use crate::auth::AuthError;
use crate::layers::request_id::{self, RequestId};
use crate::proto::v1::ErrorReason;
use crate::token::BadToken;

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "herald";
/// When to come back after a passing fault of the server.
const COME_BACK: Duration = Duration::from_secs(1);

/// An error on its way out.
pub struct Refusal {
    reason: ErrorReason,
    message: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
    retry_after: Option<Duration>,
}

/// The code that the documentation of each reason names.
pub fn code_of(reason: ErrorReason) -> Code {
    use ErrorReason as R;
    match reason {
        R::InvalidField
        | R::RecipientInvalid
        | R::SenderInvalid
        | R::TextNotEncodable
        | R::TooManyParts
        | R::PriceAboveMax
        | R::PageTokenInvalid
        | R::ResumeTokenInvalid
        | R::IdempotencyKeyRequired => Code::InvalidArgument,
        R::ResumeTokenExpired => Code::OutOfRange,
        R::InsufficientCredit
        | R::NoRoute
        | R::NoRate
        | R::MessageNotCancelable
        | R::DuplicateRiskNotAccepted
        | R::CurrencyMismatch
        | R::RecipientOptedOut => Code::FailedPrecondition,
        R::ApiKeyMissing | R::ApiKeyInvalid => Code::Unauthenticated,
        R::ScopeMissing | R::ClientSuspended | R::ActingNotAllowed => Code::PermissionDenied,
        R::ResourceNotFound => Code::NotFound,
        R::IdempotencyKeyReused => Code::AlreadyExists,
        R::RateLimited | R::Overloaded | R::TooManyStreams | R::RequestTooLarge => Code::ResourceExhausted,
        R::ShuttingDown | R::DependencyUnavailable | R::OutcomeUncertain => Code::Unavailable,
        R::DeadlineExceeded => Code::DeadlineExceeded,
        R::Unimplemented => Code::Unimplemented,
        R::Unspecified | R::Internal => Code::Internal,
    }
}

/// The reason as `ErrorInfo` tells it.
pub fn reason_name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// The error as one item of an answer tells it: with the details that a call of its own would have. `request_id` is that
/// of the call which answers.
pub fn rpc_status(error: &Status, request_id: Option<&RequestId>) -> pb::Status {
    let mut details = error.get_error_details();
    if let Some(request_id) = request_id {
        name_call(&mut details, request_id);
    }
    let (code, message) = (error.code(), error.message());
    let whole = Status::with_error_details(code, message, details);
    pb::Status::decode(whole.details()).unwrap_or_else(|_| pb::Status {
        code: i32::from(code),
        message: message.to_owned(),
        details: Vec::new(),
    })
}

/// Names the call, for which the server's log has the cause.
pub fn name_call(details: &mut ErrorDetails, request_id: &RequestId) {
    details.set_request_info(request_id.as_str(), "");
    if let Some(info) = details.error_info()
        && info.reason == reason_name(ErrorReason::Internal)
    {
        let mut metadata = info.metadata.clone();
        metadata.insert("request_id".to_owned(), request_id.as_str().to_owned());
        details.set_error_info(reason_name(ErrorReason::Internal), DOMAIN, metadata);
    }
}

impl Refusal {
    fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            metadata: HashMap::new(),
            details: ErrorDetails::new(),
            retry_after: None,
        }
    }

    fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    fn violation(mut self, field: &str, problem: &str) -> Self {
        self.details.add_bad_request_violation(field, problem);
        self
    }

    fn retry_after(mut self, after: Duration) -> Self {
        self.details.set_retry_info(Some(after));
        self.retry_after = Some(after);
        self
    }

    fn quota(mut self, subject: &str, description: String) -> Self {
        self.details.add_quota_failure_violation(subject, description);
        self
    }

    pub fn into_status(mut self) -> Status {
        self.details.set_error_info(reason_name(self.reason), DOMAIN, self.metadata);
        let mut status = Status::with_error_details(code_of(self.reason), self.message, self.details);
        if let Some(after) = self.retry_after {
            // Whole seconds, rounded up: coming back too early helps nobody.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            status.metadata_mut().insert("retry-after", seconds.into());
        }
        status
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        refusal.into_status()
    }
}

/// One field out of its limits.
pub fn invalid_field(field: &str, problem: impl Display) -> Status {
    invalid_fields(&[(field, problem.to_string())])
}

/// Every field that is out of its limits, with what is wrong with it.
pub fn invalid_fields<F: AsRef<str>>(faults: &[(F, String)]) -> Status {
    with_violations(ErrorReason::InvalidField, faults).into_status()
}

fn with_violations<F: AsRef<str>>(reason: ErrorReason, faults: &[(F, String)]) -> Refusal {
    let told = faults.iter().map(|(field, problem)| format!("{} {problem}", field.as_ref()));
    let refusal = Refusal::new(reason, told.collect::<Vec<_>>().join("; "));
    faults.iter().fold(refusal, |refusal, (field, problem)| refusal.violation(field.as_ref(), problem))
}

/// Absent and foreign answer the same.
pub fn not_found(kind: &str, id: &str) -> Status {
    let mut refusal = Refusal::new(ErrorReason::ResourceNotFound, format!("there is no such {kind}"));
    refusal.details.set_resource_info(format!("herald.v1.{kind}"), id, "", "");
    refusal.into_status()
}

pub fn page_token_invalid(_: BadToken) -> Status {
    let problem = "is malformed, or belongs to another list, filter or client".to_owned();
    with_violations(ErrorReason::PageTokenInvalid, &[("page_token", problem)]).into_status()
}

pub fn resume_token_invalid() -> Status {
    let problem = "is malformed, or belongs to another client or to another history of the log".to_owned();
    with_violations(ErrorReason::ResumeTokenInvalid, &[("resume_token", problem)]).into_status()
}

/// `oldest` makes the token of the oldest position from its `seq`.
pub fn watch_error(error: WatchError, oldest: impl FnOnce(i64) -> String) -> Status {
    match error {
        WatchError::AgedOut { oldest_seq } => {
            Refusal::new(ErrorReason::ResumeTokenExpired, "events after this position are no longer kept")
                .with("oldest_resume_token", oldest(oldest_seq - 1))
                .into_status()
        }
        WatchError::Ahead { .. } => resume_token_invalid(),
        WatchError::Store(error) => store_error(error),
    }
}

pub fn idempotency_key_required() -> Status {
    let problem = "is required here".to_owned();
    with_violations(ErrorReason::IdempotencyKeyRequired, &[("idempotency_key", problem)]).into_status()
}

pub fn auth_error(error: AuthError) -> Status {
    let reason = match error {
        AuthError::Missing => ErrorReason::ApiKeyMissing,
        AuthError::Invalid => ErrorReason::ApiKeyInvalid,
        AuthError::ActingNotAllowed => ErrorReason::ActingNotAllowed,
        AuthError::ScopeMissing(scope) => {
            return Refusal::new(ErrorReason::ScopeMissing, error.to_string())
                .with("required_scope", scope)
                .into_status();
        }
        AuthError::MalformedClientId => return invalid_field("herald-client-id", "must be a UUID"),
        AuthError::ClientNotNamed => {
            return invalid_field(
                "herald-client-id",
                "must name the client that the operator's key acts for",
            );
        }
        AuthError::RateLimited { retry_after } => return strangers_limited(retry_after),
        AuthError::Overloaded => return overloaded(COME_BACK),
        AuthError::Store(error) => return store_error(error),
    };
    Refusal::new(reason, error.to_string()).into_status()
}

impl From<AuthError> for Status {
    fn from(error: AuthError) -> Self {
        auth_error(error)
    }
}

pub fn overloaded(retry_after: Duration) -> Status {
    Refusal::new(ErrorReason::Overloaded, "too much is waiting; come back later")
        .retry_after(retry_after)
        .into_status()
}

/// An address has made too many calls without a valid key.
pub fn strangers_limited(retry_after: Duration) -> Status {
    let problem = "too many calls without a valid API key from this address";
    Refusal::new(ErrorReason::RateLimited, problem)
        .retry_after(retry_after)
        .quota("address", problem.to_owned())
        .into_status()
}

/// The key has `max` streams open.
pub fn too_many_streams(max: usize) -> Status {
    let problem = format!("an API key may have {max} open streams");
    Refusal::new(ErrorReason::TooManyStreams, problem.clone())
        .retry_after(COME_BACK)
        .quota("api_key", problem)
        .into_status()
}

pub fn shutting_down() -> Status {
    Refusal::new(ErrorReason::ShuttingDown, "the server stops").retry_after(COME_BACK).into_status()
}

pub fn deadline_exceeded() -> Status {
    let message = "the call took longer than its deadline; it may have been done";
    Refusal::new(ErrorReason::DeadlineExceeded, message).into_status()
}

pub fn unimplemented() -> Status {
    Refusal::new(ErrorReason::Unimplemented, "there is no such method").into_status()
}

pub fn request_too_large() -> Status {
    Refusal::new(ErrorReason::RequestTooLarge, "the request is over the size limit").into_status()
}

/// The bytes of the request are not the message that the method takes.
pub fn undecodable() -> Status {
    Refusal::new(ErrorReason::InvalidField, "the request does not decode").into_status()
}

pub fn internal(error: &(dyn Error + 'static)) -> Status {
    let request_id = request_id::current();
    let request_id = request_id.as_ref().map(RequestId::as_str);
    tracing::error!(request_id, error = %chain(error), "a call failed inside");
    Refusal::new(ErrorReason::Internal, "internal error").into_status()
}

pub fn store_error(error: StoreError) -> Status {
    match &error {
        StoreError::Refused(_) => internal(&error),
        StoreError::Uncertain(_) => {
            tracing::warn!(error = %chain(&error), "the fate of a commit is not known");
            outcome_uncertain()
        }
        StoreError::Conflict | StoreError::Unavailable(_) => {
            tracing::warn!(error = %chain(&error), "the store is not available");
            Refusal::new(
                ErrorReason::DependencyUnavailable,
                "the database cannot be reached; nothing was done",
            )
            .retry_after(COME_BACK)
            .into_status()
        }
    }
}

fn outcome_uncertain() -> Status {
    let message = "the fate of the commit is not known; repeat the call with the same idempotency_key";
    Refusal::new(ErrorReason::OutcomeUncertain, message).retry_after(COME_BACK).into_status()
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}

pub fn accept_error(error: AcceptError) -> Status {
    match error {
        AcceptError::Invalid(violations) => invalid(violations),
        AcceptError::NoRoute => {
            Refusal::new(ErrorReason::NoRoute, "no provider reaches this recipient").into_status()
        }
        AcceptError::NoRate => {
            Refusal::new(ErrorReason::NoRate, "there is no rate for this recipient").into_status()
        }
        AcceptError::RecipientOptedOut => {
            Refusal::new(ErrorReason::RecipientOptedOut, "the recipient has opted out").into_status()
        }
        AcceptError::InsufficientCredit { need_micros, available_micros, currency } => {
            insufficient_credit(need_micros, available_micros, &currency)
        }
        AcceptError::ClientSuspended => {
            Refusal::new(ErrorReason::ClientSuspended, "the client is suspended and may not send")
                .into_status()
        }
        AcceptError::NoSuchClient => not_found("Client", ""),
        AcceptError::NoSuchDeadLetter => not_found("DeadLetter", ""),
        AcceptError::DuplicateRisk => {
            let message =
                "an attempt of the dead letter has an unknown outcome: the recipient may get it twice";
            Refusal::new(ErrorReason::DuplicateRiskNotAccepted, message).into_status()
        }
        AcceptError::KeyReused { first_message } => {
            let refusal = key_reused();
            match first_message {
                Some(id) => refusal.with("first_message_id", id).into_status(),
                None => refusal.into_status(),
            }
        }
        AcceptError::RateLimited { retry_after, parts_per_second } => Refusal::new(
            ErrorReason::RateLimited,
            format!("over the rate of {parts_per_second} parts per second"),
        )
        .retry_after(retry_after)
        .quota("client", format!("{parts_per_second} parts per second"))
        .into_status(),
        AcceptError::Overloaded { retry_after } => overloaded(retry_after),
        AcceptError::ShuttingDown => shutting_down(),
        AcceptError::Uncertain(cause) => {
            if let Some(cause) = cause {
                tracing::warn!(error = %chain(&cause), "the fate of a commit is not known");
            }
            outcome_uncertain()
        }
        AcceptError::Store(error) => store_error(error),
    }
}

fn insufficient_credit(need_micros: i64, available_micros: i64, currency: &str) -> Status {
    let message = format!("needs {need_micros} micros of {currency}, {available_micros} are available");
    Refusal::new(ErrorReason::InsufficientCredit, message)
        .with("need_micros", need_micros)
        .with("available_micros", available_micros)
        .with("currency", currency)
        .into_status()
}

/// The key made something else.
pub fn idempotency_key_reused() -> Status {
    key_reused().into_status()
}

fn key_reused() -> Refusal {
    Refusal::new(ErrorReason::IdempotencyKeyReused, "the idempotency_key was used for another request")
}

/// One kind of violation is told by its own reason, several as fields.
fn invalid(violations: Vec<FieldViolation>) -> Status {
    let reasons: Vec<ErrorReason> = violations.iter().map(|violation| reason_of(&violation.kind)).collect();
    let first = reasons.first().copied().unwrap_or(ErrorReason::InvalidField);
    let is_one_kind = reasons.iter().all(|reason| *reason == first);
    let reason = if is_one_kind { first } else { ErrorReason::InvalidField };
    let fields: Vec<(&str, String)> =
        violations.iter().map(|violation| (violation.field, violation.problem.clone())).collect();
    let mut refusal = with_violations(reason, &fields);
    for violation in violations {
        refusal = match violation.kind {
            ViolationKind::NotEncodable { characters } => refusal.with("characters", characters),
            ViolationKind::TooManyParts { parts, max_parts } => {
                refusal.with("parts", parts).with("max_parts", max_parts)
            }
            ViolationKind::PriceAboveMax { price_micros, max_price_micros } => {
                refusal.with("price_micros", price_micros).with("max_price_micros", max_price_micros)
            }
            ViolationKind::Field | ViolationKind::Recipient | ViolationKind::Sender => refusal,
        };
    }
    refusal.into_status()
}

fn reason_of(kind: &ViolationKind) -> ErrorReason {
    match kind {
        ViolationKind::Field => ErrorReason::InvalidField,
        ViolationKind::Recipient => ErrorReason::RecipientInvalid,
        ViolationKind::Sender => ErrorReason::SenderInvalid,
        ViolationKind::NotEncodable { .. } => ErrorReason::TextNotEncodable,
        ViolationKind::TooManyParts { .. } => ErrorReason::TooManyParts,
        ViolationKind::PriceAboveMax { .. } => ErrorReason::PriceAboveMax,
    }
}

pub fn cancel_error(error: CancelError, message_id: &str) -> Status {
    match error {
        CancelError::NoSuchMessage => not_found("Message", message_id),
        CancelError::NotCancelable(status) => {
            let told = format!("a message that is {status} cannot be canceled");
            Refusal::new(ErrorReason::MessageNotCancelable, told).with("status", status).into_status()
        }
        CancelError::Store(error) => store_error(error),
    }
}

/// Why one line of a quote has no price.
pub fn line_error(error: LineError) -> Status {
    match error {
        LineError::Recipient(error) => {
            with_violations(ErrorReason::RecipientInvalid, &[("to", error.to_string())]).into_status()
        }
        LineError::Refused(error) => accept_error(error),
    }
}

pub fn statement_error(error: StatementError) -> Status {
    match error {
        StatementError::AgedOut => invalid_field("start_time", "is before the oldest event that is kept"),
        StatementError::Store(error) => store_error(error),
    }
}

/// `amount` is the field that says how much.
pub fn credit_error(error: CreditError, client_id: &str, amount: &str) -> Status {
    match error {
        CreditError::NoSuchClient => not_found("Client", client_id),
        CreditError::CurrencyMismatch(currency) => {
            Refusal::new(ErrorReason::CurrencyMismatch, format!("the client's currency is {currency}"))
                .with("currency", currency)
                .into_status()
        }
        CreditError::KeyReused => key_reused().into_status(),
        CreditError::Ledger { currency, source } => match source {
            LedgerError::InsufficientCredit { need, have } => insufficient_credit(need, have, &currency),
            LedgerError::Overflow => invalid_field(amount, "would overflow the balance"),
            LedgerError::NotPositive(_) => invalid_field(amount, "must be above 0"),
            LedgerError::Zero => invalid_field(amount, "must not be 0"),
            LedgerError::HeldTooLittle { .. } => internal(&source),
        },
        CreditError::Store(error) => store_error(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_the_code_that_its_comment_names() {
        let proto = include_str!("../proto/herald/v1/error_reason.proto");
        let mut code = "";
        for line in proto.lines() {
            let line = line.trim();
            if let Some((name, _)) = line.trim_start_matches("// ").split_once(". ")
                && name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_')
            {
                code = name;
            }
            let Some((name, _)) = line.split_once(" = ").filter(|_| line.starts_with("ERROR_REASON_")) else {
                continue;
            };
            let reason = ErrorReason::from_str_name(name).expect("the generated enum has every name");
            if reason != ErrorReason::Unspecified {
                let documented: String = code
                    .split('_')
                    .map(|word| {
                        let (first, rest) = word.split_at(1);
                        first.to_owned() + &rest.to_lowercase()
                    })
                    .collect();
                assert_eq!(format!("{:?}", code_of(reason)), documented, "{name}");
            }
        }
    }

    #[test]
    fn several_kinds_of_violation_are_told_as_fields_all_at_once() {
        let violation = |field, kind| FieldViolation { field, problem: "is wrong".into(), kind };
        let status = invalid(vec![
            violation("to", ViolationKind::Recipient),
            violation("text", ViolationKind::TooManyParts { parts: 4, max_parts: 3 }),
        ]);
        let details = status.get_error_details();
        let info = details.error_info().expect("every error has one");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_FIELD", "herald"));
        let fields: Vec<String> = details
            .bad_request()
            .expect("the fields")
            .field_violations
            .iter()
            .map(|violation| violation.field.clone())
            .collect();
        assert_eq!(fields, ["to", "text"]);
        let alone = invalid(vec![violation("to", ViolationKind::Recipient)]);
        assert_eq!(alone.get_error_details().error_info().expect("one").reason, "RECIPIENT_INVALID");
    }

    #[test]
    fn an_error_of_an_item_tells_what_the_call_would_have_told() {
        let error = overloaded(Duration::from_secs(1));
        let told = rpc_status(&error, None);
        assert_eq!((told.code, told.message.as_str()), (8, error.message()));
        let read = Status::with_details(error.code(), told.message.clone(), told.encode_to_vec().into());
        let details = read.get_error_details();
        assert_eq!(details.error_info().expect("one").reason, "OVERLOADED");
        assert!(details.retry_info().is_some());
        let bare = rpc_status(&Status::internal("bare"), None);
        assert_eq!((bare.code, bare.details.len()), (13, 0));
    }

    #[test]
    fn an_adjustment_below_zero_says_what_there_is() {
        let source = LedgerError::InsufficientCredit { need: 5, have: 3 };
        let status = credit_error(CreditError::Ledger { currency: "EUR".into(), source }, "", "delta_micros");
        assert_eq!(status.code(), Code::FailedPrecondition);
        let details = status.get_error_details();
        let info = details.error_info().expect("one");
        assert_eq!((info.metadata["need_micros"].as_str(), info.metadata["currency"].as_str()), ("5", "EUR"));
    }

    #[test]
    fn a_wait_is_told_in_details_and_in_whole_seconds() {
        let status = overloaded(Duration::from_millis(1_200));
        assert_eq!(status.metadata().get("retry-after").expect("the header"), "2");
        let retry = status.get_error_details().retry_info().expect("the detail").retry_delay;
        assert_eq!(retry, Some(Duration::from_millis(1_200)));
    }
}
