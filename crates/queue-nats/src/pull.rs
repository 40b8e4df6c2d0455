//! Pullers: each asks the server for the ids of one share of a lane, as long as somebody on this node wants them.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::BatchConfig;
use async_nats::{Message, StatusCode, Subject, Subscriber};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout};

use crate::lane::Lane;
use crate::payload;
use crate::queue::Shared;
use crate::stream;

/// How long the server keeps a request that it cannot fill.
const EXPIRES: Duration = Duration::from_secs(30);
/// How often it tells that it still has the request; silent for three, it is asked anew.
const HEARTBEAT: Duration = Duration::from_secs(5);
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

/// Why pulling ended.
enum End {
    /// Nobody wants ids.
    Unwanted,
    /// The consumer, the stream or the connection is not what it was.
    Broken,
}

impl Puller {
    /// For ever.
    pub(crate) async fn run(self) {
        let mut pause = PAUSE_MIN;
        loop {
            while !self.lane.is_wanted(LINGER) {
                self.lane.wanted(self.share).await;
            }
            match self.pull_while_wanted(&mut pause).await {
                End::Unwanted => {}
                End::Broken => {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn pull_while_wanted(&self, pause: &mut Duration) -> End {
        let Shared { options, jetstream, watch, connection, .. } = self.shared.as_ref();
        // The watch makes the stream; a consumer can only follow.
        if !watch.is_usable() {
            return End::Broken;
        }
        let consumer = match stream::ensure_consumer(jetstream, options, &self.lane.name, self.share).await {
            Ok(consumer) => consumer,
            Err(error) => {
                watch.doubt();
                if let Some(count) = self.shared.pull_failures.count(1) {
                    tracing::warn!(%error, "no consumer of lane {} ({count} tries)", self.lane.name);
                }
                return End::Broken;
            }
        };
        let inbox = Subject::from(connection.client.new_inbox());
        let Ok(mut arriving) = connection.client.subscribe(inbox.clone()).await else { return End::Broken };
        let end = self.pull(&consumer, inbox, &mut arriving, pause).await;
        self.leave(arriving).await;
        end
    }

    async fn pull(
        &self,
        consumer: &PullConsumer,
        inbox: Subject,
        arriving: &mut Subscriber,
        pause: &mut Duration,
    ) -> End {
        let mut connects = self.shared.connection.connects.clone();
        connects.mark_unchanged();
        let (mut asked, mut heard_at) = (0, Instant::now());
        let mut looks = tokio::time::interval(LINGER);
        loop {
            if asked == 0 {
                let lack = self.lane.lack(self.share);
                if lack > 0 {
                    let batch = BatchConfig {
                        batch: lack,
                        expires: Some(EXPIRES),
                        idle_heartbeat: HEARTBEAT,
                        ..BatchConfig::default()
                    };
                    if consumer.request_batch(batch, inbox.clone()).await.is_err() {
                        return End::Broken;
                    }
                    (asked, heard_at) = (lack, Instant::now());
                }
            }
            tokio::select! {
                message = arriving.next() => {
                    let Some(message) = message else { return End::Broken };
                    heard_at = Instant::now();
                    match message.status.unwrap_or(StatusCode::OK) {
                        StatusCode::OK => {
                            asked = asked.saturating_sub(1);
                            *pause = PAUSE_MIN;
                            self.receive(message);
                        }
                        StatusCode::IDLE_HEARTBEAT => *pause = PAUSE_MIN,
                        // The request has expired, or was ended with less than it asked for.
                        StatusCode::TIMEOUT | StatusCode::NOT_FOUND => {
                            asked = 0;
                            self.lane.note_empty(self.share);
                        }
                        // The consumer is gone, or its leader; or the server is about to.
                        status => {
                            tracing::debug!(%status, description = ?message.description, "a pull was ended");
                            return End::Broken;
                        }
                    }
                }
                () = self.lane.wanted(self.share) => {}
                _ = looks.tick() => {
                    if !self.lane.is_wanted(LINGER) {
                        return End::Unwanted;
                    }
                    if asked > 0 && heard_at.elapsed() > 3 * HEARTBEAT {
                        return End::Broken;
                    }
                }
                // The server that had the request is not the one that this is connected to now.
                Ok(()) = connects.changed() => return End::Broken,
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
                self.shared.tickets.answer(reply, AckKind::Term);
            }
        }
    }

    /// What the server sends until it knows is given back, with what arrived.
    async fn leave(&self, mut arriving: Subscriber) {
        let rest = async {
            if arriving.drain().await.is_ok() {
                while let Some(message) = arriving.next().await {
                    if message.status.is_none_or(|status| status == StatusCode::OK) {
                        self.receive(message);
                    }
                }
            }
        };
        let _ = timeout(LINGER, rest).await;
        if !self.lane.is_wanted(LINGER) {
            drop(self.lane.give_up(self.share));
        }
        self.lane.note_empty(self.share);
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
