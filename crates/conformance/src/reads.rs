//! What a claim reads of a store, one line each. A verb that fails fails the claim.

use delivery::model::{AuditEntry, Client, Head, Message, MessageKey, OpenMessage};
use delivery::port::{AuditFilter, Books, ClientFilter, MessageFilter, PendingReport};
use delivery::reconcile::{self, Audit};
use message::event::Event;
use message::id::ClientId;

use crate::bench::Bench;
use crate::verbs::{ALL, load, wanted};

impl Bench {
    pub async fn message(&self, key: MessageKey) -> Message {
        let found = self.store.message(key.client, key.id).await.expect("the message is read");
        found.expect("the message is there")
    }

    /// All of the client's messages, newest first.
    pub async fn messages(&self, client: ClientId) -> Vec<Message> {
        let page = self.store.messages(client, &MessageFilter::default(), None, ALL, ALL).await;
        page.expect("the messages are listed").items
    }

    /// All clients, ascending.
    pub async fn clients(&self) -> Vec<Client> {
        let page = self.store.clients(&ClientFilter::default(), None, ALL, ALL).await;
        page.expect("the clients are listed").items
    }

    pub async fn open_message(&self, key: MessageKey) -> OpenMessage {
        let (_tx, mut loaded) = load(self.store.as_ref(), &wanted(&[key])).await;
        loaded.messages.remove(&key).expect("the message is there")
    }

    pub async fn head(&self, client: ClientId) -> Head {
        self.store.client(client).await.expect("the client is read").expect("the client is there").1
    }

    /// (available, held)
    pub async fn balance(&self, client: ClientId) -> (i64, i64) {
        let balance = self.head(client).await.balance;
        (balance.available(), balance.held())
    }

    pub async fn events(&self, client: ClientId) -> Vec<Event> {
        self.store.events(client, 0, ALL).await.expect("the log is read").events
    }

    pub async fn books(&self, client: ClientId) -> Books {
        let books = self.store.books(client, self.clock.now()).await.expect("the books are read");
        books.expect("the client is there")
    }

    pub async fn audit(&self, client: ClientId) -> Audit {
        let audited = reconcile::audit(self.store.as_ref(), &self.timing, client).await;
        audited.expect("the books are read").expect("the client is there").0
    }

    /// The books are clean, the log has no gap, and each message's history is a chain of its events.
    pub async fn assert_sound(&self, client: ClientId) {
        let audit = self.audit(client).await;
        assert_eq!(audit.violations, Vec::<String>::new());
        let page = self.store.events(client, 0, ALL).await.expect("the log is read");
        let seqs: Vec<i64> = page.events.iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (page.oldest_seq..=page.last_seq).collect::<Vec<_>>(), "the log has no gap");
    }

    pub async fn pending(&self) -> Vec<PendingReport> {
        self.store.pending_reports(0, ALL).await.expect("the inbox is read")
    }

    pub async fn due(&self) -> Vec<MessageKey> {
        let timers = self.store.due_timers(ALL).await.expect("the timers are read");
        timers.into_iter().map(|timer| timer.key).collect()
    }

    /// The whole audit log, newest first.
    pub async fn audit_log(&self) -> Vec<AuditEntry> {
        let page = self.store.audit_entries(&AuditFilter::default(), None, ALL, ALL).await;
        page.expect("the audit log is read").items
    }
}
