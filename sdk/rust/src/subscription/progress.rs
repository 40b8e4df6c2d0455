//! Where a subscription stands and what it does when it is cut off. Pure: time and chance are handed in.

use std::time::Duration;

use tokio::time::Instant;

use super::{Frame, Item};
use crate::error::Error;
use crate::retry::{self, RetryPolicy};
use crate::v1;

/// Heartbeats that may be missing before a connection counts as dead.
const MISSED_HEARTBEATS: u32 = 3;
/// Assumed until the server announces its interval.
const USUAL_INTERVAL: Duration = Duration::from_secs(15);

/// A frame as it came.
pub(crate) struct Arrived<T> {
    token: String,
    /// 0 = it carries no entry.
    seq: i64,
    /// The silence after which the next heartbeat comes, if this is one.
    interval: Option<Duration>,
    /// `None` = of a kind that this SDK does not know.
    item: Option<Item<T>>,
}

/// What to do after a loss.
pub(super) enum After {
    Pause(Duration),
    End(Error),
}

pub(super) struct Progress {
    token: String,
    /// The start that was asked for. It holds until the first token says where the log was entered.
    from_oldest: bool,
    /// The newest entry that was yielded; 0 = none.
    last_seq: i64,
    interval: Duration,
    retry: RetryPolicy,
    pub(super) max_elapsed: Option<Duration>,
    /// Since when no frame has come; `None` while connected.
    cut_off_since: Option<Instant>,
    /// Losses in a row.
    failures: u32,
    frames_of_connection: u64,
    connections: u64,
}

impl Progress {
    pub(super) fn new(token: String, from_oldest: bool, retry: RetryPolicy) -> Self {
        Self {
            token,
            from_oldest,
            last_seq: 0,
            interval: USUAL_INTERVAL,
            retry,
            max_elapsed: None,
            cut_off_since: None,
            failures: 0,
            frames_of_connection: 0,
            connections: 0,
        }
    }

    pub(super) fn resume_token(&self) -> &str {
        &self.token
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections
    }

    /// The token (empty = none) to connect with, and whether to start at the oldest entry.
    pub(super) fn start(&mut self, now: Instant) -> (&str, bool) {
        self.frames_of_connection = 0;
        self.cut_off_since.get_or_insert(now);
        (&self.token, self.from_oldest)
    }

    /// Takes a frame in; `None` = there is nothing to yield.
    pub(super) fn take<T>(&mut self, arrived: Arrived<T>) -> Option<Frame<T>> {
        self.cut_off_since = None;
        self.frames_of_connection += 1;
        if self.frames_of_connection == 1 {
            self.connections += 1;
        } else {
            // A server that dies after its first frame, again and again, must still be met with longer pauses.
            self.failures = 0;
        }
        self.interval = arrived.interval.unwrap_or(self.interval);
        let is_repeat = arrived.seq != 0 && arrived.seq <= self.last_seq;
        if is_repeat {
            return None;
        }
        self.last_seq = self.last_seq.max(arrived.seq);
        if !arrived.token.is_empty() {
            self.token.clone_from(&arrived.token);
            self.from_oldest = false;
        }
        Some(Frame { resume_token: arrived.token, item: arrived.item? })
    }

    /// How long the connection may be silent.
    pub(super) fn longest_silence(&self) -> Duration {
        self.interval.max(Duration::from_secs(1)) * MISSED_HEARTBEATS
    }

    /// The connection was lost, or was not made.
    pub(super) fn after(&mut self, error: Error, now: Instant, jitter: f64) -> After {
        self.failures = self.failures.saturating_add(1);
        let cut_off = now.saturating_duration_since(*self.cut_off_since.get_or_insert(now));
        let pause = self.retry.backoff(self.failures, error.retry_after(), jitter);
        let is_too_long = self.max_elapsed.is_some_and(|longest| cut_off + pause > longest);
        if retry::is_passing(&error) && !is_too_long { After::Pause(pause) } else { After::End(error) }
    }
}

impl From<v1::SubscribeDeliveryReportsResponse> for Arrived<v1::DeliveryReport> {
    fn from(response: v1::SubscribeDeliveryReportsResponse) -> Self {
        use v1::subscribe_delivery_reports_response::Frame;
        match response.frame {
            Some(Frame::Report(report)) => Self::entry(response.resume_token, report.seq, report),
            Some(Frame::Heartbeat(heartbeat)) => Self::heartbeat(response.resume_token, heartbeat),
            None => Self::unknown(response.resume_token),
        }
    }
}

impl From<v1::SubscribeEventsResponse> for Arrived<v1::Event> {
    fn from(response: v1::SubscribeEventsResponse) -> Self {
        use v1::subscribe_events_response::Frame;
        match response.frame {
            Some(Frame::Event(event)) => Self::entry(response.resume_token, event.seq, event),
            Some(Frame::Heartbeat(heartbeat)) => Self::heartbeat(response.resume_token, heartbeat),
            None => Self::unknown(response.resume_token),
        }
    }
}

impl From<v1::WatchBalanceResponse> for Arrived<v1::Balance> {
    fn from(response: v1::WatchBalanceResponse) -> Self {
        use v1::watch_balance_response::Frame;
        match response.frame {
            // Without its `seq`, which may stay the same while the mark of a low balance moves.
            Some(Frame::Balance(balance)) => Self::entry(String::new(), 0, balance),
            Some(Frame::Heartbeat(heartbeat)) => Self::heartbeat(String::new(), heartbeat),
            None => Self::unknown(String::new()),
        }
    }
}

impl<T> Arrived<T> {
    pub(super) fn entry(token: String, seq: i64, entry: T) -> Self {
        Self { token, seq, interval: None, item: Some(Item::Entry(entry)) }
    }

    pub(super) fn heartbeat(token: String, heartbeat: v1::Heartbeat) -> Self {
        let interval = heartbeat.interval.and_then(|interval| interval.try_into().ok());
        Self { token, seq: 0, interval, item: Some(Item::Heartbeat(heartbeat)) }
    }

    fn unknown(token: String) -> Self {
        Self { token, seq: 0, interval: None, item: None }
    }
}
