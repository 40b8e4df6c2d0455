//! The client's log: delivery reports and events, by the page and live.

use futures_util::future::TryFutureExt;
use futures_util::stream::{StreamExt, TryStreamExt};
use tonic::Response;

use super::{Client, unary};
use crate::error::Error;
use crate::subscription::{EventSubscription, ReportSubscription, Subscription};
use crate::v1;

impl Client {
    /// A page of delivery reports, oldest first.
    pub async fn list_delivery_reports(
        &self,
        request: v1::ListDeliveryReportsRequest,
    ) -> Result<v1::ListDeliveryReportsResponse, Error> {
        unary!(self, Safe, messaging.list_delivery_reports(request))
    }

    /// A page of events, oldest first.
    pub async fn list_events(&self, request: v1::ListEventsRequest) -> Result<v1::ListEventsResponse, Error> {
        unary!(self, Safe, events.list_events(request))
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
}
