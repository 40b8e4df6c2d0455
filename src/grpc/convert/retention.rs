//! How long things are kept.

use std::time::Duration;

use delivery::model::Retention;
use delivery::retention::{KEEP_AUDIT_MIN, KEEP_MAX, KEEP_MIN};

use super::{duration, read_duration};
use crate::grpc::faults::Faults;
use crate::proto::v1;

const DAY: Duration = Duration::from_secs(24 * 3_600);

pub fn retention(retention: &Retention) -> v1::Retention {
    v1::Retention {
        events: retention.events.map(duration),
        messages: retention.messages.map(duration),
        audit_entries: retention.audit_entries.map(duration),
    }
}

/// All of the settings; what is unset is for ever. A request without any would be a mistake.
pub fn read_retention(faults: &mut Faults, told: Option<&v1::Retention>) -> Retention {
    let Some(told) = told else {
        faults.add("retention", "is required; with no field set, everything is kept for ever");
        return Retention::default();
    };
    Retention {
        events: keep(faults, "retention.events", told.events, KEEP_MIN),
        messages: keep(faults, "retention.messages", told.messages, KEEP_MIN),
        audit_entries: keep(faults, "retention.audit_entries", told.audit_entries, KEEP_AUDIT_MIN),
    }
}

fn keep(
    faults: &mut Faults,
    field: &'static str,
    told: Option<prost_types::Duration>,
    min: Duration,
) -> Option<Duration> {
    let keep = read_duration(faults, field, told)?;
    if !(min..=KEEP_MAX).contains(&keep) {
        let days = |span: Duration| span.as_secs() / DAY.as_secs();
        faults.add(field, format!("must be from {} to {} days", days(min), days(KEEP_MAX)));
    }
    Some(keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(told: Option<v1::Retention>) -> Result<Retention, Vec<&'static str>> {
        let mut faults = Faults::default();
        let read = read_retention(&mut faults, told.as_ref());
        if faults.fields().is_empty() { Ok(read) } else { Err(faults.fields()) }
    }

    #[test]
    fn spans_are_bounded_and_unset_is_for_ever() {
        let days = |days: u64| Some(duration(DAY * u32::try_from(days).expect("few days")));
        assert_eq!(read(None), Err(vec!["retention"]));
        assert_eq!(read(Some(v1::Retention::default())), Ok(Retention::default()));
        let least = v1::Retention { events: days(7), messages: days(7), audit_entries: days(30) };
        let kept = read(Some(least)).expect("limits are inclusive");
        assert_eq!(retention(&kept), least);
        let too_short = v1::Retention { events: days(6), messages: days(6), audit_entries: days(29) };
        let fields = ["retention.events", "retention.messages", "retention.audit_entries"];
        assert_eq!(read(Some(too_short)), Err(fields.to_vec()));
        let too_long = v1::Retention { events: days(3_653), ..least };
        assert_eq!(read(Some(too_long)), Err(vec!["retention.events"]));
    }
}
