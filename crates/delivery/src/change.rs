//! The one transaction in which existing messages move: lock and read them, apply what was learned, book it,
//! commit, then ring and offer. Outcomes, reports and timers all come through here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ledger::LedgerError;
use message::class::Priority;

use crate::book::{Book, clients_of};
use crate::lane::Lanes;
use crate::model::MessageKey;
use crate::plan::{RefBinding, Wanted};
use crate::port::{Bell, Due, PendingReport, Queue, Store, StoreError};
use crate::timing::Timing;
use crate::transition::{self, Change, Input, Offering, Outcome};

/// Tries of a transaction that loses against another.
const TRIES: u32 = 5;

/// What was learned of one message.
#[derive(Clone, Debug)]
pub enum Learned {
    Outcome {
        key: MessageKey,
        attempt: i32,
        fence: i64,
        outcome: Outcome,
    },
    Report(PendingReport),
    /// `is_lost`: the queue began anew and has not been offered the message since.
    Timer {
        key: MessageKey,
        is_lost: bool,
    },
    Cancel {
        key: MessageKey,
    },
}

impl Learned {
    pub fn key(&self) -> MessageKey {
        match self {
            Self::Outcome { key, .. } | Self::Timer { key, .. } | Self::Cancel { key } => *key,
            Self::Report(pending) => pending.target.key,
        }
    }

    fn input(&self, is_lane_long: bool) -> Input<'_> {
        match self {
            Self::Outcome { fence, outcome, .. } => Input::Outcome { fence: *fence, outcome },
            Self::Report(pending) => Input::Report {
                provider: &pending.provider,
                attempt: pending.target.attempt,
                part: pending.target.part,
                report: &pending.report,
            },
            Self::Timer { .. } => Input::Timer { is_lane_long },
            Self::Cancel { .. } => Input::Cancel,
        }
    }
}

/// Moves messages.
#[derive(Clone)]
pub struct Mover {
    pub store: Arc<dyn Store>,
    pub queue: Arc<dyn Queue>,
    pub bell: Arc<dyn Bell>,
    pub timing: Arc<Timing>,
    pub lanes: Lanes,
    /// The provider whose attempts' references are bound.
    pub provider: Arc<str>,
}

/// What one transaction found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Reports wait in the inbox for references that were just bound: apply them now.
    pub has_early_reports: bool,
    pub changed: usize,
}

impl Mover {
    /// Applies all of `learned` in one transaction. On [`StoreError::Refused`] nothing was applied; the caller
    /// may try the items alone.
    pub async fn apply(&self, learned: &[Learned]) -> Result<Moved, StoreError> {
        let mut tries = 1;
        loop {
            match self.apply_once(learned).await {
                Err(StoreError::Conflict) if tries < TRIES => tries += 1,
                done => return done,
            }
        }
    }

