//! A connection's bytes, with an eye on the clock and on what they are good for.
//!
//! HTTP/2 below us bounds what a peer makes us hold. It does not bound how long a peer may take over a frame, how long
//! it may read nothing, or how many frames it may send that are no part of a call.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::frames::{Inbound, Outbound, Unfinished};
use super::limits::Limits;

const ENHANCE_YOUR_CALM: u32 = 11;
/// Streams that may begin before others have their turn: each is a task, and all would run first.
const TURN: usize = 16;

/// How the connection of a peer ends that floods it.
pub(super) const FLOOD: ErrorKind = ErrorKind::QuotaExceeded;

pub(super) struct Watched<S> {
    inner: S,
    limits: Arc<Limits>,
    accepted_at: Instant,
    inbound: Inbound,
    /// The number of streams at which this connection's turn is over.
    turn_ends_at: usize,
    outbound: Outbound,
    /// Since when we wait for the rest of something.
    waits_since: Option<Instant>,
    reading: Alarm,
    /// Since when the peer takes nothing.
    stalls_since: Option<Instant>,
    writing: Alarm,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, limits: Arc<Limits>) -> Self {
        let now = Instant::now();
        Self {
            inner,
            accepted_at: now,
            inbound: Inbound::new(&limits, now),
            turn_ends_at: TURN,
            outbound: Outbound::default(),
            limits,
            waits_since: None,
            reading: Alarm::default(),
            stalls_since: None,
            writing: Alarm::default(),
        }
    }

    /// Nothing has come. Is it still in time?
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let (reason, deadline) = match self.inbound.unfinished() {
            None => return Poll::Pending,
            Some(Unfinished::Greeting) => ("preface", self.accepted_at + self.limits.preface_timeout()),
            Some(Unfinished::Frame) => {
                let since = *self.waits_since.get_or_insert_with(Instant::now);
                ("frame", since + self.limits.frame_timeout())
            }
        };
        self.reading.poll(deadline, cx).map(|()| closed(ErrorKind::TimedOut, reason))
    }

    /// The peer takes nothing. Is it still in time?
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let since = *self.stalls_since.get_or_insert_with(Instant::now);
        let deadline = since + self.limits.stall_timeout();
        self.writing.poll(deadline, cx).map(|()| closed(ErrorKind::TimedOut, "stall"))
    }

    fn note_sent(&mut self, written: usize, buffers: &[IoSlice<'_>]) {
        let mut left = written;
        for buffer in buffers {
            let sent = left.min(buffer.len());
            for _ in 0..self.outbound.take(&buffer[..sent]) {
                self.inbound.note_answer();
            }
            left -= sent;
        }
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    /// Tells the peer why, if that can be done without waiting.
    fn say_go_away(&mut self, cx: &mut Context<'_>) {
        if !self.outbound.is_between_frames() {
            return;
        }
        // RFC 9113 section 6.8: the last stream that may have had an effect, and the error.
        let mut frame = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        frame[9..13].copy_from_slice(&self.inbound.last_stream().to_be_bytes());
        frame[13..].copy_from_slice(&ENHANCE_YOUR_CALM.to_be_bytes());
        let _ = Pin::new(&mut self.inner).poll_write(cx, &frame);
        let _ = Pin::new(&mut self.inner).poll_flush(cx);
    }

    /// What a write came to.
    fn written(
        &mut self,
        polled: Poll<io::Result<usize>>,
        buffers: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Ok(written)) => {
                self.stalls_since = None;
                self.note_sent(written, buffers);
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_stall(cx).map(Err),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.inbound.begun() >= this.turn_ends_at {
            this.turn_ends_at = this.inbound.begun() + TURN;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                let ended = this.inbound.ended();
                let taken = this.inbound.take(&buffer.filled()[before..], Instant::now());
                if let Err(excess) = taken {
                    this.say_go_away(cx);
                    return Poll::Ready(Err(closed(FLOOD, excess.name())));
                }
                if this.inbound.ended() != ended {
                    // What is unfinished now, if anything, has only begun.
                    this.waits_since = None;
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                this.turn_ends_at = this.inbound.begun() + TURN;
                this.poll_patience(cx).map(Err)
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.written(polled, &[IoSlice::new(bytes)], cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, buffers);
        self.written(polled, buffers, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// The connection is given up. Strangers cause this at will, so it is counted and not logged.
fn closed(kind: ErrorKind, reason: &'static str) -> io::Error {
    metrics::counter!("herald_connections_closed_total", "reason" => reason).increment(1);
    io::Error::new(kind, reason)
}

/// A timer that costs nothing until it is needed.
#[derive(Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once `at` has passed.
    pub(super) fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// A DATA frame of 100 bytes on stream 1.
    const FRAME: [u8; 109] = {
        let mut frame = [0; 109];
        frame[2] = 100;
        frame[8] = 1;
        frame
    };
    const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

    async fn greeted() -> (DuplexStream, Watched<DuplexStream>) {
        let (mut peer, ours) = duplex(1_000);
        let mut ours = Watched::new(ours, Arc::new(Limits::default()));
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        peer.write_all(&[vec![b'P'; 24], settings.to_vec()].concat()).await.unwrap();
        ours.read_exact(&mut [0; 33]).await.unwrap();
        (peer, ours)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_sends_frame_after_frame_is_never_late_and_one_that_stops_in_a_frame_is() {
        let (mut peer, mut ours) = greeted().await;
        let mut buffer = [0; FRAME.len()];
        peer.write_all(&FRAME[..50]).await.unwrap();
        ours.read_exact(&mut buffer[..50]).await.unwrap();
        for _ in 0..60 {
            // Each wait begins and ends within a frame.
            let (read, ()) = tokio::join!(ours.read_exact(&mut buffer), async {
                tokio::time::sleep(SECOND).await;
                peer.write_all(&[&FRAME[50..], &FRAME[..50]].concat()).await.unwrap();
            });
            read.unwrap();
        }
        // A byte now and then does not help.
        let trickle = async {
            loop {
                tokio::time::sleep(SECOND).await;
                peer.write_all(&[0]).await.unwrap();
            }
        };
        let began = Instant::now();
        let late =
            tokio::select! { late = ours.read_exact(&mut buffer) => late, () = trickle => unreachable!() };
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_between_frames_may_be_silent_for_ever() {
        let (_peer, mut ours) = greeted().await;
        let silent = tokio::time::timeout(3_600 * SECOND, ours.read_u8()).await;
        assert!(silent.is_err(), "{silent:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (_peer, mut ours) = greeted().await;
        let stalled = ours.write_all(&[0; 10_000]).await;
        assert_eq!(stalled.unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
