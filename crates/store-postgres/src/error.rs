//! What the driver's errors mean.

use delivery::port::StoreError;
use sqlx::error::DatabaseError;

/// What the server said, without its detail: that quotes whole rows, with texts and numbers.
#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL says {code}: {message}")]
struct ServerError {
    code: String,
    message: String,
}

/// A row has no partition to go to.
#[derive(Debug, thiserror::Error)]
#[error("a partition is missing")]
pub(crate) struct MissingPartition;

/// Before the commit: nothing was written.
pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(cause) => server_error(cause.as_ref()),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::BeginFailed
        | sqlx::Error::WorkerCrashed => StoreError::Unavailable(Box::new(error)),
        _ => StoreError::Refused(Box::new(error)),
    }
}

fn server_error(cause: &dyn DatabaseError) -> StoreError {
    let code = cause.code().unwrap_or_default().into_owned();
    let said = Box::new(ServerError { code, message: cause.message().to_owned() });
    if is_missing_partition(&said.code, cause.constraint()) {
        StoreError::Unavailable(Box::new(MissingPartition))
    } else if is_lost_race(&said.code) {
        StoreError::Conflict
    } else if is_unavailable(&said.code) {
        StoreError::Unavailable(said)
    } else {
        StoreError::Refused(said)
    }
}

/// In the commit, or in a statement that commits by itself: if the connection or the server's process ends there,
/// the outcome is open.
pub(crate) fn commit_error(error: sqlx::Error) -> StoreError {
    let is_answer = match &error {
        sqlx::Error::Database(cause) => !is_broken(&cause.code().unwrap_or_default()),
        _ => false,
    };
    match store_error(error) {
        StoreError::Unavailable(cause) if !is_answer => StoreError::Uncertain(cause),
        other => other,
    }
}

/// A stored value that does not read back.
pub(crate) fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// serialization_failure, deadlock_detected, lock_not_available (`lock_timeout`).
fn is_lost_race(code: &str) -> bool {
    matches!(code, "40001" | "40P01" | "55P03")
}

/// A check_violation of no constraint: the row has no partition to go to.
fn is_missing_partition(code: &str, constraint: Option<&str>) -> bool {
    code == "23514" && constraint.is_none()
}

/// By class: connection, authorization, resources, operator (a shutdown, `statement_timeout`), system. And
/// invalid_catalog_name; the time-outs of a transaction; a standby, which takes no writes.
fn is_unavailable(code: &str) -> bool {
    matches!(code.get(..2), Some("08" | "28" | "53" | "57" | "58"))
        || matches!(code, "3D000" | "25P03" | "25P04" | "25006")
}

/// The session ended with this answer: connection errors, shutdowns, the time-outs of a session.
fn is_broken(code: &str) -> bool {
    code.starts_with("08") || code.starts_with("57P") || matches!(code, "25P03" | "25P04")
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_connection_lost_in_the_commit_leaves_the_outcome_open() {
        let broken = || sqlx::Error::Io(Error::from(ErrorKind::ConnectionReset));
        assert!(matches!(store_error(broken()), StoreError::Unavailable(_)));
        assert!(matches!(commit_error(broken()), StoreError::Uncertain(_)));
    }

    #[test]
    fn each_state_has_its_meaning() {
        for code in ["40001", "40P01", "55P03"] {
            assert!(is_lost_race(code) && !is_unavailable(code), "{code}");
        }
        for code in ["57P01", "57014", "53300", "08006", "25006"] {
            assert!(is_unavailable(code) && !is_lost_race(code), "{code}");
        }
        for code in ["23505", "23514", "22021", "42P01", ""] {
            assert!(!is_unavailable(code) && !is_lost_race(code), "{code}");
        }
        // A statement that was canceled has written nothing; a session that was ended may have committed.
        assert!(is_broken("57P01") && !is_broken("57014"));
    }
}
