//! Between the domain's types and protobuf's: scalars and enums here, resources in the modules below.
//!
//! Reading never defaults silently: a number that this version does not know is a violation.

pub mod audit;
pub mod client;
pub mod event;
pub mod key;
pub mod letter;
pub mod message;
pub mod rate;
pub mod report;
pub mod retention;
pub mod send;

use std::time::{Duration, SystemTime};

use ::message::class::{MessageClass, Priority};
use ::message::encoding::{Encoding, NationalTable};
use ::message::failure::{Failure, FailureReason};
use ::message::status::{OnUnknown, Status};
use ::message::time::Timestamp;
use rand::RngCore;

use super::faults::Faults;
use crate::proto::v1;

const MICROS: i64 = 1_000_000;
const NANOS_MAX: i32 = 999_999_999;
/// The ends of a protobuf Timestamp: 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z (timestamp.proto).
const SECONDS_MIN: i64 = -62_135_596_800;
const SECONDS_MAX: i64 = 253_402_300_799;
/// The longest protobuf Duration, about 10,000 years (duration.proto).
const SPAN_SECONDS_MAX: i64 = 315_576_000_000;

pub fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    let micros = at.as_micros();
    let nanos = micros.rem_euclid(MICROS) * 1_000;
    prost_types::Timestamp {
        seconds: micros.div_euclid(MICROS),
        nanos: i32::try_from(nanos).unwrap_or(NANOS_MAX),
    }
}

pub fn duration(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(SPAN_SECONDS_MAX).min(SPAN_SECONDS_MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(NANOS_MAX),
    }
}

/// This node's wall clock, for a person who looks at a heartbeat; it decides nothing.
pub fn wall_clock() -> prost_types::Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    timestamp(Timestamp::default() + since)
}

/// An instant, cut down to whole microseconds.
pub fn read_timestamp(
    faults: &mut Faults,
    field: &'static str,
    at: Option<prost_types::Timestamp>,
) -> Option<Timestamp> {
    let at = at?;
    if !(SECONDS_MIN..=SECONDS_MAX).contains(&at.seconds) || !(0..=NANOS_MAX).contains(&at.nanos) {
        faults.add(field, "is out of the range of a Timestamp");
        return None;
    }
    Some(Timestamp::from_micros(at.seconds * MICROS + i64::from(at.nanos) / 1_000))
}

/// A span that is not negative.
pub fn read_duration(
    faults: &mut Faults,
    field: &'static str,
    span: Option<prost_types::Duration>,
) -> Option<Duration> {
    let span = span?;
    let problem = match (u64::try_from(span.seconds), u32::try_from(span.nanos)) {
        (Ok(seconds), Ok(nanos)) if span.seconds <= SPAN_SECONDS_MAX && span.nanos <= NANOS_MAX => {
            return Some(Duration::new(seconds, nanos));
        }
        (Ok(_), Ok(_)) => "is out of the range of a Duration",
        _ => "must not be negative",
    };
    faults.add(field, problem);
    None
}

/// A span within bounds, or the default when none is given.
pub fn read_span(
    faults: &mut Faults,
    field: &'static str,
    span: Option<prost_types::Duration>,
    (min, max): (Duration, Duration),
    default: Duration,
) -> Duration {
    if span.is_none() {
        return default;
    }
    let Some(span) = read_duration(faults, field, span) else { return default };
    if !(min..=max).contains(&span) {
        faults.add(field, format!("must be from {} to {} seconds", min.as_secs(), max.as_secs()));
    }
    span
}

/// A number of a request's enum; one that this version does not know is a violation.
pub fn read_enum<E: TryFrom<i32>>(faults: &mut Faults, field: &'static str, number: i32) -> Option<E> {
    let value = E::try_from(number).ok();
    if value.is_none() {
        faults.add(field, format!("{number} is not a value that this version knows"));
    }
    value
}

pub fn read_encoding(faults: &mut Faults, field: &'static str, number: i32) -> Option<Encoding> {
    match read_enum(faults, field, number)? {
        v1::Encoding::Unspecified => None,
        v1::Encoding::Gsm7 => Some(Encoding::Gsm7),
        v1::Encoding::Ucs2 => Some(Encoding::Ucs2),
        v1::Encoding::Binary => Some(Encoding::Binary),
    }
}

