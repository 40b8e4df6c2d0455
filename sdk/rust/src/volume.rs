//! Sending for volume, over one stream at a time.

mod pending;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::TryFutureExt;
use futures_util::stream::{self, BoxStream, Fuse, Stream, StreamExt};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tonic::{Code, Response, Status};

use crate::client::new_idempotency_key;
use crate::error::Error;
use crate::raw::Raw;
use crate::retry::{RetryPolicy, is_passing};
use crate::v1;
use crate::v1::stream_messages_response::Frame;
use pending::Pending;

/// A stream of messages on its way up, which yields what became of each.
///
/// It takes from its source only as much as the server lets be unacknowledged. A message without an idempotency key
/// gets one. When the connection breaks or the server stops, it connects again, with growing pauses, and sends what was
/// not acknowledged with the same keys: nothing is accepted twice. It ends with an error that does not pass, and when
/// `RetryPolicy::max_attempts` connections in a row brought no acknowledgement; [`unacknowledged`](Self::unacknowledged)
/// then has what to send again, with the keys. It ends well once the source has ended and each message is acknowledged.
pub struct Volume {
    raw: Raw,
    source: Fuse<BoxStream<'static, v1::SendMessageRequest>>,
    pending: Pending,
    retry: RetryPolicy,
    /// How long a server may take to open a stream.
    patience: Duration,
    state: State,
    /// Wakes for what is to be sent again later.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Connections in a row that brought no acknowledgement.
    failures: u32,
    connections: u64,
}

/// What became of one message.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// Its place in the source, from 0. Acknowledgements come in the order of commits, which is not the source's.
    pub index: u64,
    /// Its key, given or made.
    pub idempotency_key: String,
    /// Accepted, or what `send` would have failed with.
    pub outcome: Result<v1::Accepted, Error>,
}

enum State {
    Idle,
    Pausing(Pin<Box<Sleep>>),
    Open(Connection),
    Ended,
}

struct Connection {
    /// `None` once all was said.
    up: Option<UnboundedSender<v1::StreamMessagesRequest>>,
    down: BoxStream<'static, Result<v1::StreamMessagesResponse, Status>>,
    /// Messages that may be on the wire; 0 = the stream is not open yet.
    window: usize,
    opening: Pin<Box<Sleep>>,
}

impl Volume {
    pub(crate) fn new<S>(raw: Raw, source: S, retry: RetryPolicy, patience: Duration) -> Self
    where
        S: Stream<Item = v1::SendMessageRequest> + Send + 'static,
    {
        Self {
            raw,
            source: source.boxed().fuse(),
            pending: Pending::default(),
            retry,
            patience,
            state: State::Idle,
            alarm: None,
            failures: 0,
            connections: 0,
        }
    }

    /// What became of the next message, or the error that ended the sending; `None` after that, and once all is
    /// acknowledged. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Acknowledged, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// What was taken from the source and is not acknowledged, with its keys, in the source's order.
    pub fn unacknowledged(&self) -> impl Iterator<Item = &v1::SendMessageRequest> {
        self.pending.messages()
    }

