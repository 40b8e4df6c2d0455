//! `MessagingService`: sends, and what became of them.

mod batch;
mod list;
mod reports;
mod volume;

use std::sync::Arc;

use delivery::accept::{Asked, OverRate, Pending};
use delivery::cancel;
use delivery::model::{Message, MessageKey, Scope};
use message::id::{ClientId, MessageId};
use tonic::{Request, Response, Status, Streaming};

use super::convert::entropy;
use super::convert::message::{whole, with_parts};
use super::convert::send::{preview, read_preview, read_send};
use super::faults::read_id;
use super::stream::FrameStream;
use super::{caller, replayed};
use crate::app::App;
use crate::proto::v1;
use crate::proto::v1::messaging_service_server::MessagingService;
use crate::status;

pub use list::check_range;

/// Messages of one caller that the limiter may be asked about at once: enough to make little of a round trip, few where a client
/// over its rate has each of them ask again and again.
const ASKING: usize = 64;

/// Asks about one message, as statuses tell it.
async fn ask(
    app: &App,
    client: ClientId,
    message: v1::SendMessageRequest,
    over_rate: OverRate,
) -> Result<Asked, Status> {
    let asked = app.gate.ask(client, &read_send(message), entropy(), over_rate).await;
    asked.map_err(status::accept_error)
}

/// Hands over what was asked about.
fn hand_over(app: &App, asked: Result<Asked, Status>) -> Result<Pending, Status> {
    asked.and_then(|asked| app.gate.hand_over(asked).map_err(status::accept_error))
}

pub struct Messaging {
    app: Arc<App>,
}

impl Messaging {
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    /// The message with its parts and history.
    async fn told(&self, client: ClientId, message: &Message) -> Result<v1::Message, Status> {
        let history = self.app.store.history(client, message.record.key.id).await;
        let history = history.map_err(status::store_error)?;
        whole(message, &history).map_err(|error| status::internal(&error))
    }
}

#[tonic::async_trait]
impl MessagingService for Messaging {
    async fn send_message(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        let caller = caller::client(&self.app, &request, Scope::Send, "MessagingService.SendMessage").await?;
        let send = read_send(request.into_inner());
        let accepted = self.app.gate.send(caller.client, &send, entropy()).await;
        let receipt = accepted.map_err(status::accept_error)?;
        let message = with_parts(&receipt.message).map_err(|error| status::internal(&error))?;
        let replay = receipt.is_replay;
        Ok(replayed(v1::SendMessageResponse { message: Some(message), replayed: replay }, replay))
    }

    async fn send_messages(
        &self,
        request: Request<v1::SendMessagesRequest>,
    ) -> Result<Response<v1::SendMessagesResponse>, Status> {
        let caller =
            caller::client(&self.app, &request, Scope::Send, "MessagingService.SendMessages").await?;
        Ok(Response::new(batch::send(&self.app, caller.client, request.into_inner()).await?))
    }

    type StreamMessagesStream = volume::Acks;

    async fn stream_messages(
        &self,
        request: Request<Streaming<v1::StreamMessagesRequest>>,
    ) -> Result<Response<Self::StreamMessagesStream>, Status> {
        let caller =
            caller::client(&self.app, &request, Scope::Send, "MessagingService.StreamMessages").await?;
        volume::open(self.app.clone(), caller, request.into_inner()).map(Response::new)
    }

    async fn get_message(
        &self,
        request: Request<v1::GetMessageRequest>,
    ) -> Result<Response<v1::GetMessageResponse>, Status> {
        let caller = caller::client(&self.app, &request, Scope::Read, "MessagingService.GetMessage").await?;
        let id: MessageId = read_id("message_id", &request.get_ref().message_id)?;
        let found = self.app.store.message(caller.client, id).await.map_err(status::store_error)?;
        let found = found.ok_or_else(|| status::not_found("Message", &id.to_string()))?;
        let message = self.told(caller.client, &found).await?;
        Ok(Response::new(v1::GetMessageResponse { message: Some(message) }))
    }

    async fn list_messages(
        &self,
        request: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        let caller =
            caller::client(&self.app, &request, Scope::Read, "MessagingService.ListMessages").await?;
        Ok(Response::new(list::page(&self.app, caller.client, request.into_inner()).await?))
    }

    async fn cancel_message(
        &self,
        request: Request<v1::CancelMessageRequest>,
    ) -> Result<Response<v1::CancelMessageResponse>, Status> {
        let caller =
            caller::client(&self.app, &request, Scope::Send, "MessagingService.CancelMessage").await?;
        let id: MessageId = read_id("message_id", &request.get_ref().message_id)?;
        let canceled = cancel::cancel(&self.app.mover, MessageKey { client: caller.client, id }).await;
        let canceled = canceled.map_err(|error| status::cancel_error(error, &id.to_string()))?;
        let message = self.told(caller.client, &canceled).await?;
        Ok(Response::new(v1::CancelMessageResponse { message: Some(message) }))
    }

    async fn preview_message(
        &self,
        request: Request<v1::PreviewMessageRequest>,
    ) -> Result<Response<v1::PreviewMessageResponse>, Status> {
        let caller =
            caller::client(&self.app, &request, Scope::Read, "MessagingService.PreviewMessage").await?;
        let looked_at = self.app.gate.preview(caller.client, &read_preview(request.into_inner())).await;
        let (found, client) = looked_at.map_err(status::accept_error)?;
        Ok(Response::new(preview(&found, &client)))
    }

    type SubscribeDeliveryReportsStream = FrameStream<v1::SubscribeDeliveryReportsResponse>;

    async fn subscribe_delivery_reports(
        &self,
        request: Request<v1::SubscribeDeliveryReportsRequest>,
    ) -> Result<Response<Self::SubscribeDeliveryReportsStream>, Status> {
        let method = "MessagingService.SubscribeDeliveryReports";
        let caller = caller::client(&self.app, &request, Scope::Read, method).await?;
        Ok(Response::new(reports::subscribe(self.app.clone(), caller, request.into_inner()).await?))
    }

    async fn list_delivery_reports(
        &self,
        request: Request<v1::ListDeliveryReportsRequest>,
    ) -> Result<Response<v1::ListDeliveryReportsResponse>, Status> {
        let method = "MessagingService.ListDeliveryReports";
        let caller = caller::client(&self.app, &request, Scope::Read, method).await?;
        Ok(Response::new(reports::page(&self.app, &caller, request.into_inner()).await?))
    }
}
