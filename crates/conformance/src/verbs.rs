//! What a claim does with a store, one line each. A verb that fails fails the claim.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use delivery::accept::decide::{self, Decision, Submission};
use delivery::book::Book;
use delivery::change::{Learned, Moved, Mover};
use delivery::lane::Lanes;
use delivery::model::{AuditEntry, Client, ClientState, Message, MessageKey};
use delivery::plan::{Loaded, Plan, Wanted, Written};
use delivery::port::{Claim, Claimed, Created, Store, StoreError, StoredReports, Transaction};
use delivery::timing::Timing;
use delivery::top_up::{self, TopUp};
use delivery::transition::Outcome;
use delivery::{inbox, sweep};
use message::failure::{Failure, FailureReason};
use message::id::ClientId;
use message::report::ProviderReport;

use crate::bench::Bench;
use crate::given::{self, PROVIDER};

/// How long a claim holds.
pub const LEASE: Duration = Duration::from_secs(60);
/// More rows than any claim makes.
pub const ALL: i64 = 100_000;

/// Begins a transaction and loads.
pub async fn load(store: &dyn Store, wanted: &Wanted) -> (Box<dyn Transaction>, Loaded) {
    let mut tx = store.begin().await.expect("a transaction begins");
    let loaded = tx.load(wanted).await.expect("it loads");
    (tx, loaded)
}

/// One transaction that writes `plan` for these clients.
pub async fn write(store: &dyn Store, clients: &[ClientId], plan: &Plan) -> Result<Written, StoreError> {
    let wanted = Wanted {
        clients: clients.iter().copied().collect(),
        messages: plan.states.iter().map(|change| change.key).collect(),
        ..Wanted::default()
    };
    let (mut tx, _) = load(store, &wanted).await;
    let written = tx.write(plan).await?;
    tx.commit().await?;
    Ok(written)
}

/// One transaction that accepts `batch`, as the batch writer does it.
pub async fn accept(
    store: &dyn Store,
    timing: &Timing,
    batch: &[Submission],
) -> Result<Vec<Decision>, StoreError> {
    let (mut tx, plan, decisions) = decide(store, timing, batch).await?;
    if !plan.is_empty() {
        tx.write(&plan).await?;
        tx.commit().await?;
    }
    Ok(decisions)
}

/// The first half of [`accept`]: what is left is to write and to commit.
pub async fn decide(
    store: &dyn Store,
    timing: &Timing,
    batch: &[Submission],
) -> Result<(Box<dyn Transaction>, Plan, Vec<Decision>), StoreError> {
    let wanted = Wanted {
        clients: batch.iter().map(|submission| submission.prepared.client).collect(),
        keys: batch.iter().filter_map(Submission::idempotency_key).collect(),
        dead_letters: batch.iter().filter_map(Submission::dead_letter).collect(),
        ..Wanted::default()
    };
    let mut tx = store.begin().await?;
    let mut loaded = tx.load(&wanted).await?;
    let mut book = Book::open(&mut loaded);
    let decisions = decide::decide(timing, &mut loaded, &mut book, batch);
    let (plan, _) = book.close();
    Ok((tx, plan, decisions))
}

/// A transaction that lost against another is tried again, as every use case does it.
pub async fn retried<T, F: Future<Output = Result<T, StoreError>>>(work: impl Fn() -> F) -> T {
    for _ in 0..20 {
        match work().await {
            Err(StoreError::Conflict) => {}
            done => return done.expect("the store answers"),
        }
    }
    panic!("the transaction lost 20 times");
}

/// Which of these are wanted, each with its client.
pub fn wanted(keys: &[MessageKey]) -> Wanted {
    Wanted {
        clients: keys.iter().map(|key| key.client).collect(),
        messages: keys.iter().copied().collect::<BTreeSet<_>>(),
        ..Wanted::default()
    }
}

/// The ends of an attempt that a claim may want.
pub fn accepted(reference: &str) -> Outcome {
    Outcome::Accepted { refs: vec![reference.to_owned()] }
}

pub fn rejected(is_permanent: bool) -> Outcome {
    let failure = Failure::new(FailureReason::ProviderRejected).with("refused", "0x45");
    Outcome::Rejected { is_permanent, failure }
}

pub fn throttled() -> Outcome {
    Outcome::Throttled { retry_after: Duration::from_secs(1) }
}

pub fn unknown() -> Outcome {
    Outcome::Unknown { detail: "time-out".into() }
}

impl Bench {
    /// A mover on `store`.
    pub fn mover_on(&self, store: &Arc<dyn Store>) -> Mover {
        Mover {
            store: store.clone(),
            queue: self.queue.clone(),
            bell: self.bell.clone(),
            timing: self.timing.clone(),
            lanes: Lanes::of(PROVIDER),
            provider: PROVIDER.into(),
        }
    }

