//! Which partition a row belongs to. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use delivery::plan::Plan;
use message::Timestamp;
use message::id::first_id;
use message::time::micros;
use uuid::Uuid;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A table that is cut by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Family {
    pub(crate) table: &'static str,
    /// What a partition spans.
    pub(crate) span: Duration,
    /// Cut by an id that is a time, or by a time.
    is_by_id: bool,
    /// Storage parameters of a partition.
    pub(crate) with: &'static str,
}

/// Few partitions: a statement that is planned for all of them locks each.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

pub(crate) const MESSAGES: Family = Family { table: "messages", span: WEEK, is_by_id: true, with: "" };
pub(crate) const STATES: Family =
    Family { table: "message_states", span: WEEK, is_by_id: true, with: "WITH (fillfactor = 50)" };
pub(crate) const LOCKS: Family = Family { table: "credit_locks", span: WEEK, is_by_id: true, with: "" };
pub(crate) const EVENTS: Family = Family { table: "events", span: WEEK, is_by_id: false, with: "" };
pub(crate) const KEYS: Family = Family { table: "idempotency_keys", span: DAY, is_by_id: false, with: "" };

pub(crate) const FAMILIES: [Family; 5] = [MESSAGES, STATES, LOCKS, EVENTS, KEYS];

/// One partition: `number` spans after 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) family: Family,
    number: i64,
}

impl Span {
    pub(crate) fn of(family: Family, at: Timestamp) -> Self {
        Self { family, number: at.as_micros().div_euclid(micros(family.span)) }
    }

    pub(crate) fn starts_at(self) -> Timestamp {
        Timestamp::from_micros(self.number.saturating_mul(micros(self.family.span)))
    }

    pub(crate) fn ends_at(self) -> Timestamp {
        self.starts_at() + self.family.span
    }

    /// The partition's bounds, from and to, as SQL.
    pub(crate) fn bounds(self) -> [String; 2] {
        [self.starts_at(), self.ends_at()].map(|at| match self.family.is_by_id {
            // No version and no random bits: below every id of that millisecond.
            true => format!("'{}'", Uuid::from_u128(first_id(at).as_u128() >> 80 << 80)),
            false => format!("to_timestamp({})", at.as_micros().div_euclid(1_000_000)),
        })
    }
}

/// All that must be there at `now`: what is written now, and in the spans after.
pub(crate) fn ahead(now: Timestamp) -> BTreeSet<Span> {
    let spans =
        FAMILIES.iter().flat_map(|family| (0..=AHEAD).map(|n| Span::of(*family, now + family.span * n)));
    spans.collect()
}

/// Spans after the one of now for which there are partitions.
const AHEAD: u32 = 2;

/// Where the rows of a plan go.
pub(crate) fn of_plan(plan: &Plan) -> BTreeSet<Span> {
    let messages = plan.messages.iter().map(|message| time_of(message.record.key.id.as_uuid()));
    let mut spans = BTreeSet::new();
    for at in messages {
        spans.extend([MESSAGES, STATES, LOCKS].map(|family| Span::of(family, at)));
    }
    spans.extend(plan.events.iter().map(|event| Span::of(EVENTS, event.at)));
    spans.extend(plan.keys.iter().map(|call| Span::of(KEYS, call.created_at)));
    spans
}

/// The millisecond that an id begins with (RFC 9562 section 5.7).
pub(crate) fn time_of(id: &Uuid) -> Timestamp {
    let millis = u64::try_from(id.as_u128() >> 80).unwrap_or(u64::MAX);
    Timestamp::from_micros(i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1_000))
}

/// The least and the greatest of these ids: what a statement is bounded by, beside the list, so that partitions outside are
/// left out before it runs. (A `Uuid` is ordered as its bytes are.)
pub(crate) fn bounds<'a>(ids: impl Iterator<Item = &'a Uuid>) -> (Uuid, Uuid) {
    ids.fold((Uuid::max(), Uuid::nil()), |(least, greatest), id| (least.min(*id), greatest.max(*id)))
}

#[cfg(test)]
mod tests {
    use message::id::{Entropy, MessageId};

    use super::*;

    #[test]
    fn an_id_lies_in_the_partition_of_its_time() {
        let week = micros(WEEK);
        for at in [0, 1_000, week - 1_000, week, 2_900 * week - 1_000, 2_900 * week] {
            let at = Timestamp::from_micros(at);
            for entropy in [0, 255] {
                let id = MessageId::new(at, Entropy([entropy; 10]));
                assert_eq!(time_of(id.as_uuid()), at);
                let [from, to] = Span::of(MESSAGES, at).bounds();
                let id = format!("'{id}'");
                assert!(from <= id && id < to, "{from} {id} {to}");
            }
        }
    }

    #[test]
    fn spans_follow_each_other_without_a_gap() {
        for family in FAMILIES {
            let span = Span::of(family, Timestamp::from_micros(1_795_613_478_335_999));
            let next = Span::of(family, span.ends_at());
            assert_eq!(next.starts_at(), span.ends_at());
            assert_eq!(next.bounds()[0], span.bounds()[1]);
            assert_eq!(Span::of(family, span.ends_at() - Duration::from_micros(1)), span);
        }
    }

    #[test]
    fn times_before_the_epoch_have_partitions_too() {
        let span = Span::of(EVENTS, Timestamp::from_micros(-1));
        assert_eq!(span.ends_at(), Timestamp::from_micros(0));
        assert_eq!(
            span.bounds(),
            [format!("to_timestamp(-{})", 7 * 24 * 3_600), "to_timestamp(0)".to_owned()]
        );
    }
}
