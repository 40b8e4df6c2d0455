//! Identifiers: one newtype each, so that a message's id is never taken for a client's.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::time::Timestamp;

/// An id that is not a UUID in its hyphenated form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a UUID")]
pub struct MalformedId;

/// 80 random bits for an id, drawn at the edge: rules have no randomness of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entropy(pub [u8; 10]);

/// UUID version 7 (RFC 9562 section 5.7): 48 bits of milliseconds, then random bits.
fn uuid_v7(at: Timestamp, entropy: Entropy) -> Uuid {
    let millis = u64::try_from(at.as_micros() / 1_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &entropy.0).into_uuid()
}

/// The smallest id of the millisecond that `at` falls in: what was made then or later has it or a larger one.
pub fn first_id(at: Timestamp) -> Uuid {
    // The ids hold 48 bits of milliseconds.
    let at = at.as_micros().clamp(0, ((1 << 48) - 1) * 1_000);
    uuid_v7(Timestamp::from_micros(at), Entropy([0; 10]))
}

/// What was made before `at` has a smaller id; so may what was made in the millisecond of `at`, from it on.
pub fn end_id(at: Timestamp) -> Uuid {
    first_id(at + Duration::from_micros(999))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id: the time is the database's, so that ids sort by it.
            pub fn new(at: Timestamp, entropy: Entropy) -> Self {
                Self(uuid_v7(at, entropy))
            }

            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;

            /// Takes the hyphenated form only: one id has one spelling (in either case).
            fn from_str(text: &str) -> Result<Self, MalformedId> {
                if text.len() != 36 {
                    return Err(MalformedId);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| MalformedId)
            }
        }
    };
}

id!(
    /// A customer account.
    ClientId
);
id!(
    /// One SMS to one recipient.
    MessageId
);
id!(
    /// One row of a client's event log, the same in every sink that carries it.
    EventId
);
id!(
    /// One entry of the audit log.
    AuditEntryId
);

impl EventId {
    /// The id of the event at `seq` of a client's log. It is a function of the row, so no store keeps it;
    /// `at` is part of it so that a log restored from a backup does not hand out an old id again.
    pub fn of(client: ClientId, seq: i64, at: Timestamp) -> Self {
        let mut hash = Sha256::new();
        hash.update(client.as_uuid().as_bytes());
        hash.update(seq.to_be_bytes());
        hash.update(at.as_micros().to_be_bytes());
        let digest = hash.finalize();
        let mut entropy = [0; 10];
        entropy.copy_from_slice(&digest[..10]);
        Self::new(at, Entropy(entropy))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis * 1_000)
    }

    #[test]
    fn ids_sort_by_their_time() {
        let early = MessageId::new(at(1_000), Entropy([0xff; 10]));
        let late = MessageId::new(at(1_001), Entropy([0; 10]));
        assert!(early < late);
        assert_eq!(early.as_uuid().get_version_num(), 7);
    }

    #[test]
    fn only_the_hyphenated_form_parses() {
        let id = MessageId::new(at(7), Entropy([3; 10]));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("urn:uuid:x".parse::<MessageId>(), Err(MalformedId));
        assert_eq!(id.as_uuid().as_simple().to_string().parse::<MessageId>(), Err(MalformedId));
    }

    #[test]
    fn an_event_id_depends_on_client_seq_and_time() {
        let client = ClientId::new(at(1), Entropy([1; 10]));
        let id = EventId::of(client, 1, at(5));
        assert_eq!(id, EventId::of(client, 1, at(5)));
        assert_ne!(id, EventId::of(client, 2, at(5)));
        assert_ne!(id, EventId::of(client, 1, at(6)));
        assert_ne!(id, EventId::of(ClientId::new(at(1), Entropy([2; 10])), 1, at(5)));
    }

    #[test]
    fn the_ids_of_a_span_of_time_lie_between_its_first_and_its_end() {
        let at = Timestamp::from_micros;
        let id = |micros| [0, 255].map(|byte| *MessageId::new(at(micros), Entropy([byte; 10])).as_uuid());
        for start in [0, 1, 999, 1_000, 1_795_613_478_335_999] {
            for made in [start, start + 1, start + 1_000] {
                assert!(id(made).iter().all(|id| *id >= first_id(at(start))), "{made} is from {start} on");
                assert!(
                    id(made).iter().all(|id| *id < end_id(at(made + 1))),
                    "{made} is before {}",
                    made + 1
                );
            }
        }
        assert!(id(999).iter().all(|id| *id < first_id(at(1_000))), "the millisecond before");
        assert!(id(1_000).iter().all(|id| *id >= end_id(at(1_000))), "the millisecond that begins");
        assert!(id(1_000).iter().all(|id| *id < first_id(at(i64::MAX)) && *id >= first_id(at(i64::MIN))));
    }
}