    pub fn mover(&self) -> Mover {
        self.mover_on(&self.store)
    }

    /// A new client with a million micros a hundred times over.
    pub async fn client(&self) -> ClientId {
        self.client_with(100_000_000, |_| {}).await
    }

    /// A new client that differs from the plain one, with this credit.
    pub async fn client_with(&self, credit: i64, change: impl FnOnce(&mut Client)) -> ClientId {
        let now = self.clock.now();
        let mut client = given::client(ClientId::new(now, self.entropy()), now);
        change(&mut client);
        let created = self.store.create_client(&client, None, &self.entry("test.create_client")).await;
        assert_eq!(created.expect("the client is made"), Created::New);
        if credit > 0 {
            self.top_up(client.id, credit, "first").await;
        }
        client.id
    }

    /// Changes a client's settings, as an operator who has just read them.
    pub async fn update_client(&self, id: ClientId, change: impl FnOnce(&mut Client)) {
        let (mut client, _) = self.store.client(id).await.expect("it is read").expect("the client is there");
        change(&mut client);
        let updated = self.store.update_client(&client, &self.entry("test.update_client")).await;
        assert!(updated.expect("the client is changed"));
    }

    pub async fn suspend(&self, id: ClientId) {
        self.update_client(id, |client| client.state = ClientState::Suspended).await;
    }

    /// An entry of the audit log, to go with a change.
    pub fn entry(&self, action: &str) -> AuditEntry {
        given::entry(action, self.clock.now(), self.entropy())
    }

    pub async fn top_up(&self, client: ClientId, amount_micros: i64, key: &str) -> top_up::Receipt {
        let request = TopUp {
            client,
            amount_micros,
            currency: String::new(),
            idempotency_key: key.to_owned(),
            note: String::new(),
        };
        top_up::top_up(self.store.as_ref(), self.bell.as_ref(), &self.timing, &request, None)
            .await
            .expect("credit is added")
    }

    /// Accepts one plain message.
    pub async fn send(&self, client: ClientId) -> MessageKey {
        self.send_many(client, 1).await[0]
    }

    /// Accepts `count` plain messages in one transaction.
    pub async fn send_many(&self, client: ClientId, count: usize) -> Vec<MessageKey> {
        let batch: Vec<_> =
            (0..count).map(|_| given::submission(given::prepared(client), self.entropy())).collect();
        self.accept(&batch).await.into_iter().map(|message| message.record.key).collect()
    }

    /// Accepts a batch in which nothing is refused or replayed.
    pub async fn accept(&self, batch: &[Submission]) -> Vec<Message> {
        let decisions =
            accept(self.store.as_ref(), &self.timing, batch).await.expect("the batch is accepted");
        let accepted = |decision| match decision {
            Decision::Accepted(message) => *message,
            other => panic!("not accepted: {other:?}"),
        };
        decisions.into_iter().map(accepted).collect()
    }

    pub async fn claim(&self, keys: &[MessageKey]) -> Vec<Claimed> {
        let claim = Claim { keys: keys.to_vec(), provider: PROVIDER.into(), lease: LEASE };
        self.store.claim(&claim).await.expect("the claim is made")
    }

    /// Claims one message that must be claimable.
    pub async fn claim_one(&self, key: MessageKey) -> Claimed {
        self.claim(&[key]).await.pop().expect("the message can be claimed")
    }

    /// Writes how a claimed attempt ended.
    pub async fn outcome(&self, claimed: &Claimed, outcome: Outcome) -> Moved {
        self.mover().apply(&[learned(claimed, outcome)]).await.expect("the outcome is written")
    }

    /// Accepts, claims and submits one message; `reference` is the provider's.
    pub async fn sent(&self, client: ClientId, reference: &str) -> MessageKey {
        let key = self.send(client).await;
        let claimed = self.claim_one(key).await;
        self.outcome(&claimed, accepted(reference)).await;
        key
    }

    pub async fn store_reports(&self, reports: &[ProviderReport]) -> StoredReports {
        self.store.store_reports(PROVIDER, reports).await.expect("the reports are stored")
    }

    pub async fn apply_reports(&self) {
        inbox::apply_pending(&self.mover()).await.expect("the reports are applied");
    }

    /// Fires every timer that is due.
    pub async fn sweep(&self) -> usize {
        sweep::fire_due(&self.mover()).await.expect("the sweep is done")
    }
}

/// What the dispatcher learned of a claimed attempt.
pub fn learned(claimed: &Claimed, outcome: Outcome) -> Learned {
    Learned::Outcome { key: claimed.record.key, attempt: claimed.attempt, fence: claimed.fence, outcome }
}
