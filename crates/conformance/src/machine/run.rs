//! A step, taken on any store through the use cases that take it in production.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use delivery::accept::Prepared;
use delivery::accept::decide::{Decision, Submission};
use delivery::change::{Learned, Moved};
use delivery::model::{IdempotencyKey, Message, MessageKey};
use delivery::plan::Plan;
use delivery::port::{Claim, DeadLetterFilter, PurgeLimits, StoreError};
use delivery::{inbox, sweep};
use message::Timestamp;
use message::id::{ClientId, Entropy};
use message::parts::ReferenceBits;
use message::report::ProviderReport;
use message::status::OnUnknown;

use super::step::{By, Ending, Send, Step, Told};
use crate::bench::Bench;
use crate::given::{self, PROVIDER};
use crate::verbs::{self, ALL};

/// What the steps so far have made: the same in the model's session and in the store's.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    pub(super) clients: Vec<ClientId>,
    pub(super) messages: Vec<MessageKey>,
    pub(super) keys: Vec<IdempotencyKey>,
    /// Newest last. Of each: attempt and fence.
    claims: Vec<(MessageKey, i32, i64)>,
    drawn: u64,
}

impl Session {
    /// Takes the step. The answer is comparable between stores.
    pub(super) async fn run(&mut self, bench: &Bench, step: &Step) -> String {
        match step {
            Step::CreateClient { captures_on_sent, releases_unreported, key } => {
                self.create_client(bench, *captures_on_sent, *releases_unreported, *key).await
            }
            Step::TopUp { client, amount, key } => self.top_up(bench, *client, *amount, *key).await,
            Step::Adjust { client, delta, key } => self.adjust(bench, *client, *delta, *key).await,
            Step::Accept { sends, is_dropped } => {
                let batch = sends
                    .iter()
                    .map(|send| given::submission(self.prepare(bench, send), self.entropy()))
                    .collect();
                self.accept(bench, batch, *is_dropped).await
            }
            Step::Bury { message } => {
                let key = *picked(&self.messages, *message);
                let letter = given::dead_letter(key, bench.clock.now());
                let plan = Plan { dead_letters: vec![letter], ..Plan::default() };
                answer(bench, plain(verbs::write(bench.store.as_ref(), &[key.client], &plan).await))
            }
            Step::Replay { letters } => {
                let batch = self.replays(bench, letters).await;
                self.accept(bench, batch, false).await
            }
            Step::Cancel { messages } => {
                let keys: BTreeSet<_> = messages.iter().map(|pick| *picked(&self.messages, *pick)).collect();
                let learned: Vec<_> = keys.into_iter().map(|key| Learned::Cancel { key }).collect();
                answer(bench, plain(bench.mover().apply(&learned).await))
            }
            Step::Claim { messages, lease } => {
                let keys = messages.iter().map(|pick| *picked(&self.messages, *pick)).collect();
                self.claim(bench, Claim { keys, provider: PROVIDER.into(), lease: *lease }).await
            }
            Step::Learn { outcomes, is_dropped } => self.learn(bench, outcomes, *is_dropped).await,
            Step::Report { reports } => self.report(bench, reports).await,
            Step::ApplyReports => {
                let done = inbox::apply_pending(&bench.mover()).await;
                answer(bench, plain(done))
            }
            Step::Sweep => {
                let done = sweep::fire_due(&bench.mover()).await;
                answer(bench, plain(done))
            }
            Step::Advance(by) => {
                bench.clock.advance(*by);
                answer(bench, plain(bench.store.now().await))
            }
            Step::AdvanceToNext => {
                if let Some(next) = self.next_moment(bench).await {
                    bench.clock.set(next);
                }
                answer(bench, plain(bench.store.now().await))
            }
            Step::TurnBack(by) => {
                let now = bench.clock.now();
                bench.clock.set(now - *by);
                let told = plain(bench.store.now().await);
                bench.clock.set(now);
                answer(bench, told)
            }
            Step::UpdateClient { client, is_suspended, captures_on_sent, is_late } => {
                self.update_client(bench, *client, *is_suspended, *captures_on_sent, *is_late).await
            }
            Step::Reconcile { client } => self.reconcile(bench, *picked(&self.clients, *client)).await,
            Step::Trim { client, through } => {
                let id = *picked(&self.clients, *client);
                answer(bench, plain(bench.store.trim_events(id, *through).await))
            }
            Step::Remove { client, age, limit } => {
                self.remove(bench, *picked(&self.clients, *client), *age, *limit).await
            }
            Step::Purge { age, limit } => {
                let before = bench.clock.now() - *age;
                let limits = PurgeLimits { reports_before: before, refs_before: before };
                answer(bench, plain(bench.store.purge(&limits, *limit).await))
            }
        }
    }

    async fn accept(&mut self, bench: &Bench, batch: Vec<Submission>, is_dropped: bool) -> String {
        self.keys.extend(batch.iter().filter_map(Submission::idempotency_key));
        if is_dropped {
            let (mut tx, plan, _) =
                verbs::decide(bench.store.as_ref(), &bench.timing, &batch).await.expect("it is decided");
            let written = tx.write(&plan).await;
            drop(tx);
            return answer(bench, plain(written));
        }
        let decisions = verbs::accept(bench.store.as_ref(), &bench.timing, &batch).await;
        for decision in decisions.iter().flatten() {
            if let Decision::Accepted(message) = decision {
                self.messages.push(message.record.key);
            }
        }
        answer(bench, plain(decisions))
    }

