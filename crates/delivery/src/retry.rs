//! When a failed attempt is followed by the next.

use std::time::Duration;

use message::id::MessageId;

use crate::timing::Timing;

/// The wait after attempt number `attempt` (from 1) failed for now, or `None` when it was the last.
///
/// The schedule's wait is spread by up to 20 % either way, by message and attempt, so that messages that
/// failed together do not come back together.
pub fn wait_after(timing: &Timing, message: MessageId, attempt: i32) -> Option<Duration> {
    let index = usize::try_from(attempt.checked_sub(1)?).ok()?;
    let wait = timing.retry_waits.get(index)?;
    Some(wait.mul_f64(spread(message, attempt)))
}

/// A factor from 0.8 to 1.2 that is the same at every look.
fn spread(message: MessageId, attempt: i32) -> f64 {
    let bytes = message.as_uuid().as_bytes();
    let mut seed = u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
    seed = seed.wrapping_add(attempt.unsigned_abs()).wrapping_mul(0x9e37_79b9);
    seed ^= seed >> 15;
    0.8 + 0.4 * (f64::from(seed) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use message::Timestamp;
    use message::id::Entropy;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn waits_stay_within_a_fifth_of_the_schedule_and_end_with_it(entropy: [u8; 10], attempt in -3..20i32) {
            let timing = Timing::default();
            let id = MessageId::new(Timestamp::from_micros(1), Entropy(entropy));
            match wait_after(&timing, id, attempt) {
                None => prop_assert!(attempt < 1 || attempt >= timing.max_attempts()),
                Some(wait) => {
                    let scheduled = timing.retry_waits[usize::try_from(attempt - 1).expect("attempt is positive")];
                    prop_assert!(wait >= scheduled.mul_f64(0.799) && wait <= scheduled.mul_f64(1.201));
                }
            }
        }
    }
}
