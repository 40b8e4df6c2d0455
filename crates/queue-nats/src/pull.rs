//! Pullers: each asks the server for the ids of one share of a lane, as long as somebody on this node wants them.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::BatchConfig;
use async_nats::{Message, StatusCode, Subject, Subscriber};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep};

use crate::lane::Lane;
use crate::payload;
use crate::queue::Shared;
use crate::stream;

/// How long the server keeps a request that it cannot fill. A request cannot be taken back without losing, for a whole
/// `ack_wait`, what is on its way; so this is also how long ids may come to a node that does not want them any more.
const EXPIRES: Duration = Duration::from_secs(5);
/// A request is lost when nothing was heard for so long after it expired.
const GRACE: Duration = Duration::from_secs(3);
/// So long after the last taker left, what arrives for it may go to the next one of this node; then to another node.
const LINGER: Duration = Duration::from_secs(1);
/// Waits between tries while NATS does not do what it should.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

pub(crate) struct Puller {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lane: Arc<Lane>,
    pub(crate) share: usize,
}

impl Puller {
    /// For ever.
    pub(crate) async fn run(self) {
        let client = &self.shared.connection.client;
        let inbox = Subject::from(client.new_inbox());
        // Refused only by a client that is closed.
        let Ok(mut arriving) = client.subscribe(inbox.clone()).await else { return };
        let mut pause = PAUSE_MIN;
        loop {
            // The watch makes the stream; a consumer can only follow.
            self.shared.watch.until_usable().await;
            if let Some(consumer) = self.consumer().await {
                self.pull(&consumer, &inbox, &mut arriving, &mut pause).await;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn consumer(&self) -> Option<PullConsumer> {
        let Shared { options, jetstream, watch, .. } = self.shared.as_ref();
        match stream::ensure_consumer(jetstream, options, &self.lane.name, self.share).await {
            Ok(consumer) => Some(consumer),
            Err(error) => {
                watch.doubt();
                if let Some(count) = self.shared.pull_failures.count(1) {
                    tracing::warn!(%error, "no consumer of lane {} ({count} tries)", self.lane.name);
                }
                None
            }
        }
    }

    /// One request after the other, until the consumer is not what it was.
    async fn pull(
        &self,
        consumer: &PullConsumer,
        inbox: &Subject,
        arriving: &mut Subscriber,
        pause: &mut Duration,
    ) {
        let mut connects = self.shared.connection.connects.clone();
        connects.mark_unchanged();
        let (mut asked, mut heard_at) = (0, Instant::now());
        let mut looks = tokio::time::interval(LINGER);
        loop {
            let lack = self.lane.lack(self.share);
            if asked == 0 && lack > 0 && self.lane.is_wanted(LINGER) {
                let batch = BatchConfig { batch: lack, expires: Some(EXPIRES), ..BatchConfig::default() };
                if consumer.request_batch(batch, inbox.clone()).await.is_err() {
                    return;
                }
                (asked, heard_at) = (lack, Instant::now());
            }
            tokio::select! {
                message = arriving.next() => {
                    let Some(message) = message else { return };
                    heard_at = Instant::now();
                    match message.status.unwrap_or(StatusCode::OK) {
                        StatusCode::OK => {
                            asked = asked.saturating_sub(1);
                            self.receive(message);
                        }
                        // The request has expired, or was ended with less than it asked for.
                        StatusCode::TIMEOUT | StatusCode::NOT_FOUND => {
                            asked = 0;
                            self.lane.note_empty(self.share);
                        }
                        // The consumer is gone, or its leader; or the server is about to.
                        status => {
                            tracing::debug!(%status, description = ?message.description, "a pull was ended");
                            return;
                        }
                    }
                    *pause = PAUSE_MIN;
                }
                () = self.lane.wanted(self.share) => {}
                _ = looks.tick() => {
                    if !self.lane.is_wanted(LINGER) {
                        drop(self.lane.give_up(self.share));
                    }
                    if asked > 0 && heard_at.elapsed() > EXPIRES + GRACE {
                        return;
                    }
                }
                // The server may have the request or not: at worst it has two.
                Ok(()) = connects.changed() => asked = 0,
            }
        }
    }

    fn receive(&self, message: Message) {
        let Some(reply) = message.reply.clone() else { return };
        match payload::read_key(&message.payload) {
            Some(key) => {
                let ticket = self.shared.tickets.issue(key, reply.clone());
                self.lane.put(self.share, ticket, pending(&reply) > 0);
            }
            None => {
                self.shared.refuse(&message);
                self.shared.tickets.refuse(reply);
            }
        }
    }
}

/// How many more the consumer has, by the reply subject: `$JS.ACK`, then seven tokens, or nine and more, of which the
/// last but one counts them (ADR-15 of NATS).
fn pending(reply: &str) -> u64 {
    let tokens: Vec<&str> = reply.split('.').collect();
    let place = if tokens.len() == 9 { 8 } else { 10 };
    tokens.get(place).and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_reply_tell_how_much_is_pending() {
        assert_eq!(pending("$JS.ACK.S.c.1.10.11.1700000000000000000.42"), 42);
        assert_eq!(pending("$JS.ACK._.hash.S.c.1.10.11.1700000000000000000.42.token"), 42);
        assert_eq!(pending("$JS.ACK._.hash.S.c.1.10.11.1700000000000000000.42"), 42);
        assert_eq!(pending("something.else"), 0);
    }
}
