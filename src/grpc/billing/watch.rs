//! A balance as it changes: a state and not a log. A reader that is slower than the changes gets the newest.
//!
//! The stream ends with UNAVAILABLE when the server stops, with UNAUTHENTICATED when its key ends, and for a reader that
//! takes nothing.

use std::sync::Arc;
use std::time::Duration;

use delivery::watch::{Start, Subscription};
use futures_util::StreamExt;
use message::event::Event;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::app::App;
use crate::auth::AuthError;
use crate::grpc::caller::Caller;
use crate::grpc::convert::event::{balance, is_low};
use crate::grpc::convert::{duration, wall_clock};
use crate::grpc::find_client;
use crate::grpc::stream::{FrameStream, STALL, recheck};
use crate::proto::v1;
use crate::proto::v1::watch_balance_response::Frame;
use crate::status;

/// Events read at once; only the newest is told.
const READ: usize = 500;

/// Opens the stream.
pub async fn open(
    app: Arc<App>,
    caller: Caller,
    asked: &v1::WatchBalanceRequest,
) -> Result<FrameStream<v1::WatchBalanceResponse>, Status> {
    if asked.low_balance_micros < 0 {
        return Err(status::invalid_field("low_balance_micros", "must not be negative"));
    }
    let place = app.places.take(&caller.principal.key_id)?;
    // Before the balance is read: a change in between comes as an event too, and none is missed.
    let subscribed = app.hub.subscribe(caller.client, Start::Latest).await;
    let resume = |oldest| app.tokens.resume(caller.client, oldest);
    let subscription = subscribed.map_err(|error| status::watch_error(error, resume))?;
    let (client, head) = find_client(&app, caller.client).await?;
    let mark = match asked.low_balance_micros {
        0 => client.low_balance_micros,
        mark => mark,
    };
    let mut now = balance(&client, &head);
    now.is_low = is_low(now.available_micros, mark);
    // One frame: what is newer takes the place of what was not taken.
    let (frames, sent) = mpsc::channel(1);
    let (end, ended) = oneshot::channel();
    let cut = CancellationToken::new();
    let watch = Watch { app, caller, mark, currency: client.currency, news: News::first(now) };
    let ending = cut.clone();
    tokio::spawn(async move {
        let why = watch.run(subscription, frames, &ending).await;
        drop(place);
        // A reader that left does not ask why.
        let _ = end.send(why);
    });
    let last = futures_util::stream::once(ended).filter_map(|why| async move { why.ok().map(Err) });
    let sent = ReceiverStream::new(sent).take_until(cut.cancelled_owned());
    Ok(Box::pin(sent.map(Ok).chain(last)))
}

struct Watch {
    app: Arc<App>,
    caller: Caller,
    /// Below it the balance is low; 0 = never.
    mark: i64,
    currency: String,
    news: News,
}

/// What the reader knows, and what it does not know yet.
struct News {
    /// The newest event that is looked at.
    seq: i64,
    /// Available and held credit as they were told last.
    told: Option<(i64, i64)>,
    /// What waits for the reader, and since when something does.
    waiting: Option<(v1::Balance, Instant)>,
}

impl News {
    fn first(now: v1::Balance) -> Self {
        Self { seq: now.seq, told: None, waiting: Some((now, Instant::now())) }
    }

    /// Replaces what waits. A balance that is as it was told is no news.
    fn hear(&mut self, newest: v1::Balance) {
        if newest.seq <= self.seq {
            return;
        }
        self.seq = newest.seq;
        let since = self.waiting.take().map_or_else(Instant::now, |(_, since)| since);
        if self.told != Some((newest.available_micros, newest.held_micros)) {
            self.waiting = Some((newest, since));
        }
    }

    fn tell(&mut self) -> Option<v1::Balance> {
        let (balance, _) = self.waiting.take()?;
        self.told = Some((balance.available_micros, balance.held_micros));
        Some(balance)
    }
}

impl Watch {
    /// Tells the balance until something ends the stream. Answers what.
    async fn run(
        mut self,
        mut subscription: Subscription,
        frames: mpsc::Sender<v1::WatchBalanceResponse>,
        cut: &CancellationToken,
    ) -> Status {
        let mut recheck = recheck();
        let mut heartbeat_at = Instant::now() + self.app.heartbeat;
        loop {
            let waits_since = self.news.waiting.as_ref().map(|(_, since)| *since);
            tokio::select! {
                biased;
                () = self.app.streams_end.cancelled() => return status::shutting_down(),
                () = frames.closed() => return status::shutting_down(),
                _ = recheck.tick() => if !self.caller.is_key_good(&self.app).await {
                    cut.cancel();
                    return AuthError::Invalid.into();
                },
                Ok(slot) = frames.reserve(), if waits_since.is_some() => {
                    if let Some(balance) = self.news.tell() {
                        slot.send(frame(Frame::Balance(balance)));
                    }
                    heartbeat_at = Instant::now() + self.app.heartbeat;
                }
                events = subscription.next(READ) => match events {
                    Ok(events) => self.hear(&events),
                    Err(error) => {
                        let resume = |oldest| self.app.tokens.resume(self.caller.client, oldest);
                        return status::watch_error(error, resume);
                    }
                },
                () = sleep_until(heartbeat_at), if waits_since.is_none() => {
                    // A reader that has not taken the last frame needs no sign of life.
                    let _ = frames.try_send(frame(Frame::Heartbeat(self.heartbeat(&subscription))));
                    heartbeat_at = Instant::now() + self.app.heartbeat;
                }
                () = stalled(waits_since) => {
                    metrics::counter!("herald_slow_subscribers_total").increment(1);
                    return status::overloaded(Duration::from_secs(1));
                }
            }
        }
    }

    fn hear(&mut self, events: &[Arc<Event>]) {
        let Some(newest) = events.last() else { return };
        self.news.hear(v1::Balance {
            available_micros: newest.available_after,
            held_micros: newest.held_after,
            currency: self.currency.clone(),
            seq: newest.seq,
            is_low: is_low(newest.available_after, self.mark),
        });
    }

    fn heartbeat(&self, subscription: &Subscription) -> v1::Heartbeat {
        v1::Heartbeat {
            time: Some(wall_clock()),
            through_seq: subscription.cursor(),
            interval: Some(duration(self.app.heartbeat)),
        }
    }
}

/// Ends when something has waited for the reader for too long.
async fn stalled(waits_since: Option<Instant>) {
    match waits_since {
        Some(since) => sleep_until(since + STALL).await,
        None => std::future::pending().await,
    }
}

fn frame(frame: Frame) -> v1::WatchBalanceResponse {
    v1::WatchBalanceResponse { frame: Some(frame) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: i64, available_micros: i64) -> v1::Balance {
        v1::Balance { seq, available_micros, ..v1::Balance::default() }
    }

    #[tokio::test]
    async fn what_was_not_taken_gives_way_to_what_is_newer() {
        let mut news = News::first(at(5, 100));
        news.hear(at(6, 90));
        news.hear(at(7, 80));
        assert_eq!(news.tell(), Some(at(7, 80)));
        assert_eq!(news.tell(), None);
    }

    #[tokio::test]
    async fn an_old_event_and_a_balance_that_was_told_are_no_news() {
        let mut news = News::first(at(5, 100));
        news.hear(at(4, 70));
        assert_eq!(news.tell(), Some(at(5, 100)));
        news.hear(at(6, 100));
        assert_eq!(news.tell(), None);
        // There and back again before anybody looked.
        news.hear(at(7, 90));
        news.hear(at(8, 100));
        assert_eq!(news.tell(), None);
    }
}
