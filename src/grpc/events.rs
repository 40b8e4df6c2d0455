//! `EventService`: the client's whole event log, live and in pages.

use std::sync::Arc;

use delivery::model::Scope;
use tonic::{Request, Response, Status};

use super::faults::Faults;
use super::filter::{self, Filter};
use super::stream::{self, FrameStream, Frames};
use super::{caller, find_client, log, page};
use crate::app::App;
use crate::proto::v1;
use crate::proto::v1::event_service_server::EventService;
use crate::proto::v1::subscribe_events_response::Frame;

pub struct Events {
    app: Arc<App>,
}

impl Events {
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl EventService for Events {
    type SubscribeEventsStream = FrameStream<v1::SubscribeEventsResponse>;

    async fn subscribe_events(
        &self,
        request: Request<v1::SubscribeEventsRequest>,
    ) -> Result<Response<Self::SubscribeEventsStream>, Status> {
        let caller = caller::client(&self.app, &request, Scope::Read, "EventService.SubscribeEvents").await?;
        let asked = request.into_inner();
        let (client, _) = find_client(&self.app, caller.client).await?;
        let filter = filter::Events::read(&asked.types, client.currency)?;
        let start = log::start(&self.app, caller.client, &asked.resume_token, asked.from_oldest)?;
        let frames = stream::open::<_, EventFrames>(self.app.clone(), caller, start, filter).await?;
        Ok(Response::new(frames))
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let caller = caller::client(&self.app, &request, Scope::Read, "EventService.ListEvents").await?;
        let asked = request.into_inner();
        let mut faults = Faults::default();
        let size = page::size(&mut faults, asked.page_size);
        faults.into_result()?;
        let (client, _) = find_client(&self.app, caller.client).await?;
        let filter = filter::Events::read(&asked.types, client.currency)?;
        let page = log::page(&self.app, caller.client, &filter, &asked.resume_token, size).await?;
        Ok(Response::new(v1::ListEventsResponse {
            events: page.items,
            resume_token: page.resume_token,
            caught_up: page.caught_up,
        }))
    }
}

struct EventFrames;

impl Frames<filter::Events> for EventFrames {
    type Frame = v1::SubscribeEventsResponse;

    fn item(item: <filter::Events as Filter>::Item, resume_token: String) -> Self::Frame {
        v1::SubscribeEventsResponse { resume_token, frame: Some(Frame::Event(item)) }
    }

    fn heartbeat(heartbeat: v1::Heartbeat, resume_token: String) -> Self::Frame {
        v1::SubscribeEventsResponse { resume_token, frame: Some(Frame::Heartbeat(heartbeat)) }
    }
}