    /// How many streams were opened so far: above 1, it has gone on after a cut.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    fn connect(&mut self) {
        let (up, mut frames) = unbounded_channel();
        let frames = stream::poll_fn(move |cx| frames.poll_recv(cx));
        let mut client = self.raw.messaging();
        let down = async move { client.stream_messages(frames).await.map(Response::into_inner) };
        self.state = State::Open(Connection {
            up: Some(up),
            down: down.try_flatten_stream().boxed(),
            window: 0,
            opening: Box::pin(sleep(self.patience)),
        });
    }

    /// Sends what the window allows; half-closes when there is nothing left to say.
    fn fill(&mut self, cx: &mut Context<'_>) {
        let State::Open(connection) = &mut self.state else { return };
        while let Some(up) = &connection.up
            && self.pending.on_the_wire() < connection.window
        {
            if let Some(frame) = self.pending.take(Instant::now()) {
                // A connection that is gone says so on its way down.
                let _ = up.send(frame);
                continue;
            }
            match self.source.poll_next_unpin(cx) {
                Poll::Ready(Some(mut message)) => {
                    if message.idempotency_key.is_empty() {
                        message.idempotency_key = new_idempotency_key();
                    }
                    self.pending.add(message);
                }
                // Not before all is acknowledged: a message may have to go up again.
                Poll::Ready(None) if self.pending.is_empty() => connection.up = None,
                _ => break,
            }
        }
    }

    /// Takes a frame in; `None` = there is nothing to yield.
    fn take(&mut self, response: v1::StreamMessagesResponse) -> Option<Acknowledged> {
        let State::Open(connection) = &mut self.state else { return None };
        match response.frame? {
            Frame::Opened(opened) => {
                self.connections += 1;
                connection.window = usize::try_from(opened.max_in_flight).unwrap_or(0).max(1);
                None
            }
            Frame::Ack(ack) => {
                self.failures = 0;
                self.pending.acknowledge(ack, &self.retry, Instant::now(), rand::random())
            }
        }
    }

    /// Whether the time has come to send something again; else the task is woken then.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(due) = self.pending.next_due() else { return false };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        alarm.as_mut().reset(due);
        let has_room = matches!(&self.state, State::Open(open) if self.pending.on_the_wire() < open.window);
        has_room && alarm.as_mut().poll(cx).is_ready()
    }

    /// The connection was lost, or was not made: goes on after a pause, or ends with the error.
    fn lost(&mut self, error: Error) -> Option<Error> {
        self.pending.cut();
        self.failures = self.failures.saturating_add(1);
        if !is_passing(&error) || self.failures >= self.retry.max_attempts {
            self.state = State::Ended;
            return Some(error);
        }
        let pause = self.retry.backoff(self.failures, error.retry_after(), rand::random());
        self.state = State::Pausing(Box::pin(sleep(pause)));
        None
    }
}

impl Stream for Volume {
    type Item = Result<Acknowledged, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            this.fill(cx);
            let error = match &mut this.state {
                State::Idle => {
                    this.connect();
                    continue;
                }
                State::Pausing(pause) => {
                    ready!(pause.as_mut().poll(cx));
                    this.connect();
                    continue;
                }
                State::Ended => return Poll::Ready(None),
                State::Open(connection) => match connection.down.poll_next_unpin(cx) {
                    Poll::Ready(Some(Ok(response))) => {
                        if let Some(acknowledged) = this.take(response) {
                            return Poll::Ready(Some(Ok(acknowledged)));
                        }
                        continue;
                    }
                    // All was acknowledged: however the connection ends, nothing is left to do.
                    Poll::Ready(_) if connection.up.is_none() => {
                        this.state = State::Ended;
                        continue;
                    }
                    Poll::Ready(Some(Err(status))) => Error::from(status),
                    Poll::Ready(None) => Error::local(Code::Unavailable, "the server ended the stream"),
                    Poll::Pending if connection.window == 0 => {
                        ready!(connection.opening.as_mut().poll(cx));
                        Error::local(Code::Unavailable, "the server does not open the stream")
                    }
                    Poll::Pending if this.is_due(cx) => continue,
                    Poll::Pending => return Poll::Pending,
                },
            };
            if let Some(error) = this.lost(error) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

/// An outcome as one result.
pub(crate) fn result(outcome: Option<v1::SendOutcome>) -> Result<v1::Accepted, Error> {
    use v1::send_outcome::Outcome;
    match outcome.and_then(|outcome| outcome.outcome) {
        Some(Outcome::Accepted(accepted)) => Ok(accepted),
        Some(Outcome::Error(error)) => Err(error.into()),
        None => Err(Error::local(Code::Internal, "the server's answer has no outcome")),
    }
}
