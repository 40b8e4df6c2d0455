//! Books decisions into a plan: gives each event its `seq`, chains it to its message's history, and moves the
//! balances. One book is kept per transaction.

use std::collections::BTreeMap;

use ledger::{Balance, LedgerError, Movement, Resolution};
use message::event::{DeliveryReport, Event, EventType, Transaction};
use message::id::{ClientId, MessageId};
use message::time::Timestamp;

use crate::model::{Client, DeadLetter, Head, MessageKey, OpenMessage};
use crate::plan::{Loaded, Plan, StateChange};
use crate::port::Ring;
use crate::transition::{Change, News};

/// The open page of one transaction.
#[derive(Debug)]
pub struct Book {
    pub now: Timestamp,
    pub clients: BTreeMap<ClientId, (Client, Head)>,
    pub plan: Plan,
}

/// What an event is about, apart from its number and its balances.
pub struct Entry {
    pub kind: EventType,
    pub previous_seq: i64,
    pub report: Option<DeliveryReport>,
    pub movement: Option<(Movement, Option<MessageId>, String)>,
}

impl Book {
    /// Takes the clients out of `loaded`.
    pub fn open(loaded: &mut Loaded) -> Self {
        Self { now: loaded.now, clients: std::mem::take(&mut loaded.clients), plan: Plan::default() }
    }

    pub fn balance(&self, client: ClientId) -> Balance {
        self.clients.get(&client).map(|(_, head)| head.balance).unwrap_or_default()
    }

    /// Appends one event and makes `balance` the client's. Answers its `seq`.
    pub fn append(&mut self, client: ClientId, balance: Balance, entry: Entry) -> i64 {
        let Some((_, head)) = self.clients.get_mut(&client) else { return 0 };
        head.last_seq += 1;
        head.balance = balance;
        self.plan.events.push(Event {
            client,
            seq: head.last_seq,
            kind: entry.kind,
            at: self.now,
            previous_seq: entry.previous_seq,
            report: entry.report,
            transaction: entry.movement.map(|(movement, message, note)| Transaction {
                kind: movement.kind,
                message,
                available_delta: movement.available_delta,
                held_delta: movement.held_delta,
                note,
            }),
            available_after: balance.available(),
            held_after: balance.held(),
        });
        head.last_seq
    }

    /// Books a change of an existing message.
    pub fn record(&mut self, message: &OpenMessage, change: Change) -> Result<(), LedgerError> {
        let Change { mut state, news, resolution, is_dead_letter, .. } = change;
        let key = message.key;
        let mut balance = self.balance(key.client);
        let last = news.len().saturating_sub(1);
        for (index, news) in news.into_iter().enumerate() {
            let mut movement = None;
            if let (Some(resolution), true) = (resolution, index == last) {
                let (after, moved) = resolve(balance, resolution, message.price_micros)?;
                balance = after;
                movement = Some((moved, Some(key.id), String::new()));
            }
            let report = report_of(message, &state, &news);
            let entry =
                Entry { kind: news.kind, previous_seq: state.last_event_seq, report: Some(report), movement };
            state.last_event_seq = self.append(key.client, balance, entry);
        }
        if is_dead_letter && let Some(failure) = state.failure.clone() {
            self.plan.dead_letters.push(DeadLetter {
                key,
                provider: state.provider.clone(),
                failure,
                has_unknown_attempt: state.has_open_earlier_attempt,
                at: self.now,
                replayed_as: None,
            });
        }
        self.plan.states.push(StateChange {
            key,
            fence_before: message.state.fence,
            timer_before: message.state.timer_at,
            resolves_lock: resolution.is_some(),
            state,
        });
        Ok(())
    }

    /// Closes the book: the plan, and the bell to ring once it is committed.
    pub fn close(mut self) -> (Plan, Vec<Ring>) {
        let mut rings: BTreeMap<ClientId, i64> = BTreeMap::new();
        for event in &self.plan.events {
            rings.insert(event.client, event.seq);
        }
        self.plan.heads =
            rings.keys().filter_map(|id| self.clients.get(id).map(|(_, head)| (*id, *head))).collect();
        let rings = rings.into_iter().map(|(client, last_seq)| Ring { client, last_seq }).collect();
        (self.plan, rings)
    }
}

fn resolve(balance: Balance, how: Resolution, price: i64) -> Result<(Balance, Movement), LedgerError> {
    match how {
        Resolution::Capture => balance.capture(price),
        Resolution::Release => balance.release(price),
    }
}

fn report_of(message: &OpenMessage, state: &crate::model::MessageState, news: &News) -> DeliveryReport {
    DeliveryReport {
        message: message.key.id,
        reference: message.reference.clone(),
        to: message.to.clone(),
        status: news.status,
        previous: news.previous,
        part: news.part,
        attempt: news.attempt,
        provider: state.provider.clone(),
        provider_ref: state.provider_refs.first().cloned().unwrap_or_default(),
        failure: news.failure.clone(),
        next_attempt_at: news.next_attempt_at,
        ignored: news.ignored,
    }
}

/// The clients of these messages, to lock first.
pub fn clients_of<'a>(
    keys: impl IntoIterator<Item = &'a MessageKey>,
) -> std::collections::BTreeSet<ClientId> {
    keys.into_iter().map(|key| key.client).collect()
}
