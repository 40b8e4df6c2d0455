//! Delivery reports: live, and in pages.

use std::sync::Arc;

use tonic::Status;

use crate::app::App;
use crate::grpc::caller::Caller;
use crate::grpc::faults::Faults;
use crate::grpc::filter::{Filter, Reports};
use crate::grpc::stream::{self, FrameStream, Frames};
use crate::grpc::{log, page};
use crate::proto::v1;
use crate::proto::v1::subscribe_delivery_reports_response::Frame;

/// Opens a stream of reports.
pub async fn subscribe(
    app: Arc<App>,
    caller: Caller,
    asked: v1::SubscribeDeliveryReportsRequest,
) -> Result<FrameStream<v1::SubscribeDeliveryReportsResponse>, Status> {
    let mut faults = Faults::default();
    let v1::SubscribeDeliveryReportsRequest { statuses, final_only, reference, message_ids, .. } = asked;
    let filter = Reports::read(&mut faults, &statuses, final_only, reference, &message_ids);
    faults.into_result()?;
    let start = log::start(&app, caller.client, &asked.resume_token, asked.from_oldest)?;
    stream::open::<_, ReportFrames>(app, caller, start, filter).await
}

/// The page that is asked for.
pub async fn page(
    app: &App,
    caller: &Caller,
    asked: v1::ListDeliveryReportsRequest,
) -> Result<v1::ListDeliveryReportsResponse, Status> {
    let mut faults = Faults::default();
    let size = page::size(&mut faults, asked.page_size);
    let v1::ListDeliveryReportsRequest { statuses, final_only, reference, message_ids, .. } = asked;
    let filter = Reports::read(&mut faults, &statuses, final_only, reference, &message_ids);
    faults.into_result()?;
    let page = log::page(app, caller.client, &filter, &asked.resume_token, size).await?;
    Ok(v1::ListDeliveryReportsResponse {
        reports: page.items,
        resume_token: page.resume_token,
        caught_up: page.caught_up,
    })
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
