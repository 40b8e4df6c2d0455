//! Lanes: what one queue subject carries, a provider's messages of one priority. A slow lane never blocks another.

use std::sync::Arc;

use message::class::Priority;

use crate::port::{Due, Offer, Queue, Ticket};

/// In this order a free place in the provider's window is given away, one row after the other: mostly by priority, but
/// each lane comes first at times, so that a flood of urgent messages does not stop the rest.
const TURNS: [[Priority; 3]; 8] = {
    use Priority::{High, Low, Normal};
    let urgent = [High, Normal, Low];
    let normal = [Normal, High, Low];
    let low = [Low, High, Normal];
    [urgent, urgent, normal, urgent, urgent, normal, urgent, low]
};

/// More waiting ids make a lane long: it is not offered again what it was offered before.
const LONG: usize = 4_000;

/// The lanes of one provider.
#[derive(Clone, Debug)]
pub struct Lanes {
    low: Arc<str>,
    normal: Arc<str>,
    high: Arc<str>,
}

impl Lanes {
    /// Named `<provider>.<priority>`, as in `simulator.high`.
    pub fn of(provider: &str) -> Self {
        let name = |priority: Priority| format!("{provider}.{}", priority.as_str().to_lowercase()).into();
        Self { low: name(Priority::Low), normal: name(Priority::Normal), high: name(Priority::High) }
    }

    pub fn name(&self, priority: Priority) -> &str {
        match priority {
            Priority::Low => &self.low,
            Priority::Normal => &self.normal,
            Priority::High => &self.high,
        }
    }

    /// Offers each message to its lane, in the order given. `kind` is what they are counted as.
    pub async fn offer(&self, queue: &dyn Queue, kind: &'static str, due: impl IntoIterator<Item = Due>) {
        let mut by_lane: [Vec<Offer>; 3] = Default::default();
        for Due { offer, priority } in due {
            by_lane[priority as usize].push(offer);
        }
        for priority in Priority::ALL {
            let offers = &by_lane[*priority as usize];
            if !offers.is_empty() {
                metrics::counter!("herald_queue_offers_total", "kind" => kind).increment(offers.len() as u64);
                crash_point!("offer.lane", queue.offer(self.name(*priority), offers)).await;
            }
        }
    }

    /// By priority: whether a lane is so long that what was offered to it is surely still in it.
    pub async fn long(&self, queue: &dyn Queue) -> [bool; 3] {
        let mut long = [false; 3];
        for priority in Priority::ALL {
            let waiting = crash_point!("offer.length", queue.waiting(self.name(*priority))).await;
            long[*priority as usize] = waiting > LONG;
        }
        long
    }

    /// Waits until a lane has ids, then takes up to `limit` of it; `turn` counts the takes. Cancel-safe.
    pub async fn take(&self, queue: &dyn Queue, turn: usize, limit: usize) -> Vec<Box<dyn Ticket>> {
        let [first, second, third] = TURNS[turn % TURNS.len()].map(|priority| self.name(priority));
        tokio::select! {
            biased;
            tickets = queue.take(first, limit) => tickets,
            tickets = queue.take(second, limit) => tickets,
            tickets = queue.take(third, limit) => tickets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lane_has_a_name_of_its_own() {
        let lanes = Lanes::of("simulator");
        let names = [Priority::Low, Priority::Normal, Priority::High].map(|priority| lanes.name(priority));
        assert_eq!(names, ["simulator.low", "simulator.normal", "simulator.high"]);
    }

    #[test]
    fn each_lane_comes_first_at_times_and_the_urgent_one_mostly() {
        let firsts = |priority| TURNS.iter().filter(|turn| turn[0] == priority).count();
        let counts = [Priority::High, Priority::Normal, Priority::Low].map(firsts);
        assert!(counts[0] > counts[1] && counts[1] > counts[2] && counts[2] > 0, "{counts:?}");
        for turn in TURNS {
            assert!(Priority::ALL.iter().all(|priority| turn.contains(priority)), "{turn:?}");
        }
    }
}
