//! Puts the principal of the key into the request's extensions.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tower::{Layer, Service};

use super::calls::BoxFuture;
use crate::auth::{Authenticator, Principal};
use crate::status;

/// Services that answer without a key.
const OPEN: [&str; 3] = ["/grpc.health.v1.", "/grpc.reflection.v1.", "/grpc.reflection.v1alpha."];

#[derive(Clone)]
pub struct AuthenticateLayer {
    authenticator: Arc<Authenticator>,
}

impl AuthenticateLayer {
    pub fn new(authenticator: Arc<Authenticator>) -> Self {
        Self { authenticator }
    }
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Authenticate<S> {
        Authenticate { inner, authenticator: self.authenticator.clone() }
    }
}

#[derive(Clone)]
pub struct Authenticate<S> {
    inner: S,
    authenticator: Arc<Authenticator>,
}

impl<S> Service<Request<Body>> for Authenticate<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The service that was ready is the one that is called; its clone waits for the next call.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let authenticator = self.authenticator.clone();
        Box::pin(async move {
            if !OPEN.iter().any(|open| request.uri().path().starts_with(open)) {
                match principal(&authenticator, &request).await {
                    Ok(principal) => {
                        tracing::Span::current().record("key_id", &principal.key_id);
                        request.extensions_mut().insert(principal);
                    }
                    Err(refused) => return Ok(refused.into_http()),
                }
            }
            inner.call(request).await
        })
    }
}

async fn principal(authenticator: &Authenticator, request: &Request<Body>) -> Result<Principal, Status> {
    let source = request.extensions().get::<TcpConnectInfo>();
    let source: Option<IpAddr> = source.and_then(TcpConnectInfo::remote_addr).map(|address| address.ip());
    let key = presented_key(request.headers()).ok_or_else(status::api_key_missing)?;
    let mut principal = authenticator.verify(key, source).await.map_err(status::auth_error)?;
    if let Some(named) = request.headers().get("herald-client-id") {
        let named = named.to_str().ok().and_then(|id| id.parse().ok());
        let named = named.ok_or_else(|| status::invalid_field("herald-client-id", "is not a UUID"))?;
        match principal.owner {
            Some(owner) if owner != named => return Err(status::acting_not_allowed()),
            Some(_) => {}
            None => principal.acting_for = Some(named),
        }
    }
    Ok(principal)
}

/// `x-api-key`, or `authorization: Bearer`.
fn presented_key(headers: &HeaderMap) -> Option<&str> {
    if let Some(key) = headers.get("x-api-key") {
        // A key that is not even text is a wrong key, not a missing one.
        return Some(key.to_str().unwrap_or_default());
    }
    let value = headers.get("authorization")?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}