    /// Like [`apply`](Self::apply); if the store refuses the batch, each item is tried alone, so that one
    /// poison item does not hold up its neighbours. An item that is refused alone is logged and left as it is.
    pub async fn apply_each(&self, learned: &[Learned]) -> Result<Moved, StoreError> {
        match self.apply(learned).await {
            Err(StoreError::Refused(cause)) if learned.len() > 1 => {
                tracing::warn!(error = %cause, "a batch of {} was refused, its items are tried alone", learned.len());
                let mut sum = Moved::default();
                for item in learned {
                    match self.apply(std::slice::from_ref(item)).await {
                        Ok(moved) => {
                            sum.has_early_reports |= moved.has_early_reports;
                            sum.changed += moved.changed;
                        }
                        Err(StoreError::Refused(cause)) => {
                            metrics::counter!("herald_poison_changes_total").increment(1);
                            tracing::error!(error = %cause, message.id = %item.key().id, "a change was refused");
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(sum)
            }
            done => done,
        }
    }

    async fn apply_once(&self, learned: &[Learned]) -> Result<Moved, StoreError> {
        let messages: BTreeSet<MessageKey> = learned.iter().map(Learned::key).collect();
        let reports = learned
            .iter()
            .filter_map(|item| match item {
                Learned::Report(pending) => Some(pending.id),
                _ => None,
            })
            .collect();
        let wanted = Wanted { clients: clients_of(&messages), messages, reports, ..Wanted::default() };
        // Asked before anything is locked.
        let has_timers = learned.iter().any(|item| matches!(item, Learned::Timer { .. }));
        let long = if has_timers { self.lanes.long(self.queue.as_ref()).await } else { [false; 3] };
        let mut tx = crash_point!(flow(learned) => "begin", self.store.begin()).await?;
        let mut loaded = crash_point!(flow(learned) => "load", tx.load(&wanted)).await?;
        let mut book = Book::open(&mut loaded);
        let mut offers = Offers::default();
        let mut changed = 0;
        // Several things may be learned of one message at once: they are applied to it in turn, and its
        // row is written once.
        let mut by_message: BTreeMap<MessageKey, Vec<&Learned>> = BTreeMap::new();
        for item in learned.iter().filter(|item| is_still_pending(item, &loaded.pending_reports)) {
            by_message.entry(item.key()).or_default().push(item);
        }
        for (key, inputs) in &by_message {
            self.bind_refs(&mut book, inputs);
            book.plan.done_reports.extend(inputs.iter().filter_map(|item| match item {
                Learned::Report(pending) => Some(pending.id),
                _ => None,
            }));
            let Some(message) = loaded.messages.get(key) else { continue };
            let is_lane_long = long[message.priority as usize];
            let mut current = message.clone();
            for item in inputs {
                let Some((client, _)) = book.clients.get(&key.client) else { break };
                let change =
                    transition::apply(&self.timing, client, &current, &item.input(is_lane_long), book.now);
                let Some(change) = change else { continue };
                changed += 1;
                let is_in_lane = is_lane_long && !matches!(item, Learned::Timer { is_lost: true, .. });
                offers.note(&change, *key, message.priority, is_in_lane);
                book.record(&current, change).map_err(broken_books)?;
                if let Some(written) = book.plan.states.last() {
                    current.state = written.state.clone();
                }
            }
        }
        merge_states(&mut book.plan.states);
        let (plan, rings) = book.close();
        let mut moved = Moved { changed, ..Moved::default() };
        if !plan.is_empty() {
            let written = crash_point!(flow(learned) => "write", tx.write(&plan)).await?;
            moved.has_early_reports = written.has_early_reports;
            crash_point!(flow(learned) => "commit", tx.commit()).await?;
            crash_point!(flow(learned) => "ring", self.bell.ring(&rings)).await;
        }
        let queue = self.queue.as_ref();
        crash_point!(flow(learned) => "offer", self.lanes.offer(queue, "new", offers.new)).await;
        crash_point!(flow(learned) => "offer_again", self.lanes.offer(queue, "again", offers.again)).await;
        if !plan.dead_letters.is_empty() {
            crash_point!(flow(learned) => "dead", queue.dead(&plan.dead_letters)).await;
        }
        Ok(moved)
    }

    /// A reference is bound whatever became of the claim: late reports must find the message.
    fn bind_refs(&self, book: &mut Book, inputs: &[&Learned]) {
        for item in inputs {
            let Learned::Outcome { key, attempt, outcome: Outcome::Accepted { refs }, .. } = item else {
                continue;
            };
            let is_per_part = refs.len() > 1;
            for (index, reference) in refs.iter().enumerate() {
                let part = if is_per_part { u16::try_from(index + 1).unwrap_or(0) } else { 0 };
                book.plan.refs.push(RefBinding {
                    provider: self.provider.to_string(),
                    reference: reference.clone(),
                    key: *key,
                    attempt: *attempt,
                    part,
                });
            }
        }
    }
}

/// Whose points the transaction passes.
#[cfg(feature = "faults")]
fn flow(learned: &[Learned]) -> &'static str {
    // Outcomes and reports are written together.
    let outcome = learned.iter().find(|item| matches!(item, Learned::Outcome { .. }));
    match outcome.or(learned.first()) {
        Some(Learned::Outcome { .. }) => "record",
        Some(Learned::Report(_)) => "report",
        Some(Learned::Cancel { .. }) => "cancel",
        Some(Learned::Timer { .. }) | None => "settle",
    }
}

/// What to offer once the transaction stands.
#[derive(Default)]
struct Offers {
    new: Vec<Due>,
    again: Vec<Due>,
}

impl Offers {
    fn note(&mut self, change: &Change, key: MessageKey, priority: Priority, is_in_lane: bool) {
        let offers = match change.offering {
            Offering::None => return,
            Offering::New => &mut self.new,
            Offering::Again { may_wait } if may_wait && is_in_lane => return,
            Offering::Again { .. } => &mut self.again,
        };
        offers.extend(Due::of(key, &change.state, priority));
    }
}

fn is_still_pending(item: &Learned, pending: &BTreeSet<i64>) -> bool {
    match item {
        Learned::Report(report) => pending.contains(&report.id),
        _ => true,
    }
}

/// Keeps one change a message: from the row as loaded to its last state.
fn merge_states(states: &mut Vec<crate::plan::StateChange>) {
    states.dedup_by(|later, earlier| {
        let same = later.key == earlier.key;
        if same {
            earlier.resolves_lock |= later.resolves_lock;
            earlier.state = later.state.clone();
        }
        same
    });
}

/// The books contradict the locks: nothing is moved, the reconciler will say where.
fn broken_books(error: LedgerError) -> StoreError {
    StoreError::Refused(Box::new(error))
}
