//! The gRPC services: thin handlers over the use cases. Each reads its request, calls one of them and writes the
//! answer; errors become statuses in `crate::status` only.

mod account;
mod admin;
mod billing;
mod caller;
pub mod convert;
mod events;
mod faults;
mod filter;
mod log;
mod messaging;
mod page;
pub mod places;
mod report;
mod stream;
pub mod trail;

use std::sync::Arc;

use delivery::model::{Client, Head};
use futures_util::FutureExt;
use message::id::ClientId;
use tonic::metadata::MetadataValue;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Response, Status};
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};
use tonic_reflection::server::Builder as Reflection;

use crate::app::App;
use crate::proto::v1::account_service_server::AccountServiceServer;
use crate::proto::v1::admin_service_server::AdminServiceServer;
use crate::proto::v1::billing_service_server::BillingServiceServer;
use crate::proto::v1::event_service_server::EventServiceServer;
use crate::proto::v1::messaging_service_server::MessagingServiceServer;
use crate::proto::v1::report_service_server::ReportServiceServer;
use crate::{proto, status};

/// Largest request that any method may be given, encoded. The listener holds each method to its own limit.
const DECODE_MAX: usize = 4 * 1024 * 1024;
/// Largest answer or frame, encoded.
const ENCODE_MAX: usize = 4 * 1024 * 1024;

/// What health checks may ask for: the whole server, and each service.
pub const HEALTH_NAMES: [&str; 7] = [
    "",
    <MessagingServiceServer<messaging::Messaging> as NamedService>::NAME,
    <EventServiceServer<events::Events> as NamedService>::NAME,
    <BillingServiceServer<billing::Billing> as NamedService>::NAME,
    <AccountServiceServer<account::Account> as NamedService>::NAME,
    <AdminServiceServer<admin::Admin> as NamedService>::NAME,
    <ReportServiceServer<report::Reports> as NamedService>::NAME,
];

macro_rules! limited {
    ($server:ident, $service:expr) => {
        $server::new($service).max_decoding_message_size(DECODE_MAX).max_encoding_message_size(ENCODE_MAX)
    };
}

/// Every service, with health (all SERVING) and reflection (v1 and v1alpha).
pub fn routes(app: Arc<App>) -> (HealthReporter, Routes) {
    let health = HealthReporter::new();
    for name in HEALTH_NAMES {
        // Nobody else holds the new reporter's lock, so this is ready at once.
        let set = health.set_service_status(name, ServingStatus::Serving).now_or_never();
        debug_assert!(set.is_some(), "the lock is free");
    }
    let health_service = HealthService::from_health_reporter(health.clone());
    let mut routes = Routes::builder();
    routes
        .add_service(limited!(MessagingServiceServer, messaging::Messaging::new(app.clone())))
        .add_service(limited!(EventServiceServer, events::Events::new(app.clone())))
        .add_service(limited!(BillingServiceServer, billing::Billing::new(app.clone())))
        .add_service(limited!(AccountServiceServer, account::Account::new(app.clone())))
        .add_service(limited!(AdminServiceServer, admin::Admin::new(app.clone())))
        .add_service(limited!(ReportServiceServer, report::Reports::new(app)))
        .add_service(tonic_health::pb::health_server::HealthServer::new(health_service));
    // A test builds both, so that a bad descriptor set never gets here.
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => {
            routes.add_service(v1).add_service(v1alpha);
        }
        (Err(error), _) | (_, Err(error)) => tracing::error!(%error, "there is no reflection"),
    }
    (health, routes.routes())
}

/// Everything that is served, with the error details.
fn reflection() -> Reflection<'static> {
    Reflection::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .include_reflection_service(false)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
}

/// Tells health checks whether calls can be answered.
pub async fn set_serving(health: &HealthReporter, is_serving: bool) {
    let status = if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    for name in HEALTH_NAMES {
        health.set_service_status(name, status).await;
    }
}

/// The client with its head.
async fn find_client(app: &App, id: ClientId) -> Result<(Client, Head), Status> {
    let found = app.store.client(id).await.map_err(status::store_error)?;
    found.ok_or_else(|| status::not_found("Client", &id.to_string()))
}

/// An answer that says in its metadata too when it is one that was given before.
fn replayed<T>(answer: T, is_replay: bool) -> Response<T> {
    let mut response = Response::new(answer);
    if is_replay {
        response.metadata_mut().insert("idempotent-replayed", MetadataValue::from_static("true"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reflection_is_built_from_the_descriptors() {
        assert!(reflection().build_v1().is_ok());
        assert!(reflection().build_v1alpha().is_ok());
    }
}
