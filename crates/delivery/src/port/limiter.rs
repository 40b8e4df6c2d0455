//! Limits on rates, and copies of committed calls. Losing either loses time, nothing else.

use std::time::Duration;

use async_trait::async_trait;
use message::fingerprint::Fingerprint;
use message::id::{ClientId, MessageId};

use crate::model::{IdempotencyKey, RememberedCall};

/// What a limiter is asked about one send.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a> {
    pub client: ClientId,
    /// What the send costs of which bucket; `None` = the client has no limit.
    pub rate: Option<Rate>,
    /// The call's key and its request's fingerprint; `None` = it has no key, or copies are not wanted.
    pub call: Option<(&'a IdempotencyKey, Fingerprint)>,
}

/// A take from a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub parts: u32,
    /// What the bucket gains; at least 1.
    pub per_second: u32,
    /// What the bucket holds; at least 1.
    pub burst: u32,
}

/// Answer of the limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// The tokens are taken.
    Passed,
    /// No tokens are taken; there will be enough then, if nobody else takes them.
    RetryAfter(Duration),
    /// The same request made this message under this key; no tokens are taken.
    Remembered(MessageId),
}

/// Token buckets by client, and perhaps copies of committed calls. It spares work and decides nothing but rates:
/// a limiter without copies, or one that lost them, is as right.
#[async_trait]
pub trait Limiter: Send + Sync + 'static {
    /// Answers with the copy of `ask.call`, if there is one of the same request in the same history of the log.
    /// Else takes `ask.rate.parts` tokens from the client's bucket, filled at `per_second` up to `burst`, all or none.
    /// A message larger than the bucket passes when the bucket is full, and leaves a debt. Always answers, and soon:
    /// what stands behind it may be down.
    async fn admit(&self, ask: &Admission<'_>) -> Admitted;

    /// Gives back tokens of a send that turned out to cost none. Returns at once; the tokens follow soon.
    fn give_back(&self, client: ClientId, parts: u32);

    /// Keeps copies of calls that were committed just now, for no longer than `lifetime`. Returns at once; may drop some.
    fn remember(&self, calls: &[RememberedCall], lifetime: Duration);
}
