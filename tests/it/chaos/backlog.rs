//! A backlog that the queue has lost: its ids are offered again once, not again and again, and each message is sent once.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use herald_sdk::{Client, v1};
use message::id::MessageId;

use crate::crash::end::assert_clean_books;
use crate::support::{Account, Cluster, NewAccount, PART_PRICE, Setup, sms, span, take_machine, within};

/// How many messages wait; without it a few, which are enough to see each id offered and none sent twice.
const SIZE: &str = "HERALD_TEST_BACKLOG";
const FEW: usize = 5_000;
/// They share the backlog, and each sends its part on a stream of its own.
const CLIENTS: usize = 8;

/// The provider answers and reports in milliseconds: what takes time is Herald.
const FAST: f64 = 20.0;
/// For each message, on a slow machine, beside a fixed time for everything else.
const PER_MESSAGE: Duration = Duration::from_millis(10);
const FIXED: Duration = Duration::from_secs(120);
/// A look asks each account's balance.
const LOOK: Duration = Duration::from_secs(1);

/// As long as more than that wait in a lane, the sweeper offers nothing again that it offered in the last ten minutes.
const LONG_LANE: f64 = 4_000.0;
const LONGEST_GAP: Duration = Duration::from_secs(600);

/// The workers are away while the clients send. In the middle of it the stream is deleted: the ids of one half are lost, those of
/// the other are in the stream that the API nodes make anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_that_the_queue_has_lost_is_offered_once_more_and_sent_once() {
    let _machine = take_machine().await;
    let size = std::env::var(SIZE).map_or(FEW, |size| size.parse().expect("a number of messages"));
    let mut scene = Scene::set(size).await;
    let began = Instant::now();
    let messages = scene.accept().await;
    println!("{size} messages accepted in {:.0} s", began.elapsed().as_secs_f64());
    assert_eq!(messages.len(), size, "each acknowledgement names a message of its own");
    let drained = Instant::now();
    scene.drain().await;
    println!("drained in {:.0} s", drained.elapsed().as_secs_f64());
    scene.report_memory();
    let offers = Offers::of(&scene.cluster).await;
    println!("{offers}");
    offers.check(size, began.elapsed());
    scene.check_submits(&messages);
    scene.end().await;
}

struct Scene {
    cluster: Cluster,
    accounts: Vec<Account>,
    size: usize,
}

impl Scene {
    async fn set(size: usize) -> Self {
        // The gaps between offers are those of production, and so is the lease: whoever lost it would wait for a report.
        let setup = Setup::default().set("HERALD_TIME_SCALE", 1).without("HERALD_TIMING__LEASE_MS");
        let mut cluster = Cluster::start(setup, 1, FAST).await;
        let credit = i64::try_from(size).expect("it fits") * PART_PRICE;
        let mut new = NewAccount::with_credit(credit);
        // Each is paid for because it was delivered.
        new.client.report_timeout = Some(span(Duration::from_secs(24 * 3_600)));
        let mut accounts = Vec::new();
        for _ in 0..CLIENTS {
            accounts.push(cluster.account(new.clone()).await);
        }
        for worker in ["worker-1", "worker-2"] {
            cluster.stop_node(worker).await;
        }
        Self { cluster, accounts, size }
    }

    fn limit(&self) -> Duration {
        FIXED + PER_MESSAGE * u32::try_from(self.size).expect("it fits")
    }

    /// Answers what was acknowledged.
    async fn accept(&self) -> BTreeSet<MessageId> {
        let acked = Arc::new(AtomicUsize::new(0));
        let mut senders = Vec::new();
        for (at, account) in self.accounts.iter().enumerate() {
            let share = (self.size - at).div_ceil(CLIENTS);
            senders.push(tokio::spawn(send_all(account.client.clone(), share, acked.clone())));
        }
        within(self.limit(), LOOK, "half of the backlog", async || {
            (acked.load(Ordering::Relaxed) >= self.size / 2).then_some(())
        })
        .await;
        self.cluster.delete_stream().await;
        let mut messages = BTreeSet::new();
        for sender in senders {
            messages.extend(sender.await.expect("no send is refused"));
        }
        messages
    }

