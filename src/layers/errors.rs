//! Completes every error that leaves: tonic's own bare ones get a reason, and all get the request id.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{Layer, Service};

use super::request_id::{self, RequestId};
use super::{Answer, Inner, take};
use crate::status;

const GRPC_STATUS: &str = "grpc-status";
const GRPC_DETAILS: &str = "grpc-status-details-bin";

/// How tonic's codec words what is wrong with the bytes of a request; a test holds them to it.
const CALLERS_FAULTS: [&str; 5] = [
    "failed to decode Protobuf message",
    "Missing request message",
    "Unexpected EOF decoding stream",
    "protocol error: received message with",
    "Error decompressing",
];

#[derive(Clone, Copy, Debug)]
pub struct ErrorsLayer;

#[derive(Clone, Debug)]
pub struct Errors<S>(S);

impl<S> Layer<S> for ErrorsLayer {
    type Service = Errors<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Errors(inner)
    }
}

impl<S: Inner> Service<Request<Body>> for Errors<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let mut inner = take(&mut self.0);
        let request_id = request_id::current();
        Box::pin(async move {
            let (mut head, body) = inner.call(request).await?.into_parts();
            let Some(request_id) = request_id else { return Ok(Response::from_parts(head, body)) };
            if head.headers.contains_key(GRPC_STATUS) {
                // An answer of headers only: there is no body to watch.
                complete(&mut head.headers, &request_id);
                return Ok(Response::from_parts(head, body));
            }
            Ok(Response::from_parts(head, Body::new(Completed { inner: body, request_id })))
        })
    }
}

/// A body whose trailers are completed.
struct Completed {
    inner: Body,
    request_id: RequestId,
}

impl http_body::Body for Completed {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let this = &mut *self;
        // A stream's messages are made here, long after the handler answered.
        let polled = this.request_id.within(|| Pin::new(&mut this.inner).poll_frame(cx));
        polled.map(|frame| {
            frame.map(|frame| {
                frame.map(|mut frame| {
                    if let Some(trailers) = frame.trailers_mut() {
                        complete(trailers, &this.request_id);
                    }
                    frame
                })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Adds what an error lacks. Answers that are not errors stay as they are.
fn complete(headers: &mut HeaderMap, request_id: &RequestId) {
    let Some(mut error) = Status::from_header_map(headers) else { return };
    if matches!(error.code(), Code::Ok | Code::Cancelled) {
        // Nobody reads why a call that was canceled failed.
        return;
    }
    if !headers.contains_key(GRPC_DETAILS) {
        error = request_id.within(|| with_reason(&error));
    }
    let mut details = error.get_error_details();
    status::name_call(&mut details, request_id);
    // What the error carries as metadata (retry-after) is in `headers` already, unless it was made here; those made
    // here carry none.
    let whole =
        Status::with_error_details_and_metadata(error.code(), error.message(), details, MetadataMap::new());
    if whole.add_header(headers).is_err() {
        tracing::error!(request_id = request_id.as_str(), "the details of an error do not fit into a header");
    }
}

/// Our errors all carry details. These come from tonic and its health service.
fn with_reason(bare: &Status) -> Status {
    match bare.code() {
        Code::Unimplemented => status::unimplemented(),
        // Both are what tonic answers to a message over the limit, by version.
        Code::OutOfRange | Code::ResourceExhausted => status::request_too_large(),
        Code::NotFound => status::not_found("service", ""),
        Code::DeadlineExceeded => status::deadline_exceeded(),
        Code::Internal | Code::InvalidArgument if is_callers_fault(bare.message()) => status::undecodable(),
        code => {
            let text = format!("{}: {}", herald_sdk::code_name(code), bare.message());
            status::internal(&*Box::<dyn std::error::Error + Send + Sync>::from(text))
        }
    }
}

fn is_callers_fault(message: &str) -> bool {
    CALLERS_FAULTS.iter().any(|fault| message.contains(fault))
}
