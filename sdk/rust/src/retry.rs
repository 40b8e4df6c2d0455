//! When a failed call is made again.

use std::time::Duration;

use tonic::Code;

use crate::error::Error;

/// How often, and with which pauses, a call that may be repeated is repeated.
///
/// The nth pause is `base_pause` doubled n - 1 times, at most `max_pause`, of which a random share up to one half is
/// taken off, so that many callers do not come back as one. A pause that the server asks for is kept in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included.
    pub max_attempts: u32,
    /// Before the second attempt.
    pub base_pause: Duration,
    /// No pause of our own is longer.
    pub max_pause: Duration,
}

impl RetryPolicy {
    /// One attempt only.
    pub fn none() -> Self {
        Self { max_attempts: 1, ..Self::default() }
    }

    /// How long to wait before the attempt after `attempt` (counted from 1), which failed with `error`; `None` = it
    /// stands. `left` is what remains of the call's time; `jitter` is a random number in 0..1.
    pub(crate) fn pause(&self, error: &Error, attempt: u32, left: Duration, jitter: f64) -> Option<Duration> {
        if attempt >= self.max_attempts || !is_passing(error) {
            return None;
        }
        Some(self.backoff(attempt, error.retry_after(), jitter)).filter(|pause| *pause < left)
    }

    /// The pause after `failures` failures in a row, at least as long as the server asks for.
    pub(crate) fn backoff(&self, failures: u32, asked: Option<Duration>, jitter: f64) -> Duration {
        let doubled = self.base_pause.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        let own = doubled.min(self.max_pause).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0);
        // A little more than asked for, or all that were sent away together come back together.
        asked.map_or(own, |asked| {
            asked.max(own).saturating_add(self.base_pause.mul_f64(jitter.clamp(0.0, 1.0)))
        })
    }
}

impl Default for RetryPolicy {
    /// Eight attempts over about ten seconds, which bridges the restart of a server.
    fn default() -> Self {
        Self { max_attempts: 8, base_pause: Duration::from_millis(100), max_pause: Duration::from_secs(5) }
    }
}

/// Whether the same call may succeed later, by itself.
pub(crate) fn is_passing(error: &Error) -> bool {
    match error.code() {
        Code::Unavailable => true,
        // Without a time to come back there is nothing to wait for: the request itself may be too large.
        Code::ResourceExhausted => error.retry_after().is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    fn error(code: Code, retry_after: Option<u64>) -> Error {
        let mut details = ErrorDetails::new();
        details.set_error_info("RATE_LIMITED", "herald", std::collections::HashMap::<String, String>::new());
        if let Some(seconds) = retry_after {
            details.set_retry_info(Some(Duration::from_secs(seconds)));
        }
        Status::with_error_details(code, "as the test says", details).into()
    }

    #[test]
    fn only_what_may_pass_is_repeated_within_the_attempts_and_the_time() {
        let policy = RetryPolicy::default();
        let minute = Duration::from_secs(60);
        let cases = [
            (Code::Unavailable, None, 1, minute, true),
            (Code::Unavailable, None, 7, minute, true),
            (Code::Unavailable, None, 8, minute, false),
            (Code::Unavailable, None, 1, Duration::from_millis(50), false),
            (Code::ResourceExhausted, Some(1), 1, minute, true),
            (Code::ResourceExhausted, Some(1), 1, Duration::from_secs(1), false),
            (Code::ResourceExhausted, None, 1, minute, false),
            (Code::InvalidArgument, None, 1, minute, false),
            (Code::FailedPrecondition, Some(1), 1, minute, false),
            (Code::AlreadyExists, None, 1, minute, false),
            (Code::DeadlineExceeded, None, 1, minute, false),
            (Code::Internal, None, 1, minute, false),
        ];
        for (code, retry_after, attempt, left, expected) in cases {
            let pause = policy.pause(&error(code, retry_after), attempt, left, 0.0);
            assert_eq!(pause.is_some(), expected, "{code:?} {retry_after:?} {attempt} {left:?}");
        }
        assert_eq!(RetryPolicy::none().pause(&error(Code::Unavailable, None), 1, minute, 0.0), None);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_jitter_takes_off_up_to_half() {
        let policy = RetryPolicy::default();
        let cases = [
            (1, 0.0, 100),
            (2, 0.0, 200),
            (3, 0.0, 400),
            (3, 1.0, 200),
            (7, 0.0, 5_000),
            (u32::MAX, 1.0, 2_500),
        ];
        for (failures, jitter, expected) in cases {
            let pause = policy.backoff(failures, None, jitter);
            assert_eq!(pause, Duration::from_millis(expected), "{failures} {jitter}");
        }
    }

    #[test]
    fn a_pause_is_never_shorter_than_the_server_asks_for() {
        let policy = RetryPolicy::default();
        for jitter in [0.0, 0.5, 1.0] {
            for failures in [1, 10] {
                let pause = policy.backoff(failures, Some(Duration::from_secs(2)), jitter);
                assert!(pause >= Duration::from_secs(2), "{pause:?}");
            }
        }
    }
}
