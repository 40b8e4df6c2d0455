//! How long things are kept.

use tonic::{Response, Status};

use crate::app::App;
use crate::auth::Principal;
use crate::grpc::convert::retention::{read_retention, retention};
use crate::grpc::faults::Faults;
use crate::grpc::trail::{self, Deed};
use crate::proto::v1;
use crate::proto_json::proto_json;
use crate::status;

pub async fn get(app: &App) -> Result<Response<v1::GetRetentionResponse>, Status> {
    let kept = app.store.retention().await.map_err(status::store_error)?;
    Ok(Response::new(v1::GetRetentionResponse { retention: Some(retention(&kept)) }))
}

pub async fn update(
    app: &App,
    operator: &Principal,
    asked: &v1::UpdateRetentionRequest,
) -> Result<Response<v1::UpdateRetentionResponse>, Status> {
    let mut faults = Faults::default();
    let after = read_retention(&mut faults, asked.retention.as_ref());
    faults.into_result()?;
    let before = app.store.retention().await.map_err(status::store_error)?;
    if after != before {
        let deed = Deed::new("AdminService.UpdateRetention", None)
            .change(proto_json(&retention(&before)), proto_json(&retention(&after)));
        let entry = trail::entry(app, operator, deed).await?;
        app.store.set_retention(&after, &entry).await.map_err(status::store_error)?;
    }
    Ok(Response::new(v1::UpdateRetentionResponse { retention: Some(retention(&after)) }))
}
