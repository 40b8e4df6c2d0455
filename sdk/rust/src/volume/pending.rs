//! Which messages are not acknowledged yet, and when each goes up. Pure: time and chance are handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::{Acknowledged, result};
use crate::retry::RetryPolicy;
use crate::v1;

/// Every message is in `open`, and in `ready`, in `later`, or on the wire.
#[derive(Default)]
pub(super) struct Pending {
    open: BTreeMap<u64, Entry>,
    /// To be sent now.
    ready: BTreeSet<u64>,
    /// Answered with an error that may pass: to be sent again then.
    later: BTreeSet<(Instant, u64)>,
    next_index: u64,
}

struct Entry {
    message: v1::SendMessageRequest,
    /// How often it was answered with an error that may pass.
    failures: u32,
}

impl Pending {
    /// A further message, with an idempotency key.
    pub(super) fn add(&mut self, message: v1::SendMessageRequest) {
        self.open.insert(self.next_index, Entry { message, failures: 0 });
        self.ready.insert(self.next_index);
        self.next_index += 1;
    }

    /// The next to be sent; from now on it is on the wire.
    pub(super) fn take(&mut self, now: Instant) -> Option<v1::StreamMessagesRequest> {
        while let Some((due, index)) = self.later.first().copied().filter(|(due, _)| *due <= now) {
            self.later.remove(&(due, index));
            self.ready.insert(index);
        }
        let index = self.ready.pop_first()?;
        let message = self.open.get(&index).map(|entry| entry.message.clone());
        Some(v1::StreamMessagesRequest { tag: index.to_string(), message })
    }

    /// What the server said of one; `None` = it is sent again later, or nobody asked.
    pub(super) fn acknowledge(
        &mut self,
        ack: v1::StreamAck,
        retry: &RetryPolicy,
        now: Instant,
        jitter: f64,
    ) -> Option<Acknowledged> {
        let index = ack.tag.parse().ok()?;
        let entry = self.open.get_mut(&index)?;
        let outcome = result(ack.outcome);
        if let Err(error) = &outcome
            && let Some(pause) = retry.pause(error, entry.failures + 1, Duration::MAX, jitter)
        {
            entry.failures += 1;
            self.later.insert((now + pause, index));
            return None;
        }
        let entry = self.open.remove(&index)?;
        Some(Acknowledged { index, idempotency_key: entry.message.idempotency_key, outcome })
    }

    /// The connection is gone: what was on the wire is sent again, first things first.
    pub(super) fn cut(&mut self) {
        let waits: BTreeSet<u64> = self.later.iter().map(|(_, index)| *index).collect();
        self.ready = self.open.keys().copied().filter(|index| !waits.contains(index)).collect();
    }

    pub(super) fn on_the_wire(&self) -> usize {
        self.open.len() - self.ready.len() - self.later.len()
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.later.first().map(|(due, _)| *due)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &v1::SendMessageRequest> {
        self.open.values().map(|entry| &entry.message)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tonic::Code;

    use super::*;

    const TRIES: u32 = 3;

    fn policy() -> RetryPolicy {
        RetryPolicy { max_attempts: TRIES, ..RetryPolicy::default() }
    }

    fn message(key: &str) -> v1::SendMessageRequest {
        v1::SendMessageRequest { idempotency_key: key.into(), ..Default::default() }
    }

    fn pending(count: usize) -> Pending {
        let mut pending = Pending::default();
        (0..count).for_each(|number| pending.add(message(&format!("k{number}"))));
        pending
    }

    fn sent(pending: &mut Pending, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| pending.take(now)).map(|frame| frame.tag).collect()
    }

    fn ack(tag: &str, code: Code) -> v1::StreamAck {
        use v1::send_outcome::Outcome;
        let outcome = match code {
            Code::Ok => Outcome::Accepted(v1::Accepted::default()),
            code => Outcome::Error(tonic_types::pb::Status { code: code.into(), ..Default::default() }),
        };
        let outcome = Some(v1::SendOutcome { outcome: Some(outcome) });
        v1::StreamAck { tag: tag.into(), index: 0, outcome }
    }

    #[test]
    fn what_was_on_the_wire_is_sent_again_after_a_cut_and_nothing_else() {
        let now = Instant::now();
        let mut pending = pending(3);
        assert_eq!(sent(&mut pending, now), ["0", "1", "2"]);
        let done = pending.acknowledge(ack("1", Code::Ok), &policy(), now, 0.0).unwrap();
        assert_eq!((done.index, done.idempotency_key.as_str()), (1, "k1"));
        assert_eq!(pending.on_the_wire(), 2);
        pending.cut();
        assert_eq!(pending.on_the_wire(), 0);
        assert_eq!(sent(&mut pending, now), ["0", "2"]);
        let keys: Vec<_> = pending.messages().map(|message| message.idempotency_key.as_str()).collect();
        assert_eq!(keys, ["k0", "k2"]);
    }

    #[test]
    fn an_error_that_may_pass_is_tried_again_after_a_pause_and_told_in_the_end() {
        let mut now = Instant::now();
        let mut pending = pending(1);
        for _ in 1..TRIES {
            assert_eq!(sent(&mut pending, now), ["0"]);
            assert!(pending.acknowledge(ack("0", Code::Unavailable), &policy(), now, 0.0).is_none());
            assert_eq!(sent(&mut pending, now), [""; 0], "not before the pause");
            pending.cut();
            assert_eq!(sent(&mut pending, now), [""; 0], "not after a cut either");
            now = pending.next_due().unwrap();
        }
        assert_eq!(sent(&mut pending, now), ["0"]);
        let told = pending.acknowledge(ack("0", Code::Unavailable), &policy(), now, 0.0).unwrap();
        assert_eq!(told.outcome.unwrap_err().code(), Code::Unavailable);
        assert!(pending.is_empty());
    }

    #[test]
    fn a_refusal_stands_and_an_unknown_tag_is_nothing() {
        let now = Instant::now();
        let mut pending = pending(1);
        assert_eq!(sent(&mut pending, now), ["0"]);
        for tag in ["", "7", "x"] {
            assert!(pending.acknowledge(ack(tag, Code::Ok), &policy(), now, 0.0).is_none(), "{tag}");
        }
        let told = pending.acknowledge(ack("0", Code::FailedPrecondition), &policy(), now, 0.0).unwrap();
        assert_eq!(told.outcome.unwrap_err().code(), Code::FailedPrecondition);
        assert!(pending.acknowledge(ack("0", Code::Ok), &policy(), now, 0.0).is_none());
    }
}
