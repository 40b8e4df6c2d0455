//! A step, taken on any store through the use cases that take it in production.

use std::collections::BTreeMap;
use std::fmt::Debug;

use delivery::accept::decide::Decision;
use delivery::change::{Learned, Moved};
use delivery::model::{ClientState, IdempotencyKey, KeyKind, Message, MessageKey};
use delivery::port::{Claim, PurgeLimits, StoreError};
use delivery::top_up::{self, TopUp, TopUpError};
use delivery::{inbox, reconcile, sweep};
use ledger::{CaptureOn, Policy, SettleUnreported};
use message::Timestamp;
use message::id::ClientId;
use message::parts::ReferenceBits;
use message::report::ProviderReport;
use message::status::OnUnknown;

use super::step::{By, Ending, Send, Step, Told};
use crate::bench::Bench;
use crate::given::{self, PROVIDER};
use crate::verbs;

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
            Step::CreateClient { captures_on_sent, releases_unreported } => {
                self.create_client(bench, *captures_on_sent, *releases_unreported).await
            }
            Step::TopUp { client, amount, key } => self.top_up(bench, *client, *amount, *key).await,
            Step::Accept { sends, is_dropped } => self.accept(bench, sends, *is_dropped).await,
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
            Step::Suspend { client, is_suspended } => {
                let state = if *is_suspended { ClientState::Suspended } else { ClientState::Active };
                let id = *picked(&self.clients, *client);
                answer(bench, plain(bench.store.set_client_state(id, state, "a step").await))
            }
            Step::Reconcile { client } => self.reconcile(bench, *picked(&self.clients, *client)).await,
            Step::Trim { client, through } => {
                let id = *picked(&self.clients, *client);
                answer(bench, plain(bench.store.trim_events(id, *through).await))
            }
            Step::Purge { age, limit } => {
                let before = bench.clock.now() - *age;
                let limits = PurgeLimits { keys_before: before, reports_before: before, refs_before: before };
                answer(bench, plain(bench.store.purge(&limits, *limit).await))
            }
        }
    }

    async fn create_client(&mut self, bench: &Bench, on_sent: bool, releases: bool) -> String {
        let id = ClientId::new(bench.clock.now(), self.entropy());
        let mut client = given::client(id, bench.clock.now());
        client.policy = Policy {
            capture_on: if on_sent { CaptureOn::Sent } else { CaptureOn::Delivered },
            settle_unreported: if releases { SettleUnreported::Release } else { SettleUnreported::Capture },
        };
        self.clients.push(id);
        answer(bench, plain(bench.store.create_client(&client).await))
    }

    async fn top_up(&mut self, bench: &Bench, client: u8, amount_micros: i64, key: u8) -> String {
        let client = *picked(&self.clients, client);
        let idempotency_key = format!("key-{key}");
        self.keys.push(IdempotencyKey { client, kind: KeyKind::TopUp, key: idempotency_key.clone() });
        let request =
            TopUp { client, amount_micros, currency: String::new(), idempotency_key, note: "a step".into() };
        let done = top_up::top_up(bench.store.as_ref(), bench.bell.as_ref(), &bench.timing, &request).await;
        let done = done.map_err(|error| match error {
            TopUpError::Store(error) => kind(&error).to_owned(),
            other => format!("{other:?}"),
        });
        answer(bench, format!("{done:?}"))
    }

    async fn accept(&mut self, bench: &Bench, sends: &[Send], is_dropped: bool) -> String {
        let batch: Vec<_> =
            sends.iter().map(|send| given::submission(self.prepare(send), self.entropy())).collect();
        self.keys.extend(batch.iter().filter_map(delivery::accept::decide::Submission::idempotency_key));
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

    fn prepare(&self, send: &Send) -> delivery::accept::Prepared {
        let client = *picked(&self.clients, send.client);
        let body = format!("body {}", send.body);
        let plain = if send.key == 0 {
            given::prepared(client)
        } else {
            given::keyed(client, &format!("key-{}", send.key), &body)
        };
        delivery::accept::Prepared {
            content: given::text(&body),
            reference_bits: ReferenceBits::Sixteen,
            part_count: send.parts,
            price_micros: send.price,
            on_unknown: if send.resends { OnUnknown::Resend } else { OnUnknown::Wait },
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

    async fn reconcile(&mut self, bench: &Bench, client: ClientId) -> String {
        let audited = reconcile::audit(bench.store.as_ref(), &bench.timing, client).await;
        let (audit, checkpoint) = audited.expect("the books are read").expect("the client is there");
        assert!(!audit.is_broken, "{audit:?}");
        let written = plain(bench.store.write_checkpoint(client, checkpoint).await);
        answer(bench, format!("{audit:?} {checkpoint:?} {written}"))
    }

    /// The first time ahead that a message names.
    async fn next_moment(&self, bench: &Bench) -> Option<Timestamp> {
        let mut moments = Vec::new();
        for client in &self.clients {
            let messages = bench.store.messages(*client, None, verbs::ALL).await.expect("they are listed");
            for Message { record, state } in messages {
                moments.extend([state.timer_at, state.due_at, state.lease_until, Some(record.expire_at)]);
            }
        }
        moments.into_iter().flatten().filter(|at| *at > bench.clock.now()).min()
    }

    fn entropy(&mut self) -> message::id::Entropy {
        self.drawn += 1;
        let mut bytes = [0; 10];
        bytes[2..].copy_from_slice(&self.drawn.to_be_bytes());
        message::id::Entropy(bytes)
    }
}

/// The reference that a provider gives to an attempt.
fn reference(key: MessageKey, attempt: i32) -> String {
    format!("{}/{attempt}", key.id)
}

fn picked<T>(items: &[T], pick: u8) -> &T {
    &items[usize::from(pick) % items.len()]
}

/// The answer, with what the queue and the bell were told meanwhile.
fn answer(bench: &Bench, answer: String) -> String {
    format!("{answer}; offered {:?}; rung {:?}", bench.queue.drain(), bench.bell.drain())
}

/// An answer in the words that both stores share.
fn plain<T: Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Ok(done) => format!("{done:?}"),
        Err(error) => kind(&error).to_owned(),
    }
}

fn kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::Conflict => "conflict",
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Uncertain(_) => "uncertain",
        StoreError::Refused(_) => "refused",
    }
}
