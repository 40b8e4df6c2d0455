//! `MessagingService`: sends, and what became of them.

use std::sync::Arc;

use delivery::model::{Message, Scope};
use message::id::MessageId;
use tonic::{Request, Response, Status};

use super::convert::entropy;
use super::convert::message::{brief, read_send, whole, with_parts};
use super::faults::{Faults, read_id};
use super::filter::{Filter, Reports};
use super::stream::{self, FrameStream, Frames};
use super::{caller, log, page, replayed};
use crate::app::App;
use crate::proto::v1;
use crate::proto::v1::messaging_service_server::MessagingService;
use crate::proto::v1::subscribe_delivery_reports_response::Frame;
use crate::status;
use crate::token::PageOf;

pub struct Messaging {
    app: Arc<App>,
}

impl Messaging {
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl MessagingService for Messaging {
    async fn send_message(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        let caller = caller::client(&self.app, &request, Scope::Send, "SendMessage").await?;
        let send = read_send(request.into_inner())?;
        let accepted = self.app.gate.send(caller.client, send, entropy()).await;
        let receipt = accepted.map_err(status::accept_error)?;
        let message = with_parts(&receipt.message).map_err(|error| status::internal(&error))?;
        let replay = receipt.is_replay;
        Ok(replayed(v1::SendMessageResponse { message: Some(message), replayed: replay }, replay))
    }

    async fn get_message(
        &self,
        request: Request<v1::GetMessageRequest>,
    ) -> Result<Response<v1::GetMessageResponse>, Status> {
        let caller = caller::client(&self.app, &request, Scope::Read, "GetMessage").await?;
        let id: MessageId = read_id("message_id", &request.get_ref().message_id)?;
        let store = &self.app.store;
        let found = store.message(caller.client, id).await.map_err(status::store_error)?;
        let found = found.ok_or_else(|| status::not_found("Message", &id.to_string()))?;
        let history = store.history(caller.client, id).await.map_err(status::store_error)?;
        let message = whole(&found, &history).map_err(|error| status::internal(&error))?;
        Ok(Response::new(v1::GetMessageResponse { message: Some(message) }))
    }

    async fn list_messages(
        &self,
        request: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        let caller = caller::client(&self.app, &request, Scope::Read, "ListMessages").await?;
        let asked = request.into_inner();
        let mut faults = Faults::default();
        let size = page::size(&mut faults, asked.page_size);
        faults.into_result()?;
        let (list, tokens) = (PageOf::new("messages", &[]), &self.app.tokens);
        let before = page::cursor(tokens, caller.client, &list, &asked.page_token)?;
        let before = before.map(|id| MessageId::from_uuid(uuid::Uuid::from_bytes(id)));
        let read = self.app.store.messages(caller.client, before, page::read_limit(size)).await;
        let mut messages = read.map_err(status::store_error)?;
        let cursor = |last: &Message| last.record.key.id.as_uuid().as_bytes().to_vec();
        let next_page_token = page::cut(tokens, caller.client, &list, &mut messages, size, cursor);
        let messages = messages.iter().map(brief).collect();
        Ok(Response::new(v1::ListMessagesResponse { messages, next_page_token }))
    }

    type SubscribeDeliveryReportsStream = FrameStream<v1::SubscribeDeliveryReportsResponse>;

    async fn subscribe_delivery_reports(
        &self,
        request: Request<v1::SubscribeDeliveryReportsRequest>,
    ) -> Result<Response<Self::SubscribeDeliveryReportsStream>, Status> {
        let caller = caller::client(&self.app, &request, Scope::Read, "SubscribeDeliveryReports").await?;
        let asked = request.into_inner();
        let mut faults = Faults::default();
        let filter = Reports::read(
            &mut faults,
            &asked.statuses,
            asked.final_only,
            asked.reference,
            &asked.message_ids,
        );
        faults.into_result()?;
        let start = log::start(&self.app, caller.client, &asked.resume_token, asked.from_oldest)?;
        let frames = stream::open::<_, ReportFrames>(self.app.clone(), caller, start, filter).await?;
        Ok(Response::new(frames))
    }

    async fn list_delivery_reports(
        &self,
        request: Request<v1::ListDeliveryReportsRequest>,
    ) -> Result<Response<v1::ListDeliveryReportsResponse>, Status> {
        let caller = caller::client(&self.app, &request, Scope::Read, "ListDeliveryReports").await?;
        let asked = request.into_inner();
        let mut faults = Faults::default();
        let size = page::size(&mut faults, asked.page_size);
        let filter = Reports::read(
            &mut faults,
            &asked.statuses,
            asked.final_only,
            asked.reference,
            &asked.message_ids,
        );
        faults.into_result()?;
        let page = log::page(&self.app, caller.client, &filter, &asked.resume_token, size).await?;
        Ok(Response::new(v1::ListDeliveryReportsResponse {
            reports: page.items,
            resume_token: page.resume_token,
            caught_up: page.caught_up,
        }))
    }
}

struct ReportFrames;

impl Frames<Reports> for ReportFrames {
    type Frame = v1::SubscribeDeliveryReportsResponse;

    fn item(item: <Reports as Filter>::Item, resume_token: String) -> Self::Frame {
        v1::SubscribeDeliveryReportsResponse { resume_token, frame: Some(Frame::Report(item)) }
    }

    fn heartbeat(heartbeat: v1::Heartbeat, resume_token: String) -> Self::Frame {
        v1::SubscribeDeliveryReportsResponse { resume_token, frame: Some(Frame::Heartbeat(heartbeat)) }
    }
}
