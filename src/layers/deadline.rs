//! Ends unary calls at their deadline: the caller's (`grpc-timeout`), and never later than the server's.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use super::methods::Method;
use super::{Answer, Inner, take};
use crate::status;

/// No unary call runs longer.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub struct DeadlineLayer;

#[derive(Clone, Debug)]
pub struct Deadline<S>(S);

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline(inner)
    }
}

impl<S: Inner> Service<Request<Body>> for Deadline<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let mut inner = take(&mut self.0);
        let Some(limit) = limit(Method::of(request.uri().path()), request.headers()) else {
            return Box::pin(inner.call(request));
        };
        Box::pin(async move {
            match tokio::time::timeout(limit, inner.call(request)).await {
                Ok(answered) => answered,
                Err(_) => Ok(status::deadline_exceeded().into_http()),
            }
        })
    }
}

/// How long a call may take; `None` = a stream, which lives as long as its caller likes.
fn limit(method: &Method, headers: &HeaderMap) -> Option<Duration> {
    if method.streams() {
        return None;
    }
    let Some(wanted) = headers.get("grpc-timeout").and_then(|value| parse(value.to_str().ok()?)) else {
        return Some(LONGEST);
    };
    // A little early: the answer, with its reason, must reach the caller before it gives up; and tonic ends the
    // call at the very moment with a bare CANCELLED.
    let early = (wanted / 10).min(Duration::from_millis(20));
    Some((wanted - early).min(LONGEST))
}

/// `TimeoutValue TimeoutUnit` of the gRPC protocol over HTTP/2: 1 to 8 digits and a unit. `None` = not of that
/// form, and then it is not a deadline.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3_600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_of_the_protocols_form_parse_and_no_others() {
        let cases = [
            ("100m", Some(Duration::from_millis(100))),
            ("5S", Some(Duration::from_secs(5))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("100000000S", None),
            ("+5S", None),
            ("S", None),
            ("", None),
            ("5", None),
            ("5s", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
