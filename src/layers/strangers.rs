//! Limits, by source address, the calls that show no key: those to open methods, and those that will be refused for it.
//! Wrong keys are limited where they are found wrong, by the authenticator, from the same allowances.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use governor::clock::QuantaInstant;
use governor::middleware::NoOpMiddleware;
use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};
use tower_governor::governor::Governor;
use tower_governor::{GovernorError, GovernorLayer};

use super::authenticate::shows_key;
use super::methods::{Method, OpensWith};
use super::{Answer, Inner, take};
use crate::auth::provider::PROVIDER_KEY;
use crate::auth::strangers::{Asks, ByPlace};
use crate::auth::{Source, Strangers};
use crate::status;

#[derive(Clone)]
pub struct StrangersLayer(Arc<Strangers>);

impl StrangersLayer {
    pub(super) fn new(strangers: Arc<Strangers>) -> Self {
        Self(strangers)
    }
}

#[derive(Clone)]
pub struct LimitStrangers<S> {
    strangers: Arc<Strangers>,
    /// tower_governor's service; what is inside it serves the calls that need no limit here.
    limited: Governor<ByPlace, NoOpMiddleware<QuantaInstant>, S, Body>,
}

impl<S> Layer<S> for StrangersLayer {
    type Service = LimitStrangers<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let limit = GovernorLayer::new(self.0.limits().clone()).error_handler(refusal);
        LimitStrangers { strangers: self.0.clone(), limited: limit.layer(inner) }
    }
}

impl<S: Inner> Service<Request<Body>> for LimitStrangers<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.limited.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answer {
        let asks = asks(&request);
        let source = request.extensions().get::<Source>();
        let Some((asks, source)) = asks.zip(source) else {
            return Box::pin(take(&mut self.limited.inner).call(request));
        };
        let place = self.strangers.place(*source, asks);
        request.extensions_mut().insert(place);
        Box::pin(self.limited.call(request))
    }
}

/// What the call asks for as a stranger; `None` = it shows a key.
fn asks(request: &Request<Body>) -> Option<Asks> {
    let shows_key = match Method::of(request.uri().path()).opens_with {
        OpensWith::Nothing => return Some(Asks::Open),
        OpensWith::ApiKey => shows_key(request.headers()),
        OpensWith::ProviderKey => request.headers().contains_key(PROVIDER_KEY),
    };
    (!shows_key).then_some(Asks::Entry)
}

fn refusal(error: GovernorError) -> Response<Body> {
    let status = match error {
        // Whole seconds, rounded down.
        GovernorError::TooManyRequests { wait_time, .. } => {
            status::strangers_limited(Duration::from_secs(wait_time + 1))
        }
        error => status::internal(&error),
    };
    status.into_http()
}