pub fn encoding(encoding: Encoding) -> v1::Encoding {
    match encoding {
        Encoding::Gsm7 => v1::Encoding::Gsm7,
        Encoding::Ucs2 => v1::Encoding::Ucs2,
        Encoding::Binary => v1::Encoding::Binary,
    }
}

pub fn read_on_unknown(faults: &mut Faults, field: &'static str, number: i32) -> Option<OnUnknown> {
    match read_enum(faults, field, number)? {
        v1::OnUnknown::Unspecified => None,
        v1::OnUnknown::Wait => Some(OnUnknown::Wait),
        v1::OnUnknown::Resend => Some(OnUnknown::Resend),
    }
}

pub fn on_unknown(policy: OnUnknown) -> v1::OnUnknown {
    match policy {
        OnUnknown::Wait => v1::OnUnknown::Wait,
        OnUnknown::Resend => v1::OnUnknown::Resend,
    }
}

pub fn read_priority(faults: &mut Faults, field: &'static str, number: i32) -> Option<Priority> {
    match read_enum(faults, field, number)? {
        v1::Priority::Unspecified => None,
        v1::Priority::Low => Some(Priority::Low),
        v1::Priority::Normal => Some(Priority::Normal),
        v1::Priority::High => Some(Priority::High),
    }
}

pub fn priority(priority: Priority) -> v1::Priority {
    match priority {
        Priority::Low => v1::Priority::Low,
        Priority::Normal => v1::Priority::Normal,
        Priority::High => v1::Priority::High,
    }
}

pub fn read_class(faults: &mut Faults, field: &'static str, number: i32) -> Option<MessageClass> {
    match read_enum(faults, field, number)? {
        v1::MessageClass::Unspecified => None,
        v1::MessageClass::Transactional => Some(MessageClass::Transactional),
        v1::MessageClass::Otp => Some(MessageClass::Otp),
        v1::MessageClass::Marketing => Some(MessageClass::Marketing),
    }
}

pub fn class(class: MessageClass) -> v1::MessageClass {
    match class {
        MessageClass::Transactional => v1::MessageClass::Transactional,
        MessageClass::Otp => v1::MessageClass::Otp,
        MessageClass::Marketing => v1::MessageClass::Marketing,
    }
}

pub fn read_national_table(faults: &mut Faults, field: &'static str, number: i32) -> Option<NationalTable> {
    match read_enum(faults, field, number)? {
        v1::NationalTable::Unspecified => None,
        v1::NationalTable::Turkish => Some(NationalTable::Turkish),
        v1::NationalTable::Spanish => Some(NationalTable::Spanish),
        v1::NationalTable::Portuguese => Some(NationalTable::Portuguese),
    }
}

pub fn national_table(table: Option<NationalTable>) -> v1::NationalTable {
    match table {
        None => v1::NationalTable::Unspecified,
        Some(NationalTable::Turkish) => v1::NationalTable::Turkish,
        Some(NationalTable::Spanish) => v1::NationalTable::Spanish,
        Some(NationalTable::Portuguese) => v1::NationalTable::Portuguese,
    }
}

pub fn status(status: Status) -> v1::message::Status {
    use v1::message::Status as Told;
    match status {
        Status::Scheduled => Told::Scheduled,
        Status::Queued => Told::Queued,
        Status::Sending => Told::Sending,
        Status::FailedTemp => Told::FailedTemp,
        Status::Unknown => Told::Unknown,
        Status::Sent => Told::Sent,
        Status::Delivered => Told::Delivered,
        Status::FailedPerm => Told::FailedPerm,
        Status::Expired => Told::Expired,
        Status::Canceled => Told::Canceled,
    }
}

/// A status of a filter, where unspecified means nothing.
pub fn read_status(faults: &mut Faults, field: &'static str, number: i32) -> Option<Status> {
    use v1::message::Status as Asked;
    Some(match read_enum(faults, field, number)? {
        Asked::Unspecified => {
            faults.add(field, "must not hold STATUS_UNSPECIFIED");
            return None;
        }
        Asked::Scheduled => Status::Scheduled,
        Asked::Queued => Status::Queued,
        Asked::Sending => Status::Sending,
        Asked::FailedTemp => Status::FailedTemp,
        Asked::Unknown => Status::Unknown,
        Asked::Sent => Status::Sent,
        Asked::Delivered => Status::Delivered,
        Asked::FailedPerm => Status::FailedPerm,
        Asked::Expired => Status::Expired,
        Asked::Canceled => Status::Canceled,
    })
}

