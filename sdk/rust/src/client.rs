//! The calls, with deadlines and retries.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::TryFutureExt;
use futures_util::stream::{Stream, StreamExt, TryStreamExt};
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::config::Config;
use crate::error::Error;
use crate::raw::Raw;
use crate::retry::RetryPolicy;
use crate::subscription::{EventSubscription, ReportSubscription, Subscription};
use crate::v1;

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

/// An accepted message.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// As it was accepted. A replay tells the same, not the live state.
    pub message: v1::Message,
    /// It was accepted before, under the same idempotency key.
    pub replayed: bool,
}

/// Credit that was booked.
#[derive(Clone, Debug)]
pub struct TopUpReceipt {
    pub transaction: v1::Transaction,
    /// It was booked before, under the same idempotency key.
    pub replayed: bool,
}

/// Whether a call may be made again when nobody knows what became of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Safe,
    Never,
}

/// A key that no other call has.
pub fn new_idempotency_key() -> String {
    uuid::Uuid::now_v7().to_string()
}

impl Client {
    /// A client that connects at its first call, and again whenever the connection is lost.
    ///
    /// Fails only for a URL, key or client id that cannot be one. Must be called within a Tokio runtime.
    pub fn connect_lazy(config: Config) -> Result<Self, Error> {
        let raw = Raw::new(&config)?;
        let settings = Settings { timeout: config.timeout, retry: config.retry };
        Ok(Self { raw, settings: Arc::new(settings) })
    }

    /// The generated clients, for what this one does not offer.
    pub fn raw(&self) -> &Raw {
        &self.raw
    }

    /// Sends one message. A request without an idempotency key gets one, and keeps it across retries; to repeat the
    /// call yourself, set one.
    pub async fn send(&self, mut request: v1::SendMessageRequest) -> Result<Receipt, Error> {
        if request.idempotency_key.is_empty() {
            request.idempotency_key = new_idempotency_key();
        }
        let answer = self.call(Repeat::Safe, request, |request| {
            let mut client = self.raw.messaging();
            async move { client.send_message(request).await }
        });
        let answer = answer.await?;
        Ok(Receipt { message: present(answer.message, "message")?, replayed: answer.replayed })
    }

    /// One message with its parts and history.
    pub async fn get_message(&self, message_id: impl Into<String>) -> Result<v1::Message, Error> {
        let request = v1::GetMessageRequest { message_id: message_id.into() };
        let answer = self.call(Repeat::Safe, request, |request| {
            let mut client = self.raw.messaging();
            async move { client.get_message(request).await }
        });
        present(answer.await?.message, "message")
    }

    /// A page of messages, newest first.
    pub async fn list_messages(
        &self,
        request: v1::ListMessagesRequest,
    ) -> Result<v1::ListMessagesResponse, Error> {
        let answer = self.call(Repeat::Safe, request, |request| {
            let mut client = self.raw.messaging();
            async move { client.list_messages(request).await }
        });
        answer.await
    }

    /// A page of delivery reports, oldest first.
    pub async fn list_delivery_reports(
        &self,
        request: v1::ListDeliveryReportsRequest,
    ) -> Result<v1::ListDeliveryReportsResponse, Error> {
        let answer = self.call(Repeat::Safe, request, |request| {
            let mut client = self.raw.messaging();
            async move { client.list_delivery_reports(request).await }
        });
        answer.await
    }

    /// A page of events, oldest first.
    pub async fn list_events(&self, request: v1::ListEventsRequest) -> Result<v1::ListEventsResponse, Error> {
        let answer = self.call(Repeat::Safe, request, |request| {
            let mut client = self.raw.events();
            async move { client.list_events(request).await }
        });
        answer.await
    }

    /// Delivery reports, live; see [`Subscription`]. Nothing happens before it is polled.
    pub fn subscribe_delivery_reports(
        &self,
        request: v1::SubscribeDeliveryReportsRequest,
    ) -> ReportSubscription {
        let (token, from_oldest) = (request.resume_token.clone(), request.from_oldest);
        let raw = self.raw.clone();
        let connect = move |token: &str, from_oldest: bool| {
            let mut request = request.clone();
            request.resume_token = token.to_owned();
            request.from_oldest = from_oldest;
            let mut client = raw.messaging();
            let frames =
                async move { client.subscribe_delivery_reports(request).await.map(Response::into_inner) };
            frames.try_flatten_stream().map_ok(Into::into).boxed()
        };
        Subscription::new(connect, token, from_oldest, self.settings.retry, self.settings.timeout)
    }

