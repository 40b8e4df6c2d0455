//! Answers that nobody reads. A peer that opens no window makes us keep its answers; it may do so only for a time.
//!
//! HTTP/2 asks an answer for its next part when the peer has room for it, so an answer that was asked for nothing since
//! its last part is one whose reader stalls. Each call is a task here, which ends then and takes the call with it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tonic::body::Body;

use super::watched::Alarm;

tokio::task_local! {
    static READER: Arc<Reader>;
}

/// Runs the calls of one connection.
#[derive(Clone)]
pub(super) struct Calls(pub(super) TaskTracker);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Calls {
    fn execute(&self, call: F) {
        let reader = Arc::new(Reader::default());
        self.0.spawn(READER.scope(reader.clone(), unless_stalled(call, reader)));
    }
}

/// Drops the call, which resets its stream, when its reader stalls.
async fn unless_stalled<F: Future<Output = ()>>(call: F, reader: Arc<Reader>) {
    let mut call = std::pin::pin!(call);
    let mut alarm = Alarm::default();
    std::future::poll_fn(|cx| {
        if call.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(deadline) = reader.deadline() else { return Poll::Pending };
        alarm.poll(deadline, cx).map(|()| {
            metrics::counter!("herald_stalled_answers_total").increment(1);
        })
    })
    .await;
}

/// The other end of one answer.
#[derive(Debug)]
struct Reader {
    began: Instant,
    /// When it will have stalled, in milliseconds since `began`; 0 = it is not waited for.
    deadline_ms: AtomicU64,
}

impl Default for Reader {
    fn default() -> Self {
        Self { began: Instant::now(), deadline_ms: AtomicU64::new(0) }
    }
}

impl Reader {
    fn deadline(&self) -> Option<Instant> {
        match self.deadline_ms.load(Ordering::Relaxed) {
            0 => None,
            ms => Some(self.began + Duration::from_millis(ms)),
        }
    }

    fn must_take_within(&self, patience: Duration) {
        let deadline = (self.began.elapsed() + patience).as_millis();
        self.deadline_ms.store(u64::try_from(deadline).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }

    fn has_taken(&self) {
        self.deadline_ms.store(0, Ordering::Relaxed);
    }
}

/// The body of an answer, which knows whether it is read.
pub(super) struct Answer {
    inner: Body,
    /// `None` outside of [`Calls`].
    reader: Option<Arc<Reader>>,
    patience: Duration,
}

impl Answer {
    /// To be made in the task of its call.
    pub(super) fn new(inner: Body, patience: Duration) -> Self {
        let reader = READER.try_with(Clone::clone).ok();
        let answer = Self { inner, reader, patience };
        answer.wait_for_reader();
        answer
    }

    fn wait_for_reader(&self) {
        if let Some(reader) = &self.reader {
            reader.must_take_within(self.patience);
        }
    }
}

impl http_body::Body for Answer {
    type Data = <Body as http_body::Body>::Data;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if matches!(polled, Poll::Ready(Some(_))) {
            self.wait_for_reader();
        } else if let Some(reader) = &self.reader {
            // We are waited for, or all is said.
            reader.has_taken();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
