//! Words of the API in the words of the domain.

use std::str::FromStr;

use herald_sdk::v1;
use message::failure::FailureReason;
use message::status::{LockState, Status};

/// `STATUS_SENT` is SENT.
pub(crate) fn status(status: v1::message::Status) -> Status {
    word(status.as_str_name(), "STATUS_")
}

pub(crate) fn credit(credit: v1::message::Credit) -> LockState {
    word(credit.as_str_name(), "CREDIT_")
}

pub(crate) fn reason(failure: Option<&v1::Failure>) -> Option<FailureReason> {
    failure.map(|failure| word(failure.reason().as_str_name(), "REASON_"))
}

fn word<T: FromStr>(name: &str, prefix: &str) -> T {
    let word = name.strip_prefix(prefix).expect("values are named after their enum");
    word.parse().unwrap_or_else(|_| panic!("the server answered {name}"))
}