    /// Events, live; see [`Subscription`]. Nothing happens before it is polled.
    pub fn subscribe_events(&self, request: v1::SubscribeEventsRequest) -> EventSubscription {
        let (token, from_oldest) = (request.resume_token.clone(), request.from_oldest);
        let raw = self.raw.clone();
        let connect = move |token: &str, from_oldest: bool| {
            let mut request = request.clone();
            request.resume_token = token.to_owned();
            request.from_oldest = from_oldest;
            let mut client = raw.events();
            let frames = async move { client.subscribe_events(request).await.map(Response::into_inner) };
            frames.try_flatten_stream().map_ok(Into::into).boxed()
        };
        Subscription::new(connect, token, from_oldest, self.settings.retry, self.settings.timeout)
    }

    /// The balance as of now.
    pub async fn balance(&self) -> Result<v1::Balance, Error> {
        let answer = self.call(Repeat::Safe, v1::GetBalanceRequest {}, |request| {
            let mut client = self.raw.billing();
            async move { client.get_balance(request).await }
        });
        present(answer.await?.balance, "balance")
    }

    /// A page of credit movements, newest first.
    pub async fn transactions(
        &self,
        request: v1::ListTransactionsRequest,
    ) -> Result<v1::ListTransactionsResponse, Error> {
        let answer = self.call(Repeat::Safe, request, |request| {
            let mut client = self.raw.billing();
            async move { client.list_transactions(request).await }
        });
        answer.await
    }

    /// Adds credit (operator keys only). A request without an idempotency key gets one, and keeps it across
    /// retries.
    pub async fn top_up(&self, mut request: v1::TopUpRequest) -> Result<TopUpReceipt, Error> {
        if request.idempotency_key.is_empty() {
            request.idempotency_key = new_idempotency_key();
        }
        let answer = self.call(Repeat::Safe, request, |request| {
            let mut client = self.raw.billing();
            async move { client.top_up(request).await }
        });
        let answer = answer.await?;
        Ok(TopUpReceipt {
            transaction: present(answer.transaction, "transaction")?,
            replayed: answer.replayed,
        })
    }

    /// What the key is and whom it belongs to.
    pub async fn account(&self) -> Result<v1::Account, Error> {
        let answer = self.call(Repeat::Safe, v1::GetAccountRequest {}, |request| {
            let mut client = self.raw.accounts();
            async move { client.get_account(request).await }
        });
        present(answer.await?.account, "account")
    }

    /// Makes a client (operator keys only). Never repeated by itself.
    pub async fn create_client(&self, request: v1::CreateClientRequest) -> Result<v1::Client, Error> {
        let answer = self.call(Repeat::Never, request, |request| {
            let mut client = self.raw.admin();
            async move { client.create_client(request).await }
        });
        present(answer.await?.client, "client")
    }

    /// One client (operator keys only).
    pub async fn get_client(&self, client_id: impl Into<String>) -> Result<v1::Client, Error> {
        let request = v1::GetClientRequest { client_id: client_id.into() };
        let answer = self.call(Repeat::Safe, request, |request| {
            let mut client = self.raw.admin();
            async move { client.get_client(request).await }
        });
        present(answer.await?.client, "client")
    }

    /// Makes an API key (operator keys only); the answer alone holds the secret. Never repeated by itself.
    pub async fn create_api_key(
        &self,
        request: v1::CreateApiKeyRequest,
    ) -> Result<v1::CreateApiKeyResponse, Error> {
        let answer = self.call(Repeat::Never, request, |request| {
            let mut client = self.raw.admin();
            async move { client.create_api_key(request).await }
        });
        answer.await
    }

    /// Checks the books (operator keys only); one item a client. It has no deadline, and does not resume.
    pub async fn audit_ledger(
        &self,
        request: v1::AuditLedgerRequest,
    ) -> Result<impl Stream<Item = Result<v1::AuditLedgerResponse, Error>> + Send + Unpin + use<>, Error>
    {
        let frames: Streaming<_> = self.raw.admin().audit_ledger(request).await?.into_inner();
        Ok(frames.map_err(Error::from))
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
