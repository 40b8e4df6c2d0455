//! One log line and three metrics per call, at its end. No bodies, no metadata values, no names of strangers' making.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use herald_sdk::code_name;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::methods::{Method, OpensWith};
use super::request_id::{self, RequestId};
use super::{Answer, Inner, take};
use crate::auth::Principal;

/// Where the `authenticate` layer, further in, leaves word of the caller: it works for calls that never come to an
/// answer too.
#[derive(Clone, Default)]
pub(super) struct CallerSlot(Arc<OnceLock<Principal>>);

impl CallerSlot {
    pub(super) fn fill(&self, principal: &Principal) {
        // A call is authenticated once.
        let _ = self.0.set(principal.clone());
    }
}

#[derive(Clone, Copy, Debug)]
pub struct TraceLayer;

#[derive(Clone, Debug)]
pub struct Trace<S>(S);

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Trace(inner)
    }
}

impl<S: Inner> Service<Request<Body>> for Trace<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answer {
        let mut inner = take(&mut self.0);
        let call = Call::start(Method::of(request.uri().path()));
        request.extensions_mut().insert(call.caller.clone());
        Box::pin(async move {
            let (head, body) = inner.call(request).await?.into_parts();
            match code_in(&head.headers) {
                Some(code) => {
                    call.end(code);
                    Ok(Response::from_parts(head, body))
                }
                None => {
                    let body = Traced { inner: body, call: Some(call) };
                    Ok(Response::from_parts(head, Body::new(body)))
                }
            }
        })
    }
}

/// A call under way. Dropped before its end, it was canceled.
struct Call {
    method: &'static Method,
    request_id: Option<RequestId>,
    caller: CallerSlot,
    started_at: Instant,
    code: Code,
}

impl Call {
    fn start(method: &'static Method) -> Self {
        metrics::counter!("grpc_server_started_total", "grpc_type" => method.kind(),
            "grpc_service" => method.service.as_str(), "grpc_method" => method.name.as_str())
        .increment(1);
        let (request_id, caller) = (request_id::current(), CallerSlot::default());
        Self { method, request_id, caller, started_at: Instant::now(), code: Code::Cancelled }
    }

    fn end(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Method { service, name, opens_with, .. } = self.method;
        let (kind, elapsed, code) = (self.method.kind(), self.started_at.elapsed(), self.code);
        metrics::counter!("grpc_server_handled_total", "grpc_type" => kind, "grpc_service" => service.as_str(),
            "grpc_method" => name.as_str(), "grpc_code" => label(code))
        .increment(1);
        metrics::histogram!("grpc_server_handling_seconds", "grpc_type" => kind,
            "grpc_service" => service.as_str(), "grpc_method" => name.as_str())
        .record(elapsed.as_secs_f64());
        let caller = self.caller.0.get();
        let request_id = self.request_id.as_ref().map(RequestId::as_str);
        let key_id = caller.map(|caller| caller.key_id.as_str());
        let client_id = caller.and_then(Principal::client).map(tracing::field::display);
        let (code, elapsed_ms) = (code_name(code), elapsed.as_secs_f64() * 1e3);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id,
                    method = format_args!("{service}/{name}"),
                    code,
                    elapsed_ms,
                    key_id,
                    client_id,
                    "{service}/{name} ended with {code}"
                )
            };
        }
        // Probes come every few seconds for ever, and strangers as often as they like: they are counted.
        let is_stranger =
            caller.is_none() && matches!(self.code, Code::Unauthenticated | Code::ResourceExhausted);
        if *opens_with == OpensWith::Nothing || is_stranger { line!(debug) } else { line!(info) }
    }
}

/// A body that ends its call when it ends.
struct Traced {
    inner: Body,
    call: Option<Call>,
}

impl Traced {
    fn end(&mut self, code: Code) {
        if let Some(call) = self.call.take() {
            call.end(code);
        }
    }
}

impl http_body::Body for Traced {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.end(code_in(trailers).unwrap_or(Code::Unknown));
                }
            }
            Poll::Ready(Some(Err(error))) => self.end(error.code()),
            // No trailers came: the gRPC protocol over HTTP/2 calls that UNKNOWN.
            Poll::Ready(None) => self.end(Code::Unknown),
            Poll::Pending => {}
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

/// The code in headers or trailers; `None` = there is none yet.
fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

/// The code as the usual dashboards label it (the names of grpc-go).
const fn label(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
