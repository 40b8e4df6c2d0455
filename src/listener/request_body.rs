//! The body of a request as it comes in: each message of a size that its method takes, and in time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Frame, SizeHint};
use prost::bytes::Bytes;
use tokio::time::Instant;
use tonic::Status;

use super::watched::Alarm;
use crate::status;

/// A flag and the length: what stands before each message (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX_LENGTH: usize = 5;

/// What a method takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// Of one message, in bytes.
    pub(super) most: usize,
    /// Whether there may be more than one.
    pub(super) streams: bool,
    /// For the whole request, or for each message of a stream.
    pub(super) patience: Duration,
}

pub(super) struct RequestBody<B> {
    inner: B,
    allowance: Allowance,
    messages: Messages,
    /// When what we wait for began; `None` = between the messages of a stream, where a caller may think.
    began: Option<Instant>,
    alarm: Alarm,
}

impl<B> RequestBody<B> {
    pub(super) fn new(inner: B, allowance: Allowance) -> Self {
        let began = (!allowance.streams).then(Instant::now);
        Self { inner, allowance, messages: Messages::default(), began, alarm: Alarm::default() }
    }

    fn check(&mut self, data: &[u8]) -> Result<(), Status> {
        self.messages.take(data, self.allowance)?;
        if self.allowance.streams {
            self.began = match self.began {
                _ if self.messages.is_between() => None,
                None => Some(Instant::now()),
                began => began,
            };
        }
        Ok(())
    }
}

impl<B> http_body::Body for RequestBody<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = tonic::codegen::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let checked = frame.data_ref().map_or(Ok(()), |data| this.check(data));
                Poll::Ready(Some(checked.map(|()| frame).map_err(Into::into)))
            }
            // The caller has left, or its connection has broken: nothing that a server could have done better.
            Poll::Ready(Some(Err(_))) => {
                Poll::Ready(Some(Err(Status::cancelled("the caller has gone").into())))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let Some(began) = this.began else { return Poll::Pending };
                let late = this.alarm.poll(began + this.allowance.patience, cx);
                late.map(|()| Some(Err(status::deadline_exceeded().into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The messages of a body, of which only the lengths are looked at.
#[derive(Debug, Default)]
struct Messages {
    prefix: [u8; PREFIX_LENGTH],
    prefix_length: usize,
    /// Bytes of the message that are still to come.
    left: usize,
    ended: usize,
}

impl Messages {
    fn take(&mut self, mut data: &[u8], allowance: Allowance) -> Result<(), Status> {
        while !data.is_empty() {
            if self.left == 0 && self.ended > 0 && !allowance.streams {
                // More than the one message of a unary call.
                return Err(status::undecodable());
            }
            if self.left == 0 {
                let taken = (PREFIX_LENGTH - self.prefix_length).min(data.len());
                self.prefix[self.prefix_length..self.prefix_length + taken].copy_from_slice(&data[..taken]);
                self.prefix_length += taken;
                data = &data[taken..];
                if self.prefix_length < PREFIX_LENGTH {
                    return Ok(());
                }
                self.begin(allowance)?;
            }
            let taken = self.left.min(data.len());
            data = &data[taken..];
            self.left -= taken;
            self.ended += usize::from(self.left == 0);
        }
        Ok(())
    }

    fn begin(&mut self, allowance: Allowance) -> Result<(), Status> {
        self.prefix_length = 0;
        let [_, length @ ..] = self.prefix;
        self.left = u32::from_be_bytes(length) as usize;
        if self.left > allowance.most { Err(status::request_too_large()) } else { Ok(()) }
    }

    fn is_between(&self) -> bool {
        self.left == 0 && self.prefix_length == 0
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    const UNARY: Allowance = Allowance { most: 4, streams: false, patience: Duration::from_secs(1) };
    const STREAM: Allowance = Allowance { streams: true, ..UNARY };

    fn check(data: &[u8], allowance: Allowance, expected: Code) {
        // In one piece, and byte by byte.
        for piece in [data.len(), 1] {
            let mut messages = Messages::default();
            let taken = data.chunks(piece).try_for_each(|piece| messages.take(piece, allowance));
            let code = taken.err().map_or(Code::Ok, |error| error.code());
            assert_eq!(code, expected, "{data:?} by {piece}");
        }
    }

    #[test]
    fn messages_up_to_the_limit_pass_and_longer_ones_fail_at_their_prefix() {
        check(&[0, 0, 0, 0, 4, 1, 2, 3, 4], UNARY, Code::Ok);
        check(&[0, 0, 0, 0, 0], UNARY, Code::Ok);
        check(&[0, 0, 0, 0, 5], UNARY, Code::ResourceExhausted);
        check(&[0, 255, 255, 255, 255], STREAM, Code::ResourceExhausted);
    }

    #[test]
    fn a_stream_takes_many_messages_and_a_unary_call_one() {
        let two = [0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 0];
        check(&two, STREAM, Code::Ok);
        check(&two, UNARY, Code::InvalidArgument);
        let too_long_at_last = [0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 5];
        check(&too_long_at_last, STREAM, Code::ResourceExhausted);
    }
}
