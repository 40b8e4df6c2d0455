//! From a request as HTTP/2 gives it to a call as the layers take it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Method as HttpMethod, Request, Response, StatusCode};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tower::ServiceExt;

use super::answer::Answer;
use super::limits::Limits;
use super::request_body::{Allowance, RequestBody};
use crate::layers::{Inner, Method, OpensWith};

/// How long a client may take nothing of its subscription before the stream is cut here. Later than the stream ends by
/// itself, and only for what that leaves behind.
const SUBSCRIPTION_STALL: Duration = Duration::from_secs(75);

/// The service of one connection.
pub(super) struct Service<S> {
    pub(super) inner: S,
    pub(super) peer: TcpConnectInfo,
    pub(super) limits: Arc<Limits>,
}

impl<S: Inner> hyper::service::Service<Request<Incoming>> for Service<S> {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Answer>, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let method = Method::of(request.uri().path());
        let patience = self.answer_patience(method);
        if request.method() == HttpMethod::CONNECT {
            // Answered with success, it would become a tunnel.
            return Box::pin(async move { Ok(refused(StatusCode::METHOD_NOT_ALLOWED, patience)) });
        }
        request.extensions_mut().insert(self.peer.clone());
        let allowance = self.allowance(method);
        let request = request.map(|body| Body::new(RequestBody::new(body, allowance)));
        let called = self.inner.clone().oneshot(request);
        Box::pin(async move { Ok(called.await?.map(|body| Answer::new(body, patience))) })
    }
}

impl<S> Service<S> {
    fn allowance(&self, method: &Method) -> Allowance {
        let most =
            if method.takes_list { self.limits.max_batch_bytes } else { self.limits.max_request_bytes };
        Allowance { most, streams: method.client_streams, patience: self.limits.request_timeout() }
    }

    fn answer_patience(&self, method: &Method) -> Duration {
        let stall = self.limits.stall_timeout();
        // A stranger's stream tells nobody anything that could not be asked for again.
        if method.server_streams && method.opens_with == OpensWith::ApiKey {
            stall.max(SUBSCRIPTION_STALL)
        } else {
            stall
        }
    }
}

fn refused(status: StatusCode, patience: Duration) -> Response<Answer> {
    let mut response = Response::new(Answer::new(Body::empty(), patience));
    *response.status_mut() = status;
    response
}
