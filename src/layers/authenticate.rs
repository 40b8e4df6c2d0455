//! Lets nobody in without a valid API key, and tells the handlers who calls.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderValue, Request, Response, header};
use tonic::body::Body;
use tower::{Layer, Service};

use super::methods::{Method, OpensWith};
use super::trace::CallerSlot;
use super::{Answer, Inner, take};
use crate::auth::{AuthError, Authenticator, Principal, Source};
use crate::status;

const API_KEY: &str = "x-api-key";
/// The client that an operator key acts for.
const CLIENT_ID: &str = "herald-client-id";

#[derive(Clone)]
pub struct AuthenticateLayer(Arc<Authenticator>);

impl AuthenticateLayer {
    pub(super) fn new(authenticator: Arc<Authenticator>) -> Self {
        Self(authenticator)
    }
}

#[derive(Clone)]
pub struct Authenticate<S> {
    inner: S,
    authenticator: Arc<Authenticator>,
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authenticate { inner, authenticator: self.0.clone() }
    }
}

impl<S: Inner> Service<Request<Body>> for Authenticate<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answer {
        let mut inner = take(&mut self.inner);
        if Method::of(request.uri().path()).opens_with != OpensWith::ApiKey {
            return Box::pin(inner.call(request));
        }
        let authenticator = self.authenticator.clone();
        Box::pin(async move {
            match identify(&authenticator, &mut request).await {
                Ok(principal) => {
                    request.extensions_mut().insert(principal);
                    inner.call(request).await
                }
                Err(error) => Ok(status::auth_error(error).into_http()),
            }
        })
    }
}

async fn identify(
    authenticator: &Authenticator,
    request: &mut Request<Body>,
) -> Result<Principal, AuthError> {
    let source = request.extensions().get::<Source>().copied();
    // Taken out, so that nothing further in can log the key.
    let key = take_key(request.headers_mut())?;
    // One with other characters than a key has is judged, and counted, like any other malformed one.
    let key = key.to_str().unwrap_or_default();
    let mut principal = authenticator.authenticate(key, source).await?;
    if let Some(named) = request.headers().get(CLIENT_ID) {
        let named = named.to_str().map_err(|_| AuthError::MalformedClientId)?;
        principal = principal.speaking_for(named)?;
    }
    if let Some(slot) = request.extensions().get::<CallerSlot>() {
        slot.fill(&principal);
    }
    Ok(principal)
}

/// Whether the call shows a key at all, good or not.
pub(super) fn shows_key(headers: &HeaderMap) -> bool {
    headers.contains_key(API_KEY) || headers.get(header::AUTHORIZATION).and_then(bearer).is_some()
}

/// The key in `x-api-key`, or as a bearer token.
fn take_key(headers: &mut HeaderMap) -> Result<HeaderValue, AuthError> {
    let authorization = headers.remove(header::AUTHORIZATION);
    if let Some(key) = headers.remove(API_KEY) {
        return Ok(key);
    }
    let key = authorization.as_ref().and_then(bearer).ok_or(AuthError::Missing)?;
    HeaderValue::from_str(key).map_err(|_| AuthError::Invalid)
}

/// RFC 6750 section 2.1; the scheme's case does not count.
fn bearer(authorization: &HeaderValue) -> Option<&str> {
    let (scheme, key) = authorization.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim_start())
}
