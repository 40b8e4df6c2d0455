//! What the driver's errors mean.

use delivery::port::StoreError;

/// Before the commit: nothing was written.
pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Database(cause) => match cause.code().and_then(|code| code.parse::<i32>().ok()) {
            // The low byte is the primary result code: BUSY and LOCKED.
            Some(code) if matches!(code & 0xFF, 5 | 6) => StoreError::Conflict,
            // IOERR, FULL, CANTOPEN.
            Some(code) if matches!(code & 0xFF, 10 | 13 | 14) => StoreError::Unavailable(Box::new(error)),
            _ => StoreError::Refused(Box::new(error)),
        },
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => StoreError::Unavailable(Box::new(error)),
        _ => StoreError::Refused(Box::new(error)),
    }
}

/// In the commit: a disk that fails there leaves the outcome open.
pub(crate) fn commit_error(error: sqlx::Error) -> StoreError {
    match store_error(error) {
        StoreError::Unavailable(cause) => StoreError::Uncertain(cause),
        other => other,
    }
}

/// A stored value that does not read back.
pub(crate) fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
