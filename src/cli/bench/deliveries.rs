//! What became of the accepted messages, as their final reports tell it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Context;
use futures_util::stream::{self, StreamExt};
use hdrhistogram::Histogram;
use herald_sdk::v1::message::Status;
use herald_sdk::{Client, Item, v1};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::Window;
use super::load::{histogram, record};
use crate::cli::exit::Failed;

/// Without a final report for so long, the rest is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first call of each key is dearer than those after it.
const OPENED_AT_ONCE: usize = 16;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Matches receipts with final reports; either may come first.
#[derive(Default)]
pub struct Deliveries {
    state: Mutex<State>,
    pub accepted: AtomicU64,
    pub refused: AtomicU64,
    pub ended: AtomicU64,
}

#[derive(Default)]
struct State {
    window: Option<Window>,
    open: HashMap<Uuid, Seen>,
    totals: Totals,
}

enum Seen {
    Accepted(Instant),
    /// The report overtook the receipt, or is of a message that somebody else sent.
    Ended(Instant, Status),
}

/// The result.
#[derive(Clone)]
pub struct Totals {
    /// Reports of DELIVERED that came in the window.
    pub delivered: u64,
    /// All final reports, by status.
    pub by_status: BTreeMap<&'static str, u64>,
    /// From the receipt to the report of DELIVERED, in microseconds; messages that were accepted in the window.
    pub latency: Histogram<u64>,
    /// From when a message was due to its receipt, in microseconds; all messages.
    pub accept_latency: Histogram<u64>,
}

impl Default for Totals {
    fn default() -> Self {
        Self { delivered: 0, by_status: BTreeMap::new(), latency: histogram(), accept_latency: histogram() }
    }
}

impl Deliveries {
    /// Starts to listen from now, for each client on a stream of its own, and returns when nothing can be missed any more.
    pub async fn listen(
        self: &Arc<Self>,
        clients: &[Client],
        patience: Duration,
    ) -> Result<JoinSet<()>, Failed> {
        let open = |client: Client| async move {
            let request = v1::SubscribeDeliveryReportsRequest { final_only: true, ..Default::default() };
            let mut reports = client.subscribe_delivery_reports(request).give_up_after(Some(patience));
            reports.next().await.context("the server ended the stream")??;
            anyhow::Ok(reports)
        };
        let mut opening = stream::iter(clients.iter().cloned()).map(open).buffer_unordered(OPENED_AT_ONCE);
        let mut listening = JoinSet::new();
        while let Some(opened) = opening.next().await {
            let mut reports = opened?;
            let deliveries = self.clone();
            listening.spawn(async move {
                while let Some(frame) = reports.next().await {
                    match frame.map(|frame| frame.item) {
                        Ok(Item::Entry(report)) if !report.ignored => {
                            deliveries.ended(&report.message_id, report.status(), Instant::now());
                        }
                        Ok(_) => {}
                        Err(error) => eprintln!("\nthe subscription ended: {error}"),
                    }
                }
            });
        }
        Ok(listening)
    }

    /// Says what counts.
    pub fn measure(&self, window: Window) {
        self.state().window = Some(window);
    }

    /// The receipt of a message that was `due`.
    pub fn accepted(&self, message_id: &str, due: Instant, at: Instant) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        record(&mut state.totals.accept_latency, at - due);
        let Ok(id) = message_id.parse() else { return };
        match state.open.remove(&id) {
            Some(Seen::Ended(ended, status)) => self.count(&mut state, at, ended, status),
            _ => {
                state.open.insert(id, Seen::Accepted(at));
            }
        }
    }

    pub fn refused(&self, count: u64) {
        self.refused.fetch_add(count, Ordering::Relaxed);
    }

    fn ended(&self, message_id: &str, status: Status, at: Instant) {
        let Ok(id) = message_id.parse() else { return };
        let mut state = self.state();
        match state.open.remove(&id) {
            Some(Seen::Accepted(accepted)) => self.count(&mut state, accepted, at, status),
            _ => {
                state.open.insert(id, Seen::Ended(at, status));
            }
        }
    }

    fn count(&self, state: &mut State, accepted: Instant, ended: Instant, status: Status) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        *state.totals.by_status.entry(crate::cli::output::status_name(status)).or_default() += 1;
        let Some(window) = state.window.filter(|_| status == Status::Delivered) else { return };
        state.totals.delivered += u64::from(window.contains(ended));
        if window.contains(accepted) {
            record(&mut state.totals.latency, ended.saturating_duration_since(accepted));
        }
    }

    /// Waits until every accepted message has ended, or none does any more. Answers how long that took.
    pub async fn drain(&self) -> Duration {
        let begin = Instant::now();
        let (mut last, mut last_at) = (self.ended.load(Ordering::Relaxed), begin);
        while self.open() > 0 && last_at.elapsed() < PATIENCE {
            sleep(LOOK_EVERY).await;
            let ended = self.ended.load(Ordering::Relaxed);
            if ended != last {
                (last, last_at) = (ended, Instant::now());
            }
        }
        begin.elapsed()
    }

    /// Accepted messages without a final report.
    pub fn open(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed).saturating_sub(self.ended.load(Ordering::Relaxed))
    }

    pub fn totals(&self) -> Totals {
        self.state().totals.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0198e7a2-5c1e-7b90-9a41-0c6f2d3b8e55";

    fn measured() -> (Deliveries, Instant) {
        let deliveries = Deliveries::default();
        let start = Instant::now();
        deliveries.measure(Window { start, end: start + Duration::from_secs(10) });
        (deliveries, start)
    }

    #[test]
    fn a_receipt_and_its_report_meet_in_either_order() {
        let (deliveries, start) = measured();
        deliveries.accepted(ID, start, start);
        assert_eq!(deliveries.open(), 1);
        deliveries.ended(ID, Status::Delivered, start + Duration::from_secs(1));
        let other = ID.replace("55", "56");
        deliveries.ended(&other, Status::Delivered, start + Duration::from_secs(1));
        deliveries.accepted(&other, start, start + Duration::from_secs(2));
        let totals = deliveries.totals();
        assert_eq!((deliveries.open(), totals.delivered, totals.latency.len()), (0, 2, 2));
    }

    #[test]
    fn other_endings_are_counted_but_not_as_delivered() {
        let (deliveries, start) = measured();
        deliveries.accepted(ID, start, start);
        deliveries.ended(ID, Status::FailedPerm, start);
        let totals = deliveries.totals();
        assert_eq!((totals.delivered, totals.latency.len()), (0, 0));
        assert_eq!(totals.by_status, BTreeMap::from([("FAILED_PERM", 1)]));
    }

    #[test]
    fn a_stranger_s_message_is_not_counted() {
        let (deliveries, start) = measured();
        deliveries.ended(ID, Status::Delivered, start);
        assert_eq!((deliveries.totals().delivered, deliveries.open()), (0, 0));
    }
}