/// Why a message failed or waits; `None` when there is nothing to tell.
pub fn failure(failure: Option<&Failure>, next_attempt_at: Option<Timestamp>) -> Option<v1::Failure> {
    if failure.is_none() && next_attempt_at.is_none() {
        return None;
    }
    let mut told =
        v1::Failure { next_attempt_time: next_attempt_at.map(timestamp), ..v1::Failure::default() };
    if let Some(failure) = failure {
        told.set_reason(reason(failure.reason));
        told.detail.clone_from(&failure.detail);
        told.provider_code.clone_from(&failure.provider_code);
    }
    Some(told)
}

fn reason(reason: FailureReason) -> v1::failure::Reason {
    use v1::failure::Reason;
    match reason {
        FailureReason::ProviderRejected => Reason::ProviderRejected,
        FailureReason::RecipientInvalid => Reason::RecipientInvalid,
        FailureReason::RecipientUnreachable => Reason::RecipientUnreachable,
        FailureReason::RecipientBlocked => Reason::RecipientBlocked,
        FailureReason::SenderRejected => Reason::SenderRejected,
        FailureReason::ContentRejected => Reason::ContentRejected,
        FailureReason::ProviderUnavailable => Reason::ProviderUnavailable,
        FailureReason::ProviderThrottled => Reason::ProviderThrottled,
        FailureReason::RetriesExhausted => Reason::RetriesExhausted,
        FailureReason::ValidityExpired => Reason::ValidityExpired,
        FailureReason::ReportTimeout => Reason::ReportTimeout,
        FailureReason::OutcomeUnknown => Reason::OutcomeUnknown,
    }
}

/// A reason of a failure; unspecified = none.
pub fn read_reason(faults: &mut Faults, field: &'static str, number: i32) -> Option<FailureReason> {
    let asked: v1::failure::Reason = read_enum(faults, field, number)?;
    FailureReason::ALL.iter().copied().find(|known| reason(*known) == asked)
}

