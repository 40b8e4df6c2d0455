//! `ReportService`: what providers push of the messages that they took. They come with keys of their own.

use std::sync::Arc;

use delivery::crash_point;
use tonic::{Request, Response, Status};

use super::convert::count;
use super::convert::report::read_reports;
use crate::app::App;
use crate::auth::provider::{PROVIDER_KEY, ProviderKeys};
use crate::auth::{AuthError, Source};
use crate::proto::v1;
use crate::proto::v1::report_service_server::ReportService;
use crate::status;

pub struct Reports {
    app: Arc<App>,
    keys: ProviderKeys,
}

impl Reports {
    pub fn new(app: Arc<App>) -> Self {
        let keys = ProviderKeys::new(app.store.clone(), app.authenticator.clone());
        Self { app, keys }
    }

    /// The caller is the provider that it says. Nothing else of the request is looked at before.
    async fn authenticate(
        &self,
        request: &mut Request<v1::IngestDeliveryReportsRequest>,
    ) -> Result<(), AuthError> {
        let source = request.extensions().get::<Source>().copied();
        // Taken out, so that nothing further in can log the key.
        let key = request.metadata_mut().remove(PROVIDER_KEY).ok_or(AuthError::Missing)?;
        // Bytes that are no text are no key.
        let key = key.to_str().unwrap_or_default();
        self.keys.authenticate(key, &request.get_ref().provider, source).await
    }
}

#[tonic::async_trait]
impl ReportService for Reports {
    async fn ingest_delivery_reports(
        &self,
        mut request: Request<v1::IngestDeliveryReportsRequest>,
    ) -> Result<Response<v1::IngestDeliveryReportsResponse>, Status> {
        self.authenticate(&mut request).await?;
        let asked = request.into_inner();
        let reports = read_reports(asked.reports)?;
        let stored = self.app.store.store_reports(&asked.provider, &reports);
        let stored = crash_point!("report.push", stored).await;
        let stored = stored.map_err(status::store_error)?;
        self.app.reports_arrived.notify_one();
        metrics::counter!("herald_reports_total", "kind" => "new").increment(stored.new as u64);
        metrics::counter!("herald_reports_total", "kind" => "duplicate").increment(stored.duplicate as u64);
        Ok(Response::new(v1::IngestDeliveryReportsResponse {
            stored_count: count(stored.new),
            duplicate_count: count(stored.duplicate),
        }))
    }
}
