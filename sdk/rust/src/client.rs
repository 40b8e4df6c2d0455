//! The calls, with deadlines and retries.

mod account;
mod admin;
mod billing;
mod log;
mod messaging;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};

use crate::config::{Config, Key};
use crate::error::Error;
use crate::raw::Raw;
use crate::retry::RetryPolicy;
pub use billing::Booking;
pub use messaging::Receipt;

/// A Herald server, as one caller with one key. Clones share one connection.
#[derive(Clone, Debug)]
pub struct Client {
    raw: Raw,
    settings: Arc<Settings>,
}

#[derive(Debug)]
struct Settings {
    timeout: Duration,
    retry: RetryPolicy,
}

/// Whether a call may be made again when nobody knows what became of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// It changes nothing, or carries an idempotency key.
    Safe,
    Never,
}

/// A key that no other call has.
pub fn new_idempotency_key() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// One call of a generated client: `unary!(self, Safe, messaging.get_message(request))`.
///
/// It borrows nothing but the client, so that the future is `Send` wherever it is joined with others.
macro_rules! unary {
    ($client:ident, $repeat:ident, $service:ident.$method:ident($request:expr)) => {{
        let service = $client.raw.$service();
        let make = move |request| {
            let mut service = service.clone();
            async move { service.$method(request).await }
        };
        $client.call(crate::client::Repeat::$repeat, $request, make).await
    }};
}
use unary;

impl Client {
    /// A client that connects at its first call, and again whenever the connection is lost.
    ///
    /// Fails only for a URL, key or client id that cannot be one. Must be called within a Tokio runtime.
    pub fn connect_lazy(config: Config) -> Result<Self, Error> {
        let raw = Raw::new(&config)?;
        let settings = Settings { timeout: config.timeout, retry: config.retry };
        Ok(Self { raw, settings: Arc::new(settings) })
    }

    /// The same server as a caller with another key, over the same connection. It acts for the key's own client.
    pub fn with_key(&self, key: impl Into<Key>) -> Result<Self, Error> {
        Ok(Self { raw: self.raw.with_key(&key.into())?, settings: self.settings.clone() })
    }

    /// The generated clients, for what this one does not offer.
    pub fn raw(&self) -> &Raw {
        &self.raw
    }

    /// Makes a call, again and again if that is safe and may help, within the deadline.
    async fn call<Req, Res, Fut>(
        &self,
        repeat: Repeat,
        request: Req,
        make: impl Fn(Request<Req>) -> Fut,
    ) -> Result<Res, Error>
    where
        Req: Clone,
        Fut: Future<Output = Result<Response<Res>, Status>>,
    {
        let deadline = Instant::now() + self.settings.timeout;
        let mut attempt = 1;
        loop {
            let mut call = Request::new(request.clone());
            call.set_timeout(deadline.saturating_duration_since(Instant::now()));
            let error = match tokio::time::timeout_at(deadline, make(call)).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => Error::from(status),
                Err(_) => {
                    Error::local(Code::DeadlineExceeded, "the server did not answer in time; it may be done")
                }
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let pause = self.settings.retry.pause(&error, attempt, left, rand::random());
            match pause.filter(|_| repeat == Repeat::Safe) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
            attempt += 1;
        }
    }
}

/// Protobuf makes every message field optional; an answer without it is the server's fault.
fn present<T>(field: Option<T>, name: &str) -> Result<T, Error> {
    field.ok_or_else(|| Error::local(Code::Internal, format!("the server's answer has no {name}")))
}

/// A call without an idempotency key gets one.
fn fill_key(key: &mut String) {
    if key.is_empty() {
        *key = new_idempotency_key();
    }
}
