//! Offers: published one after the other without waiting, then all acknowledgements are awaited at once.

use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use delivery::port::Offer;
use delivery::{crash_point, planted};
use tokio::time::timeout;

use crate::payload;
use crate::queue::Shared;
use crate::stream::{SHARES, is_subject};

/// An accept waits no longer than that for the queue, once; then it does without until the stream is seen again.
const LIMIT: Duration = Duration::from_secs(1);

impl Shared {
    /// Offers that fail are counted, and made again once the stream is seen.
    pub(crate) async fn publish_offers(&self, lane: &str, offers: &[Offer]) {
        if offers.is_empty() {
            return;
        }
        if !is_subject(lane) {
            tracing::error!("the lane {lane:?} has a name that no subject can have; nothing is queued in it");
            return;
        }
        let mut stored = 0;
        if self.watch.is_usable() {
            let published = timeout(LIMIT, self.publish(lane, offers, &mut stored)).await;
            if published != Ok(Ok(())) {
                self.watch.doubt();
            }
        }
        let failed = &offers[stored..];
        if failed.is_empty() {
            return;
        }
        metrics::counter!("herald_queue_offers_failed_total").increment(failed.len() as u64);
        if let Some(count) = self.offer_failures.count(failed.len() as u64) {
            tracing::warn!("{count} offers did not reach the queue; they are made again when it is back");
        }
        if !self.unheard.keep(lane, failed) {
            self.watch.begin_anew();
        }
    }

    /// Fails at the first sign that the stream is not there.
    async fn publish(
        &self,
        lane: &str,
        offers: &[Offer],
        stored: &mut usize,
    ) -> Result<(), PublishErrorKind> {
        let mut acks = Vec::with_capacity(offers.len());
        for offer in offers {
            let subject = self.options.subject(lane, share_of(offer));
            let message = PublishMessage::build()
                .payload(payload::write_key(&offer.key).into())
                .message_id(name(offer));
            let sent = crash_point!("offer.publish", self.jetstream.send_publish(subject, message)).await;
            acks.push(sent.map_err(|error| error.kind())?);
        }
        for ack in acks {
            crash_point!("offer.acknowledge", ack.into_future()).await.map_err(|error| error.kind())?;
            *stored += 1;
        }
        Ok(())
    }
}

/// By the last byte of the client's id, which is random.
fn share_of(offer: &Offer) -> usize {
    usize::from(offer.key.client.as_uuid().as_bytes()[15]) % SHARES
}

/// Equal for equal offers only: the server stores one of those that it sees within its window.
fn name(offer: &Offer) -> String {
    if planted!(BareOfferName) {
        return offer.key.id.to_string();
    }
    format!("{}.{}.{}", offer.key.id, offer.fence, offer.timer_at.as_micros())
}
