//! What every call gets: an id, a span, a deadline, a log line, metrics, and complete errors.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument;
use uuid::Uuid;

use crate::status;

pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How long a call may take to begin its answer. Streams begin theirs at once.
const DEADLINE_MAX: Duration = Duration::from_secs(60);
/// Longest request id that is taken over.
const ID_MAX: usize = 64;

/// The id of a call, in its request's extensions.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

#[derive(Clone, Copy)]
pub struct CallsLayer;

impl<S> Layer<S> for CallsLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls { inner }
    }
}

#[derive(Clone)]
pub struct Calls<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Calls<S>
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
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let id = request_id(request.headers());
        let (service, method) = split_path(request.uri().path());
        let deadline = deadline(request.headers());
        request.extensions_mut().insert(RequestId(id.clone()));
        let span = tracing::info_span!("call", request_id = %id, key_id = tracing::field::Empty);
        let call = async move {
            let started = Instant::now();
            metrics::counter!("grpc_server_started_total", "grpc_service" => service, "grpc_method" => method.clone())
                .increment(1);
            let answered = tokio::time::timeout(deadline, inner.call(request)).await;
            let mut response = match answered {
                Ok(answered) => answered?,
                Err(_) => status::deadline_exceeded().into_http(),
            };
            let code = complete(&mut response, &id);
            let took = started.elapsed();
            tracing::info!(method = %method, code = ?code, elapsed_us = took.as_micros() as u64, "{service}/{method} {code:?}");
            let labels =
                [("grpc_service", service.to_owned()), ("grpc_method", method), ("grpc_code", format!("{code:?}"))];
            metrics::counter!("grpc_server_handled_total", &labels).increment(1);
            metrics::histogram!("grpc_server_handling_seconds", &labels[..2]).record(took.as_secs_f64());
            Ok(response)
        };
        Box::pin(call.instrument(span))
    }
}

/// The caller's, if it is short and visible, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|id| id.to_str().ok());
    let is_fine = |id: &&str| !id.is_empty() && id.len() <= ID_MAX && id.bytes().all(|byte| byte.is_ascii_graphic());
    given.filter(is_fine).map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// Labels must come from a bounded set: what is not ours is "other".
fn split_path(path: &str) -> (&'static str, String) {
    const SERVICES: [&str; 8] = [
        "herald.v1.MessagingService",
        "herald.v1.EventService",
        "herald.v1.BillingService",
        "herald.v1.AccountService",
        "herald.v1.AdminService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ];
    let known = path.trim_start_matches('/').split_once('/').and_then(|(service, method)| {
        let service = SERVICES.into_iter().find(|known| *known == service)?;
        Some((service, crate::grpc::is_method(service, method).then(|| method.to_owned())?))
    });
    known.unwrap_or(("other", "other".to_owned()))
}

/// The caller's `grpc-timeout` (gRPC over HTTP/2, "Timeout"), but never more than the server's.
fn deadline(headers: &HeaderMap) -> Duration {
    let asked = headers.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(read_timeout);
    asked.map_or(DEADLINE_MAX, |asked| asked.min(DEADLINE_MAX))
}

fn read_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3_600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// Adds the request id, and to an error what it lacks. Answers the code as far as it is known: a stream's end
/// comes later.
fn complete(response: &mut Response<Body>, id: &str) -> Code {
    let code = match Status::from_header_map(response.headers()) {
        None => Code::Ok,
        Some(told) if told.code() == Code::Ok => Code::Ok,
        Some(told) => {
            let completed = status::complete(&told, id);
            let code = completed.code();
            *response = completed.into_http();
            code
        }
    };
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert("x-request-id", id);
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_read_as_the_protocol_writes_them() {
        let cases = [
            ("1S", Some(Duration::from_secs(1))),
            ("250m", Some(Duration::from_millis(250))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("", None),
            ("S", None),
            ("123456789S", None),
            ("-1S", None),
            ("1é", None),
        ];
        for (text, expected) in cases {
            assert_eq!(read_timeout(text), expected, "{text}");
        }
    }

    #[test]
    fn a_request_id_that_is_long_or_invisible_is_replaced() {
        let of = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-request-id", HeaderValue::from_str(id).expect("a header"));
            request_id(&headers)
        };
        assert_eq!(of("abc-123"), "abc-123");
        assert_ne!(of(&"x".repeat(65)), "x".repeat(65));
        assert_ne!(of("a b"), "a b");
    }
}
