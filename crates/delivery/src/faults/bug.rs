//! The bugs that can be planted: each breaks one promise, and a test that is named after the promise must find it.

use std::str::FromStr;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A send is answered before its transaction is committed.
    AckBeforeCommit,
    /// An offer's name in JetStream is the message alone: a later offer passes for the same one.
    BareOfferName,
    /// A lock that is resolved is resolved again.
    DoubleResolve,
    /// A provider's report is acknowledged before it is in the inbox.
    MissingInbox,
    /// A message is looked up without its client.
    MissingClientPredicate,
    /// An outcome counts whoever holds the claim by now.
    NoFence,
    /// Timers do not fire.
    NoSweeper,
    /// A claim whose worker did not come back is tried again.
    PlainRetry,
    /// What Redis says of a key counts, though the store knows nothing of it.
    RedisDecides,
    /// A client's head is read without its lock.
    SeqWithoutLock,
    /// Clients are locked in any order.
    WrongLockOrder,
}

impl Bug {
    pub const ALL: [Self; 11] = [
        Self::AckBeforeCommit,
        Self::BareOfferName,
        Self::DoubleResolve,
        Self::MissingInbox,
        Self::MissingClientPredicate,
        Self::NoFence,
        Self::NoSweeper,
        Self::PlainRetry,
        Self::RedisDecides,
        Self::SeqWithoutLock,
        Self::WrongLockOrder,
    ];
}

impl FromStr for Bug {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
        found.ok_or_else(|| format!("there is no bug {name}"))
    }
}
