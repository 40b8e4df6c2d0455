//! Messages: sent, looked at, taken back.

use futures_util::stream::Stream;

use super::{Client, fill_key, present, unary};
use crate::error::Error;
use crate::v1;
use crate::volume::{self, Volume};

/// An accepted message.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// As it was accepted. A replay tells the same, not the live state.
    pub message: v1::Message,
    /// It was accepted before, under the same idempotency key.
    pub replayed: bool,
}

impl Client {
    /// Sends one message. A request without an idempotency key gets one, and keeps it across retries; to repeat the
    /// call yourself, set one.
    pub async fn send(&self, mut request: v1::SendMessageRequest) -> Result<Receipt, Error> {
        fill_key(&mut request.idempotency_key);
        let answer = unary!(self, Safe, messaging.send_message(request))?;
        Ok(Receipt { message: present(answer.message, "message")?, replayed: answer.replayed })
    }

    /// Sends up to 1,000 messages in one call, each by itself: the outcomes are as many as messages, in their order.
    ///
    /// A batch without an idempotency key gets one, from which messages without a key have theirs, and keeps it across
    /// retries; to repeat the call yourself, set one.
    pub async fn send_many(
        &self,
        mut request: v1::SendMessagesRequest,
    ) -> Result<Vec<Result<v1::Accepted, Error>>, Error> {
        fill_key(&mut request.idempotency_key);
        let count = request.messages.len();
        let answer = unary!(self, Safe, messaging.send_messages(request))?;
        let outcomes =
            present((answer.outcomes.len() == count).then_some(answer.outcomes), "outcome of each")?;
        Ok(outcomes.into_iter().map(|outcome| volume::result(Some(outcome))).collect())
    }

    /// Sends messages as they come, for volume; see [`Volume`]. Nothing happens before it is polled.
    pub fn send_stream<S>(&self, messages: S) -> Volume
    where
        S: Stream<Item = v1::SendMessageRequest> + Send + 'static,
    {
        Volume::new(self.raw.clone(), messages, self.settings.retry, self.settings.timeout)
    }

    /// One message with its parts and history.
    pub async fn get_message(&self, message_id: impl Into<String>) -> Result<v1::Message, Error> {
        let request = v1::GetMessageRequest { message_id: message_id.into() };
        present(unary!(self, Safe, messaging.get_message(request))?.message, "message")
    }

    /// A page of messages, newest first.
    pub async fn list_messages(
        &self,
        request: v1::ListMessagesRequest,
    ) -> Result<v1::ListMessagesResponse, Error> {
        unary!(self, Safe, messaging.list_messages(request))
    }

    /// Takes back a message that no provider has yet. One that is canceled already is answered as it is. Not repeated
    /// by itself.
    pub async fn cancel_message(&self, message_id: impl Into<String>) -> Result<v1::Message, Error> {
        let request = v1::CancelMessageRequest { message_id: message_id.into() };
        present(unary!(self, Never, messaging.cancel_message(request))?.message, "message")
    }

    /// How a text would be sent, and what it would cost. Without any effect.
    pub async fn preview(
        &self,
        request: v1::PreviewMessageRequest,
    ) -> Result<v1::PreviewMessageResponse, Error> {
        unary!(self, Safe, messaging.preview_message(request))
    }
}
