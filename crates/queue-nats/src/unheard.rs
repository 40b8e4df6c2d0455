//! Offers that did not reach the queue: kept, and made again once the stream is seen. So what a node accepts or walks while
//! NATS is away waits for NATS, and not for its next timer, which a long lane sets far away.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use delivery::port::Offer;
use tokio::sync::Notify;

use crate::queue::Shared;

/// The most that are kept, some 100 bytes each. With more the queue is made to begin anew, which offers all that is due.
const UNHEARD_MAX: usize = 100_000;
/// Made again together.
const BATCH: usize = 500;

#[derive(Default)]
pub(crate) struct Unheard {
    offers: Mutex<VecDeque<(Arc<str>, Offer)>>,
    has_some: Notify,
}

impl Unheard {
    /// `false` = there are too many. None of them is kept then.
    #[must_use]
    pub(crate) fn keep(&self, lane: &str, offers: &[Offer]) -> bool {
        let mut kept = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = kept.len() + offers.len() <= UNHEARD_MAX;
        if has_room {
            let lane: Arc<str> = lane.into();
            kept.extend(offers.iter().map(|offer| (lane.clone(), *offer)));
            self.has_some.notify_one();
        } else {
            *kept = VecDeque::new();
        }
        has_room
    }

    /// The oldest: a lane, and what was to go there. `None` = there are none.
    fn take(&self) -> Option<(Arc<str>, Vec<Offer>)> {
        let mut kept = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = kept.front()?.0.clone();
        let mut offers = Vec::new();
        while offers.len() < BATCH
            && let Some((_, offer)) = kept.pop_front_if(|(other, _)| *other == lane)
        {
            offers.push(offer);
        }
        if kept.is_empty() {
            *kept = VecDeque::new();
        }
        Some((lane, offers))
    }
}

impl Shared {
    /// For ever.
    pub(crate) async fn repeat_unheard(self: Arc<Self>) {
        loop {
            self.watch.until_usable().await;
            match self.unheard.take() {
                // What fails again is kept again.
                Some((lane, offers)) => self.publish_offers(&lane, &offers).await,
                None => self.unheard.has_some.notified().await,
            }
        }
    }
}
