//! Every call has an id: the caller's, or one made here. It is echoed as `x-request-id`.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};
use uuid::Uuid;

use super::{Answer, Inner, take};

/// The header, in requests and answers.
pub const HEADER: &str = "x-request-id";
const LENGTH_MAX: usize = 64;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// Names one call in logs and errors: 1 to 64 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    fn fresh() -> Self {
        Self(Uuid::now_v7().to_string().into())
    }

    /// The caller's own id; `None` if it is not one that logs and headers can carry.
    fn of(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        let is_good =
            (1..=LENGTH_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_good.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Runs `work` as a part of this call.
    pub(super) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }

    /// The same for work that goes on in a task of its own.
    pub async fn during<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }
}

/// The call that this code runs for; `None` outside of calls and in tasks they spawned.
pub fn current() -> Option<RequestId> {
    CURRENT.try_with(Clone::clone).ok()
}

#[derive(Clone, Copy, Debug)]
pub struct RequestIdLayer;

#[derive(Clone, Debug)]
pub struct WithRequestId<S>(S);

impl<S> Layer<S> for RequestIdLayer {
    type Service = WithRequestId<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WithRequestId(inner)
    }
}

impl<S: Inner> Service<Request<Body>> for WithRequestId<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answer {
        let mut inner = take(&mut self.0);
        let id = request.headers().get(HEADER).and_then(RequestId::of).unwrap_or_else(RequestId::fresh);
        request.extensions_mut().insert(id.clone());
        let echo = HeaderValue::from_str(id.as_str()).expect("visible ASCII is a header value");
        Box::pin(CURRENT.scope(id, async move {
            let mut response = inner.call(request).await?;
            response.headers_mut().insert(HEADER, echo);
            Ok(response)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_visible_ascii_is_taken_from_the_caller() {
        let taken = |text: &'static str| RequestId::of(&HeaderValue::from_static(text)).is_some();
        assert!(taken("order-17/3"));
        assert!(!taken(""));
        assert!(!taken("two words"));
        assert!(!taken("0123456789012345678901234567890123456789012345678901234567890123x"));
    }
}
