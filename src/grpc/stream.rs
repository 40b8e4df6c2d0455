//! One subscriber's stream: a heartbeat at once, then events as they come, each frame with its token.
//!
//! The stream ends with a last token frame and UNAVAILABLE when the server stops, with UNAUTHENTICATED when its key
//! ends, and for a reader that takes nothing. It holds a bounded number of frames: a slow reader is waited for, and
//! what it has not read stays in the log.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use delivery::watch::{Start, Subscription, WatchError};
use futures_util::{Stream, StreamExt};
use message::event::Event;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::caller::Caller;
use super::convert::{duration, wall_clock};
use super::filter::Filter;
use super::places::StreamPlace;
use crate::app::App;
use crate::auth::{AuthError, RECHECK};
use crate::proto::v1;
use crate::status;

/// Events read at once.
const READ: usize = 500;
/// Frames that wait for the reader.
const FRAMES: usize = 64;
/// A reader that takes nothing for so long is cut off.
pub const STALL: Duration = Duration::from_secs(60);

/// What a stream of `F` answers.
pub type FrameStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Makes the frames of one RPC.
pub trait Frames<F: Filter>: Send + 'static {
    type Frame: Send + 'static;

    fn item(item: F::Item, resume_token: String) -> Self::Frame;

    fn heartbeat(heartbeat: v1::Heartbeat, resume_token: String) -> Self::Frame;
}

/// Opens the stream. A bad position, or one stream too many, is refused here, before the first frame.
pub async fn open<F: Filter, M: Frames<F>>(
    app: Arc<App>,
    caller: Caller,
    start: Start,
    filter: F,
) -> Result<FrameStream<M::Frame>, Status> {
    let place = app.places.take(&caller.principal.key_id)?;
    let subscribed = app.hub.subscribe(caller.client, start).await;
    let subscription = subscribed.map_err(|error| watch_error(&app, &caller, error))?;
    let (frames, sent) = mpsc::channel(FRAMES);
    let (end, ended) = oneshot::channel();
    let cut = CancellationToken::new();
    let writer =
        Writer::<F, M> { app, caller, filter, frames, recheck: recheck(), cut: cut.clone(), _place: place };
    tokio::spawn(async move {
        let why = writer.run(subscription).await;
        // A reader that left does not ask why.
        let _ = end.send(why);
    });
    // The writer's end comes after the frames that still wait, unless they are cut off.
    let last = futures_util::stream::once(ended).filter_map(|why| async move { why.ok().map(Err) });
    let sent = ReceiverStream::new(sent).take_until(cut.cancelled_owned());
    Ok(Box::pin(sent.map(|frame| Ok(*frame)).chain(last)))
}

/// When the key of an open stream is looked at again.
pub fn recheck() -> Interval {
    let mut recheck = interval(RECHECK);
    recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
    recheck
}

fn watch_error(app: &App, caller: &Caller, error: WatchError) -> Status {
    status::watch_error(error, |oldest| app.tokens.resume(caller.client, oldest))
}

struct Writer<F: Filter, M: Frames<F>> {
    app: Arc<App>,
    caller: Caller,
    filter: F,
    /// Boxed: a channel keeps room for 32 of what it carries, also while it is empty.
    frames: mpsc::Sender<Box<M::Frame>>,
    recheck: Interval,
    /// Canceled when the key has ended: what waits for the reader is not for it any more.
    cut: CancellationToken,
    _place: StreamPlace,
}

impl<F: Filter, M: Frames<F>> Writer<F, M> {
    /// Writes frames until something ends the stream. Answers what.
    async fn run(mut self, mut subscription: Subscription) -> Status {
        // Before anything else, also where events wait already: a timer that is due now is not ready at once.
        if let Err(why) = self.heartbeat(subscription.cursor()).await {
            return why;
        }
        let mut heartbeat_at = Instant::now() + self.app.heartbeat;
        loop {
            let written = tokio::select! {
                biased;
                () = self.app.streams_end.cancelled() => Err(self.end(subscription.cursor())),
                () = self.frames.closed() => Err(status::shutting_down()),
                _ = self.recheck.tick() => self.check_key().await.map(|()| false),
                () = sleep_until(heartbeat_at) => self.heartbeat(subscription.cursor()).await.map(|()| true),
                events = subscription.next(READ) => match events {
                    Ok(events) => self.events(&events).await,
                    Err(error) => Err(watch_error(&self.app, &self.caller, error)),
                },
            };
            match written {
                Ok(true) => heartbeat_at = Instant::now() + self.app.heartbeat,
                Ok(false) => {}
                Err(why) => return why,
            }
        }
    }

    /// The last frame of a server that stops. A reader that has fallen behind does not get it, and resumes from
    /// the last one it has.
    fn end(&self, cursor: i64) -> Status {
        let _ = self.frames.try_send(Box::new(self.heartbeat_frame(cursor)));
        status::shutting_down()
    }

    async fn check_key(&self) -> Result<(), Status> {
        if self.caller.is_key_good(&self.app).await {
            return Ok(());
        }
        self.cut.cancel();
        Err(AuthError::Invalid.into())
    }

    async fn heartbeat(&mut self, cursor: i64) -> Result<(), Status> {
        self.write(self.heartbeat_frame(cursor)).await
    }

    fn heartbeat_frame(&self, cursor: i64) -> M::Frame {
        let heartbeat = v1::Heartbeat {
            time: Some(wall_clock()),
            through_seq: cursor,
            interval: Some(duration(self.app.heartbeat)),
        };
        M::heartbeat(heartbeat, self.app.tokens.resume(self.caller.client, cursor))
    }

    /// Answers whether anything was written.
    async fn events(&mut self, events: &[Arc<Event>]) -> Result<bool, Status> {
        let mut is_any = false;
        for event in events {
            if let Some(item) = self.filter.item(event) {
                let token = self.app.tokens.resume(self.caller.client, event.seq);
                self.write(M::item(item, token)).await?;
                is_any = true;
            }
        }
        Ok(is_any)
    }

    /// Waits for a slow reader, but not longer than its key is good.
    async fn write(&mut self, frame: M::Frame) -> Result<(), Status> {
        let stalled_at = Instant::now() + STALL;
        loop {
            tokio::select! {
                biased;
                slot = self.frames.reserve() => {
                    slot.map_err(|_| status::shutting_down())?.send(Box::new(frame));
                    return Ok(());
                }
                () = self.app.streams_end.cancelled() => return Err(status::shutting_down()),
                _ = self.recheck.tick() => self.check_key().await?,
                () = sleep_until(stalled_at) => {
                    metrics::counter!("herald_slow_subscribers_total").increment(1);
                    return Err(status::overloaded(Duration::from_secs(1)));
                }
            }
        }
    }
}