    /// The workers come back, and work until nothing is held.
    async fn drain(&mut self) {
        for worker in ["worker-1", "worker-2"] {
            self.cluster.start_node(worker).await;
        }
        let began = Instant::now();
        let mut told = 0;
        within(self.limit(), LOOK, "the end of every hold", async || {
            let mut held = 0;
            for account in &self.accounts {
                held += account.client.balance().await.expect("the balance").held_micros;
            }
            let minutes = began.elapsed().as_secs() / 60;
            if minutes > told {
                told = minutes;
                println!(
                    "after {minutes} min {} are left; {}",
                    held / PART_PRICE,
                    Offers::of(&self.cluster).await
                );
            }
            (held == 0).then_some(())
        })
        .await;
    }

    fn report_memory(&self) {
        for node in ["api-1", "api-2", "worker-1", "worker-2"] {
            println!("{node} had at most {} MiB resident", self.cluster.peak_kib(node) / 1_024);
        }
    }

    /// The provider's own word.
    fn check_submits(&self, accepted: &BTreeSet<MessageId>) {
        let witness = self.cluster.simulator.witness();
        let mut submitted = 0;
        for (message, submits) in witness.messages() {
            assert!(accepted.contains(&message), "{message} was submitted and never acknowledged");
            assert_eq!(submits.len(), 1, "{message} was submitted {} times", submits.len());
            submitted += 1;
        }
        assert_eq!(submitted, accepted.len(), "not every message was submitted");
    }

    async fn end(self) {
        let store = self.cluster.open_store().await;
        for account in &self.accounts {
            assert_clean_books(store.as_ref(), &account.id).await;
        }
        self.cluster.finish().await;
    }
}

async fn send_all(client: Client, count: usize, acked: Arc<AtomicUsize>) -> Vec<MessageId> {
    let messages = (0..count).map(|number| v1::SendMessageRequest {
        idempotency_key: format!("backlog-{number}"),
        ..sms("+12025550100", "Hello")
    });
    let mut volume = client.send_stream(futures_util::stream::iter(messages));
    let mut ids = Vec::with_capacity(count);
    while let Some(acknowledged) = volume.next().await {
        let accepted = acknowledged.expect("the stream goes on").outcome.expect("it is accepted");
        ids.push(accepted.message_id.parse().expect("the server gives ids"));
        acked.fetch_add(1, Ordering::Relaxed);
    }
    ids
}

/// Ids offered to the queue, by kind.
struct Offers {
    new: f64,
    backlog: f64,
    again: f64,
    failed: f64,
}

impl Offers {
    async fn of(cluster: &Cluster) -> Self {
        let kind =
            async |kind: &str| cluster.metric(&format!("herald_queue_offers_total{{kind=\"{kind}\"}}")).await;
        Self {
            new: kind("new").await,
            backlog: kind("backlog").await,
            again: kind("again").await,
            failed: cluster.metric("herald_queue_offers_failed_total").await,
        }
    }

    /// One offer of each message by accept; and one more to the stream that began anew, by the nodes that offer the backlog together
    /// or by the sweep that comes across it first. Besides, the sweeper makes again what is left once the lane is not long any more,
    /// and each once in the longest gap, which is what finds an id that a long lane has lost.
    fn check(&self, size: usize, took: Duration) {
        #[expect(clippy::cast_precision_loss)]
        let size = size as f64;
        let gaps = (took.as_secs_f64() / LONGEST_GAP.as_secs_f64()).floor();
        assert!(self.new <= size, "new messages were offered more than once: {self}");
        let more = self.backlog + self.again;
        assert!(more <= 1.05 * size + LONG_LANE + gaps * size, "a storm of offers: {self}");
    }
}

impl fmt::Display for Offers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { new, backlog, again, failed } = self;
        write!(f, "offers: {new} new, {backlog} backlog, {again} again; {failed} failed")
    }
}