/// A count as protobuf carries it; counts here are far below its limit.
pub fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Fresh random bits for an id.
pub fn entropy() -> ::message::id::Entropy {
    let mut bits = [0; 10];
    rand::rng().fill_bytes(&mut bits);
    ::message::id::Entropy(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_keep_microseconds_on_both_sides_of_1970() {
        for micros in [0, 1, -1, 1_700_000_000_123_456, -62_135_596_800_000_000] {
            let mut faults = Faults::default();
            let told = timestamp(Timestamp::from_micros(micros));
            let read = read_timestamp(&mut faults, "t", Some(told));
            assert_eq!(read, Some(Timestamp::from_micros(micros)));
            assert!((0..=NANOS_MAX).contains(&told.nanos));
        }
    }

    #[test]
    fn timestamps_out_of_range_are_violations() {
        for (seconds, nanos) in [(i64::MAX, 0), (i64::MIN, 0), (SECONDS_MAX + 1, 0), (0, -1), (0, i32::MAX)] {
            let mut faults = Faults::default();
            let at = prost_types::Timestamp { seconds, nanos };
            assert_eq!(read_timestamp(&mut faults, "t", Some(at)), None);
            assert_eq!(faults.fields(), ["t"], "{seconds} {nanos}");
        }
    }

    #[test]
    fn durations_are_neither_negative_nor_too_long() {
        let read = |seconds, nanos| {
            let mut faults = Faults::default();
            let span = read_duration(&mut faults, "d", Some(prost_types::Duration { seconds, nanos }));
            (span, faults.fields().len())
        };
        assert_eq!(read(0, 0), (Some(Duration::ZERO), 0));
        assert_eq!(read(3_600, 5), (Some(Duration::new(3_600, 5)), 0));
        assert_eq!(read(SPAN_SECONDS_MAX, NANOS_MAX).1, 0);
        for (seconds, nanos) in [
            (-1, 0),
            (0, -1),
            (1, -1),
            (SPAN_SECONDS_MAX + 1, 0),
            (i64::MAX, 0),
            (0, i32::MAX),
            (i64::MIN, i32::MIN),
        ] {
            assert_eq!(read(seconds, nanos), (None, 1), "{seconds} {nanos}");
        }
        let mut faults = Faults::default();
        assert_eq!(read_duration(&mut faults, "d", None), None);
        assert!(faults.into_result().is_ok());
    }

    #[test]
    fn spans_are_bounded_and_have_a_default() {
        let second = Duration::from_secs(1);
        let read = |seconds| {
            let mut faults = Faults::default();
            let asked = Some(prost_types::Duration { seconds, nanos: 0 });
            read_span(&mut faults, "d", asked, (second, second * 10), second * 5);
            faults.fields().len()
        };
        assert_eq!([read(0), read(1), read(10), read(11), read(-1)], [1, 0, 0, 1, 1]);
        let default = read_span(&mut Faults::default(), "d", None, (second, second * 10), second * 5);
        assert_eq!(default, second * 5);
    }

    #[test]
    fn unknown_numbers_are_violations_and_unspecified_is_none() {
        let mut faults = Faults::default();
        assert_eq!(read_encoding(&mut faults, "encoding", 0), None);
        assert_eq!(read_encoding(&mut faults, "encoding", 2), Some(Encoding::Ucs2));
        assert_eq!(read_on_unknown(&mut faults, "on_unknown", 2), Some(OnUnknown::Resend));
        assert!(faults.fields().is_empty());
        assert_eq!(read_encoding(&mut faults, "encoding", 4), None);
        assert_eq!(read_on_unknown(&mut faults, "on_unknown", -1), None);
        assert_eq!(faults.fields(), ["encoding", "on_unknown"]);
    }

    #[test]
    fn statuses_read_back_and_the_final_ones_are_10_and_up() {
        for known in Status::ALL {
            let told = status(*known);
            let mut faults = Faults::default();
            let read = read_status(&mut faults, "statuses", told as i32);
            assert_eq!(read, Some(*known));
            assert_eq!(told.as_str_name().strip_prefix("STATUS_"), Some(known.as_str()));
            assert_eq!(known.is_final(), told as i32 >= 10, "{known}");
        }
        let mut faults = Faults::default();
        assert_eq!(read_status(&mut faults, "statuses", 99), None);
        assert_eq!(read_status(&mut faults, "statuses", 0), None);
        assert_eq!(faults.fields(), ["statuses", "statuses"]);
    }

    #[test]
    fn what_a_send_asks_for_reads_back() {
        let mut faults = Faults::default();
        for known in Priority::ALL {
            assert_eq!(read_priority(&mut faults, "priority", priority(*known) as i32), Some(*known));
        }
        for known in MessageClass::ALL {
            assert_eq!(read_class(&mut faults, "message_class", class(*known) as i32), Some(*known));
        }
        for known in NationalTable::ALL.iter().copied().map(Some).chain([None]) {
            assert_eq!(
                read_national_table(&mut faults, "national_table", national_table(known) as i32),
                known
            );
        }
        assert_eq!(
            (read_priority(&mut faults, "priority", 0), read_class(&mut faults, "message_class", 0)),
            (None, None)
        );
        assert!(faults.fields().is_empty());
        read_priority(&mut faults, "priority", 4);
        read_class(&mut faults, "message_class", 4);
        read_national_table(&mut faults, "national_table", -1);
        assert_eq!(faults.fields(), ["priority", "message_class", "national_table"]);
    }

    #[test]
    fn every_failure_reason_has_the_same_name_in_the_api() {
        for known in FailureReason::ALL {
            let name = reason(*known).as_str_name();
            assert_eq!(name.strip_prefix("REASON_"), Some(known.as_str()));
            let mut faults = Faults::default();
            assert_eq!(read_reason(&mut faults, "reason", reason(*known) as i32), Some(*known));
        }
        assert_eq!(failure(None, None), None);
        let waiting = failure(None, Some(Timestamp::from_micros(5)));
        assert!(waiting.is_some_and(|failure| failure.next_attempt_time.is_some()));
    }
}
