//! Streams of the log that resume by themselves.

mod progress;
#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::stream::{BoxStream, Stream};
use tokio::time::{Instant, Sleep, sleep};
use tonic::{Code, Status};

use crate::error::Error;
use crate::retry::RetryPolicy;
use crate::v1;
pub(crate) use progress::Arrived;
use progress::{After, Progress};

/// A subscription to status changes.
pub type ReportSubscription = Subscription<v1::DeliveryReport>;
/// A subscription to the whole event log.
pub type EventSubscription = Subscription<v1::Event>;
/// A subscription to the balance, which is a state: its entries replace each other, and its frames have no token.
pub type BalanceSubscription = Subscription<v1::Balance>;

/// The client's log, live: each entry once, in order, whatever happens to connections and servers in between. (Of a
/// balance: the newest, whatever happens.)
///
/// It connects when it is first polled. When the connection breaks, the server stops, or nothing comes for three
/// heartbeats, it connects again with the last token, with growing pauses, for ever or as long as
/// [`give_up_after`](Self::give_up_after) says. Any other error is yielded once and ends it.
pub struct Subscription<T> {
    connect: Connect<T>,
    progress: Progress,
    state: State<T>,
    /// How long the first frame of a connection may take.
    patience: Duration,
}

/// One frame: store `resume_token` when you have dealt with the item.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame<T> {
    /// The position after this frame, good on every RPC that has the field; empty where there is none.
    pub resume_token: String,
    pub item: Item<T>,
}

/// What a frame carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Item<T> {
    /// A delivery report, an event or a balance.
    Entry(T),
    /// A sign of life. The first frame of each connection to the log is one.
    Heartbeat(v1::Heartbeat),
}

/// Opens the stream at a token (empty = none) or at the oldest entry.
type Connect<T> = Box<dyn Fn(&str, bool) -> BoxStream<'static, Result<Arrived<T>, Status>> + Send + Sync>;

enum State<T> {
    Idle,
    Pausing(Pin<Box<Sleep>>),
    /// With the moment at which silence has lasted too long.
    Open(BoxStream<'static, Result<Arrived<T>, Status>>, Pin<Box<Sleep>>),
    Ended,
}

impl<T> Subscription<T> {
    pub(crate) fn new(
        connect: impl Fn(&str, bool) -> BoxStream<'static, Result<Arrived<T>, Status>> + Send + Sync + 'static,
        resume_token: String,
        from_oldest: bool,
        retry: RetryPolicy,
        patience: Duration,
    ) -> Self {
        Self {
            connect: Box::new(connect),
            progress: Progress::new(resume_token, from_oldest, retry),
            state: State::Idle,
            patience,
        }
    }

    /// Ends with the last error when no frame has come for this long; `None` (the default) = never.
    pub fn give_up_after(mut self, max_elapsed: Option<Duration>) -> Self {
        self.progress.max_elapsed = max_elapsed;
        self
    }

    /// The next frame, or the error that ended the subscription; `None` after that. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Result<Frame<T>, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The position after the last frame that was yielded; empty before the first one if it started without.
    pub fn resume_token(&self) -> &str {
        self.progress.resume_token()
    }

    /// How many connections have brought a frame so far: above 1, it has resumed.
    pub fn connections(&self) -> u64 {
        self.progress.connections()
    }

    fn open(&mut self) {
        let (token, from_oldest) = self.progress.start(Instant::now());
        self.state = State::Open((self.connect)(token, from_oldest), Box::pin(sleep(self.patience)));
    }

    /// Goes on after a pause, or ends with the error.
    fn lost(&mut self, error: Error) -> Option<Error> {
        match self.progress.after(error, Instant::now(), rand::random()) {
            After::Pause(pause) => {
                self.state = State::Pausing(Box::pin(sleep(pause)));
                None
            }
            After::End(error) => {
                self.state = State::Ended;
                Some(error)
            }
        }
    }
}

impl<T> Stream for Subscription<T> {
    type Item = Result<Frame<T>, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let error = match &mut this.state {
                State::Idle => {
                    this.open();
                    continue;
                }
                State::Pausing(pause) => {
                    ready!(pause.as_mut().poll(cx));
                    this.open();
                    continue;
                }
                State::Open(frames, silence) => match frames.as_mut().poll_next(cx) {
                    Poll::Ready(Some(Ok(arrived))) => {
                        let now = Instant::now();
                        let frame = this.progress.take(arrived);
                        silence.as_mut().reset(now + this.progress.longest_silence());
                        match frame {
                            Some(frame) => return Poll::Ready(Some(Ok(frame))),
                            None => continue,
                        }
                    }
                    Poll::Ready(Some(Err(status))) => Error::from(status),
                    // The server never ends a subscription with OK.
                    Poll::Ready(None) => Error::local(Code::Unavailable, "the server ended the stream"),
                    // Looked at only after the frames: a slow reader's own delay is not the server's silence.
                    Poll::Pending => {
                        ready!(silence.as_mut().poll(cx));
                        Error::local(Code::Unavailable, "the stream fell silent")
                    }
                },
                State::Ended => return Poll::Ready(None),
            };
            if let Some(error) = this.lost(error) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}