    async fn replays(&mut self, bench: &Bench, picks: &[u8]) -> Vec<Submission> {
        let listed = bench.store.dead_letters(&DeadLetterFilter::default(), None, ALL, ALL).await;
        let letters = listed.expect("they are listed").items.into_iter().map(|(letter, _)| letter.key);
        let keys: Vec<MessageKey> = letters.chain(self.messages.iter().copied()).collect();
        let replay = |key: MessageKey| {
            let mut prepared = given::prepared(key.client);
            prepared.replay_of = Some(key.id);
            given::submission(prepared, self.entropy())
        };
        // Small picks are dead letters, if there are any.
        picks.iter().map(|pick| *picked(&keys, pick % 16)).map(replay).collect()
    }

    fn prepare(&self, bench: &Bench, send: &Send) -> Prepared {
        let client = *picked(&self.clients, send.client);
        let body = format!("body {}", send.body);
        let plain = if send.key == 0 {
            given::prepared(client)
        } else {
            given::keyed(client, &format!("key-{}", send.key), &body)
        };
        Prepared {
            content: given::text(&body),
            reference_bits: ReferenceBits::Sixteen,
            part_count: send.parts,
            price_micros: send.price,
            on_unknown: if send.resends { OnUnknown::Resend } else { OnUnknown::Wait },
            priority: send.priority,
            schedule_at: send.delay.map(|delay| bench.clock.now() + delay),
            validity: send.validity,
            reference: body,
            ..plain
        }
    }

    async fn claim(&mut self, bench: &Bench, claim: Claim) -> String {
        let claimed = bench.store.claim(&claim).await.map(|mut claimed| {
            claimed.sort_by_key(|claimed| claimed.record.key);
            claimed
        });
        for one in claimed.iter().flatten() {
            self.claims.push((one.record.key, one.attempt, one.fence));
        }
        answer(bench, plain(claimed))
    }

    async fn learn(&mut self, bench: &Bench, outcomes: &[(u8, Ending)], is_dropped: bool) -> String {
        let mut learned = BTreeMap::new();
        for (pick, ending) in outcomes {
            if self.claims.is_empty() {
                break;
            }
            let back = usize::from(*pick) % self.claims.len();
            let (key, attempt, fence) = self.claims[self.claims.len() - 1 - back];
            let outcome = ending.outcome(&reference(key, attempt));
            learned.insert((key, attempt, fence), Learned::Outcome { key, attempt, fence, outcome });
        }
        let learned: Vec<Learned> = learned.into_values().collect();
        if is_dropped {
            // A worker that dies between its load and its write.
            let keys: Vec<_> = learned.iter().map(Learned::key).collect();
            let (tx, loaded) = verbs::load(bench.store.as_ref(), &verbs::wanted(&keys)).await;
            drop(tx);
            return answer(bench, format!("{:?} {:?}", loaded.clients, loaded.messages));
        }
        let moved: Result<Moved, StoreError> = bench.mover().apply(&learned).await;
        answer(bench, plain(moved))
    }

    async fn report(&mut self, bench: &Bench, reports: &[Told]) -> String {
        let mut answers = Vec::new();
        for told in reports {
            let key = *picked(&self.messages, told.message);
            let own = reference(key, told.attempt.max(1));
            let own = if told.part > 0 { format!("{own}.{}", told.part) } else { own };
            let plain_report = match told.by {
                By::Reference | By::AnotherProvider => given::report(&own, told.state),
                By::Echo => given::echo(key, told.attempt.max(1), "", told.state),
                By::EchoAndReference => given::echo(key, told.attempt.max(1), &own, told.state),
                By::Shared => given::report("shared", told.state),
                By::Stranger => given::report("stranger", told.state),
            };
            let report = ProviderReport {
                part: if matches!(told.by, By::Echo) { told.part } else { 0 },
                done_date: format!("date {}", told.done_date),
                ..plain_report
            };
            let provider = if matches!(told.by, By::AnotherProvider) { "another" } else { PROVIDER };
            answers.push(plain(bench.store.store_reports(provider, &[report]).await));
        }
        answer(bench, answers.join(", "))
    }

    /// The first time ahead that a message names.
    async fn next_moment(&self, bench: &Bench) -> Option<Timestamp> {
        let mut moments = Vec::new();
        for client in &self.clients {
            for Message { record, state } in bench.messages(*client).await {
                moments.extend([state.timer_at, state.due_at, state.lease_until, Some(record.expire_at)]);
            }
        }
        moments.into_iter().flatten().filter(|at| *at > bench.clock.now()).min()
    }

    pub(super) fn entropy(&mut self) -> Entropy {
        self.drawn += 1;
        let mut bytes = [0; 10];
        bytes[2..].copy_from_slice(&self.drawn.to_be_bytes());
        Entropy(bytes)
    }
}

/// The reference that a provider gives to an attempt.
fn reference(key: MessageKey, attempt: i32) -> String {
    format!("{}/{attempt}", key.id)
}

pub(super) fn picked<T>(items: &[T], pick: u8) -> &T {
    &items[usize::from(pick) % items.len()]
}

/// The answer, with what the queue and the bell were told meanwhile.
pub(super) fn answer(bench: &Bench, answer: String) -> String {
    format!("{answer}; offered {:?}; rung {:?}", bench.queue.drain(), bench.bell.drain())
}

/// An answer in the words that both stores share.
pub(super) fn plain<T: Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Ok(done) => format!("{done:?}"),
        Err(error) => kind(&error).to_owned(),
    }
}

pub(super) fn kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::Conflict => "conflict",
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Uncertain(_) => "uncertain",
        StoreError::Refused(_) => "refused",
    }
}
