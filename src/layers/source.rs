//! Finds out where each call comes from, once, for all who limit by it.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use ipnet::IpNet;
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tower::{Layer, Service};

use super::Inner;
use crate::auth::source;

/// Puts a [`Source`](crate::auth::Source) into every request that came over a connection.
#[derive(Clone, Debug)]
pub struct SourceLayer(Arc<[IpNet]>);

impl SourceLayer {
    pub(super) fn new(trusted_proxies: &[IpNet]) -> Self {
        Self(trusted_proxies.into())
    }
}

#[derive(Clone, Debug)]
pub struct WithSource<S> {
    inner: S,
    trusted_proxies: Arc<[IpNet]>,
}

impl<S> Layer<S> for SourceLayer {
    type Service = WithSource<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WithSource { inner, trusted_proxies: self.0.clone() }
    }
}

impl<S: Inner> Service<Request<Body>> for WithSource<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> S::Future {
        let connection = request.extensions().get::<TcpConnectInfo>();
        if let Some(peer) = connection.and_then(TcpConnectInfo::remote_addr) {
            let source = source::of(peer.ip(), request.headers(), &self.trusted_proxies);
            request.extensions_mut().insert(source);
        }
        self.inner.call(request)
    }
}
