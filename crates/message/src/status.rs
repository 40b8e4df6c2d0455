//! Where a message is in its life, and how reports rank.

use std::fmt;
use std::str::FromStr;

/// A stored word that this version does not know: the row was written by something newer, or damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} has no value {word:?}")]
pub struct UnknownWord {
    pub kind: &'static str,
    pub word: String,
}

/// An enum stored and shown as one word per value.
#[macro_export]
macro_rules! words {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that stores and documents use.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::status::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::status::UnknownWord { kind: stringify!($name), word: word.to_owned() }),
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// The state of a message. Who moves it where:
    ///
    /// - accept makes it QUEUED, or SCHEDULED until its time;
    /// - a worker's claim moves QUEUED or FAILED_TEMP to SENDING;
    /// - the outcome of the attempt moves SENDING to SENT, FAILED_TEMP, FAILED_PERM or UNKNOWN;
    /// - a lease that ran out moves SENDING to UNKNOWN;
    /// - a provider report moves SENDING, UNKNOWN and SENT to SENT, DELIVERED or FAILED_PERM;
    /// - the sweeper moves UNKNOWN to FAILED_TEMP (`on_unknown` RESEND) and QUEUED or FAILED_TEMP to EXPIRED,
    ///   and SCHEDULED to QUEUED;
    /// - its client cancels it while it is SCHEDULED, QUEUED or FAILED_TEMP.
    pub enum Status {
        /// Accepted for a later time.
        Scheduled = "SCHEDULED",
        /// Accepted, not yet claimed.
        Queued = "QUEUED",
        /// Claimed: an attempt may be under way.
        Sending = "SENDING",
        /// The last attempt was not accepted; another follows at its due time.
        FailedTemp = "FAILED_TEMP",
        /// An attempt began and nobody knows its outcome.
        Unknown = "UNKNOWN",
        /// A provider took it; its report is awaited.
        Sent = "SENT",
        /// Final: the carrier reports every part delivered.
        Delivered = "DELIVERED",
        /// Final: refused, undeliverable or out of attempts.
        FailedPerm = "FAILED_PERM",
        /// Final: the validity period ended before an attempt was accepted.
        Expired = "EXPIRED",
        /// Final: canceled by the client.
        Canceled = "CANCELED",
    }
}

impl Status {
    /// A final status is never overwritten by a later report.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::FailedPerm | Self::Expired | Self::Canceled)
    }

    /// A worker may claim a message in this status once it is due.
    pub const fn is_claimable(self) -> bool {
        matches!(self, Self::Queued | Self::FailedTemp)
    }

    /// Where the status stands in the order of what carriers report: a report never moves a message down.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Scheduled | Self::Queued | Self::Sending | Self::FailedTemp | Self::Unknown => 10,
            Self::Sent => 20,
            Self::Delivered | Self::FailedPerm | Self::Expired | Self::Canceled => 100,
        }
    }
}

words! {
    /// The credit lock of a message: HELD at accept, then CAPTURED or RELEASED, exactly once.
    pub enum LockState {
        Held = "HELD",
        Captured = "CAPTURED",
        Released = "RELEASED",
    }
}

words! {
    /// What happens to a message whose attempt's outcome nobody knows.
    pub enum OnUnknown {
        /// Never sent again: a report or the settlement decides.
        Wait = "WAIT",
        /// Sent again after a time: may reach the recipient twice.
        Resend = "RESEND",
    }
}

/// The states of a message's parts as reports tell them, one letter a part, in the order of the parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartStates(Vec<PartState>);

words! {
    /// What is known of one part.
    pub enum PartState {
        /// Nothing reported yet.
        Open = "-",
        Delivered = "D",
        Failed = "F",
    }
}

impl PartStates {
    pub fn open(count: usize) -> Self {
        Self(vec![PartState::Open; count])
    }

    /// Notes what a report says of part `number` (from 1), or of all parts when 0. The first report of a
    /// part wins. A number past the last part changes nothing.
    pub fn note(&mut self, number: u16, state: PartState) {
        let number = usize::from(number);
        for (index, part) in self.0.iter_mut().enumerate() {
            if (number == 0 || index + 1 == number) && *part == PartState::Open {
                *part = state;
            }
        }
    }

    pub fn get(&self, number: u16) -> Option<PartState> {
        usize::from(number).checked_sub(1).and_then(|index| self.0.get(index)).copied()
    }

    pub fn all_delivered(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|part| *part == PartState::Delivered)
    }

    pub fn any_failed(&self) -> bool {
        self.0.contains(&PartState::Failed)
    }
}

impl fmt::Display for PartStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| f.write_str(part.as_str()))
    }
}

impl FromStr for PartStates {
    type Err = UnknownWord;

    fn from_str(letters: &str) -> Result<Self, UnknownWord> {
        letters.chars().map(|letter| letter.to_string().parse()).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_word_reads_back() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(*status));
        }
        assert!("sent".parse::<Status>().is_err());
    }

    #[test]
    fn exactly_the_final_statuses_rank_highest() {
        for status in Status::ALL {
            assert_eq!(status.is_final(), status.rank() == 100, "{status}");
        }
    }

    #[test]
    fn ranks_order_what_carriers_report() {
        assert!(
            Status::ALL.iter().all(|status| !status.is_claimable() || status.rank() < Status::Sent.rank())
        );
        assert!(Status::Sent.rank() < Status::Delivered.rank());
        assert!(Status::ALL.iter().all(|status| !(status.is_claimable() && status.is_final())));
    }

    fn states() -> impl Strategy<Value = PartState> {
        proptest::sample::select(PartState::ALL)
    }

    proptest! {
        /// Compared with: the first word on each part, whatever was said to it or to all of them.
        #[test]
        fn a_part_is_what_was_first_said_of_it(
            count in 1..6usize,
            said in proptest::collection::vec((0..8u16, states()), 0..20),
        ) {
            let mut parts = PartStates::open(count);
            for (number, state) in &said {
                parts.note(*number, *state);
            }
            let first = |part: u16| {
                said.iter().filter(|(number, _)| *number == 0 || *number == part).map(|(_, state)| *state).find(|state| *state != PartState::Open).unwrap_or(PartState::Open)
            };
            let expected: Vec<PartState> = (1..=u16::try_from(count).unwrap()).map(first).collect();
            prop_assert_eq!(parts.all_delivered(), expected.iter().all(|state| *state == PartState::Delivered));
            prop_assert_eq!(parts.any_failed(), expected.contains(&PartState::Failed));
            prop_assert_eq!(parts.get(0), None);
            let read: Vec<_> = (1..=u16::try_from(count).unwrap() + 1).map(|part| parts.get(part)).collect();
            prop_assert_eq!(read, expected.into_iter().map(Some).chain([None]).collect::<Vec<_>>());
            prop_assert_eq!(parts.to_string().parse::<PartStates>().unwrap(), parts);
        }
    }

    #[test]
    fn the_first_report_of_a_part_wins() {
        let mut parts = PartStates::open(2);
        parts.note(2, PartState::Failed);
        parts.note(0, PartState::Delivered);
        parts.note(9, PartState::Failed);
        assert_eq!(parts.to_string(), "DF");
        assert_eq!("DF".parse::<PartStates>().unwrap(), parts);
        assert!(parts.any_failed() && !parts.all_delivered());
        assert!(!PartStates::default().all_delivered());
    }
}
