//! What an error must tell, by what is documented of its reason.

use std::collections::BTreeSet;

use herald_sdk::code_name;
use herald_sdk::tonic::{Code, Status};
use herald_sdk::v1::ErrorReason;
use prost::Message;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};
use tonic_types::{StatusExt, pb};

use crate::docs::described;

/// The methods whose idempotency keys make no message that could be named.
const MAKE_NO_MESSAGE: [&str; 3] =
    ["BillingService/TopUp", "BillingService/AdjustBalance", "AdminService/CreateClient"];

/// The error has the code and the metadata that its reason documents, and every detail that the reason's comment names or
/// its code implies.
#[track_caller]
pub(super) fn assert_told(method: &str, status: &Status, reason: ErrorReason) {
    let documented = described::reason(reason);
    let what = format!("{method} {}: {status:?}", documented.name);
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {what}"));
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (documented.name, "herald"), "{what}");
    assert_eq!(code_name(status.code()), documented.code, "{what}");
    assert!(!status.message().is_empty(), "no message: {what}");
    let told: BTreeSet<String> = info.metadata.keys().cloned().collect();
    if reason == ErrorReason::IdempotencyKeyReused && MAKE_NO_MESSAGE.contains(&method) {
        assert!(told.is_empty(), "{what}");
    } else {
        assert_eq!(told, documented.metadata, "{what}");
    }
    assert!(info.metadata.values().all(|value| !value.is_empty()), "an empty value: {what}");
    let request = details.request_info().unwrap_or_else(|| panic!("no RequestInfo: {what}"));
    assert!(!request.request_id.is_empty(), "no request id: {what}");

    let names = |detail: &str| documented.cause.contains(detail);
    if names("BadRequest") || status.code() == Code::InvalidArgument {
        let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
        assert!(!violations.is_empty(), "no field is named: {what}");
        let is_told = violations.iter().all(|one| !one.field.is_empty() && !one.description.is_empty());
        assert!(is_told, "{what}");
    }
    if names("RetryInfo") || status.code() == Code::Unavailable {
        assert!(
            details.retry_info().is_some_and(|retry| retry.retry_delay.is_some()),
            "no RetryInfo: {what}"
        );
    }
    if names("QuotaFailure") {
        let quota = details.quota_failure();
        assert!(quota.is_some_and(|quota| !quota.violations.is_empty()), "no QuotaFailure: {what}");
    }
    if names("ResourceInfo") {
        let resource = details.resource_info().unwrap_or_else(|| panic!("no ResourceInfo: {what}"));
        assert!(resource.resource_type.starts_with("herald.v1."), "{what}");
        assert!(!resource.resource_name.is_empty(), "{what}");
    }
}

/// The same of the error of a whole call, whose metadata tells some of it too.
#[track_caller]
pub(super) fn assert_call_told(method: &str, status: &Status, reason: ErrorReason) {
    assert_told(method, status, reason);
    let details = status.get_error_details();
    let header = |name: &str| status.metadata().get(name).and_then(|value| value.to_str().ok());
    let request_id = details.request_info().map(|info| info.request_id.as_str());
    assert_eq!(header("x-request-id"), request_id, "{method}: {status:?}");
    let is_to_come_back = details.retry_info().is_some();
    assert_eq!(header("retry-after").is_some(), is_to_come_back, "{method}: {status:?}");
}

/// The reason that the error gives.
pub(super) fn reason_of(status: &Status) -> Option<ErrorReason> {
    let info = status.get_details_error_info()?;
    described::REASONS.iter().find(|reason| reason.name == info.reason).map(|reason| reason.value)
}

/// As in `INVALID_FIELD`.
pub(super) fn name(reason: ErrorReason) -> &'static str {
    described::reason(reason).name
}

/// The errors of the items of an answer.
pub(crate) fn errors_in(answer: &DynamicMessage) -> Vec<Status> {
    if answer.descriptor().full_name() == "google.rpc.Status" {
        let error = answer.transcode_to::<pb::Status>().expect("it is one");
        let details = error.encode_to_vec().into();
        return vec![Status::with_details(Code::from(error.code), error.message, details)];
    }
    let mut errors = Vec::new();
    for (_, value) in answer.fields() {
        match value {
            Value::Message(message) => errors.extend(errors_in(message)),
            Value::List(items) => {
                errors.extend(items.iter().filter_map(Value::as_message).flat_map(errors_in));
            }
            _ => {}
        }
    }
    errors
}
