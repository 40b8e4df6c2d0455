//! What a refused call must tell.

use std::fmt::Debug;

use herald_sdk::Error;
use herald_sdk::tonic::{Code, Status};
use herald_sdk::v1::ErrorReason;

/// The error of a call that must be refused with this code and reason.
#[track_caller]
pub(crate) fn refusal<T: Debug>(
    answer: Result<T, impl Into<Error>>,
    code: Code,
    reason: ErrorReason,
) -> Error {
    let error: Error = match answer {
        Ok(answer) => panic!("the call was not refused but answered: {answer:?}"),
        Err(error) => error.into(),
    };
    assert_eq!((error.code(), error.reason()), (code, Some(reason)), "{error}");
    assert!(error.request_id().is_some(), "an error without a request id: {error}");
    error
}

/// An item's error as a call of its own would have had it.
pub(crate) fn item_error(error: &tonic_types::pb::Status) -> Error {
    use prost::Message;
    let details = error.encode_to_vec().into();
    Status::with_details(Code::from(error.code), error.message.clone(), details).into()
}

/// The same of a bare status, for which the domain is checked too.
#[track_caller]
pub(crate) fn assert_refused(status: &Status, code: Code, reason: ErrorReason) {
    use tonic_types::StatusExt;
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("an error without ErrorInfo: {status}"));
    let name = reason.as_str_name().trim_start_matches("ERROR_REASON_");
    assert_eq!(
        (status.code(), info.reason.as_str(), info.domain.as_str()),
        (code, name, "herald"),
        "{status}"
    );
    assert!(
        details.request_info().is_some_and(|info| !info.request_id.is_empty()),
        "no request id: {status}"
    );
}
