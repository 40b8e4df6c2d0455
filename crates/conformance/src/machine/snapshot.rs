//! Everything that can be read of a store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use delivery::model::{
    AuditEntry, Client, DeadLetter, Head, IdempotencyKey, Message, MessageKey, RememberedCall,
};
use delivery::port::{Books, DeadLetterFilter, Due, EventPage, ReportTarget, Timer, TransactionFilter};
use message::Timestamp;
use message::event::Event;
use message::id::ClientId;
use message::report::ProviderReport;

use super::run::{Session, plain};
use crate::bench::Bench;
use crate::verbs::ALL;

/// Without the ids of inbox rows, which are each store's own.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    clients: BTreeMap<ClientId, Option<(Client, Head)>>,
    listed: Vec<Client>,
    last_seqs: BTreeSet<(ClientId, i64)>,
    messages: BTreeMap<ClientId, Vec<Message>>,
    events: BTreeMap<ClientId, EventPage>,
    books: BTreeMap<ClientId, Option<Books>>,
    due: Vec<Timer>,
    backlog: Vec<Due>,
    pending: Vec<(String, ProviderReport, ReportTarget, Timestamp)>,
    unmatched: Vec<(String, ProviderReport, Timestamp)>,
    dead_letters: Vec<(DeadLetter, Message)>,
    audit_log: Vec<AuditEntry>,
    histories: BTreeMap<MessageKey, Vec<Event>>,
    transactions: BTreeMap<ClientId, Vec<Event>>,
    /// Refused when a sum is past what it can hold.
    totals: BTreeMap<ClientId, String>,
    remembered: BTreeMap<IdempotencyKey, Option<RememberedCall>>,
}

impl Snapshot {
    /// `self` is the store's.
    pub(super) fn assert_same(&self, model: &Self) {
        same("clients", &self.clients, &model.clients);
        same("the list of clients", &self.listed, &model.listed);
        same("last seqs", &self.last_seqs, &model.last_seqs);
        same("messages", &self.messages, &model.messages);
        same("events", &self.events, &model.events);
        same("books", &self.books, &model.books);
        same("due timers", &self.due, &model.due);
        same("the backlog", &self.backlog, &model.backlog);
        same("pending reports", &self.pending, &model.pending);
        same("unmatched reports", &self.unmatched, &model.unmatched);
        same("dead letters", &self.dead_letters, &model.dead_letters);
        same("the audit log", &self.audit_log, &model.audit_log);
        same("histories", &self.histories, &model.histories);
        same("transactions", &self.transactions, &model.transactions);
        same("totals", &self.totals, &model.totals);
        same("remembered calls", &self.remembered, &model.remembered);
    }
}

fn same<T: PartialEq + Debug>(what: &str, store: &T, model: &T) {
    assert!(store == model, "{what} differ\nstore: {store:#?}\nmodel: {model:#?}");
}

/// What may have changed by any step.
pub(super) async fn brief(bench: &Bench, session: &Session) -> Snapshot {
    let store = bench.store.as_ref();
    let mut snapshot = Snapshot::default();
    for client in &session.clients {
        snapshot.clients.insert(*client, store.client(*client).await.unwrap());
        snapshot.messages.insert(*client, bench.messages(*client).await);
        snapshot.events.insert(*client, store.events(*client, 0, ALL).await.unwrap());
        snapshot.books.insert(*client, store.books(*client, bench.clock.now()).await.unwrap());
    }
    snapshot.due = store.due_timers(ALL).await.unwrap();
    snapshot.backlog = store.backlog(None, ALL).await.unwrap();
    let pending = store.pending_reports(0, ALL).await.unwrap().into_iter();
    snapshot.pending = pending.map(|row| (row.provider, row.report, row.target, row.stored_at)).collect();
    let unmatched = store.unmatched_reports("", None, ALL, ALL).await.unwrap().items.into_iter();
    snapshot.unmatched = unmatched.map(|row| (row.provider, row.report, row.stored_at)).collect();
    let all = DeadLetterFilter::default();
    snapshot.dead_letters = store.dead_letters(&all, None, ALL, ALL).await.unwrap().items;
    snapshot.audit_log = bench.audit_log().await;
    snapshot
}

/// All of it.
pub(super) async fn whole(bench: &Bench, session: &Session) -> Snapshot {
    let store = bench.store.as_ref();
    let mut snapshot = brief(bench, session).await;
    snapshot.listed = bench.clients().await;
    snapshot.last_seqs = store.last_seqs(&session.clients).await.unwrap().into_iter().collect();
    for key in &session.messages {
        snapshot.histories.insert(*key, store.history(key.client, key.id).await.unwrap());
    }
    for client in &session.clients {
        let filter = TransactionFilter::default();
        let found = store.transactions(*client, &filter, i64::MAX, ALL).await.unwrap();
        snapshot.transactions.insert(*client, found);
        snapshot.totals.insert(*client, plain(store.totals(*client, 0, i64::MAX).await));
    }
    for key in &session.keys {
        snapshot.remembered.insert(key.clone(), store.remembered(key).await.unwrap());
    }
    snapshot
}
