//! The audit trail: which operator's key did what, to what, and what was there before and after.

use delivery::model::AuditEntry;
use message::Timestamp;
use message::id::{AuditEntryId, ClientId, Entropy};
use tonic::Status;

use super::convert::entropy;
use crate::app::App;
use crate::auth::Principal;
use crate::layers::request_id;
use crate::status;

/// What was done. No field may hold a secret, a message's text or a recipient's number.
#[derive(Clone, Debug)]
pub struct Deed {
    /// As in `BillingService.TopUp`.
    pub action: &'static str,
    /// The client that it was done for, or to.
    pub client: Option<ClientId>,
    /// What it was done to; empty when the client or the action says it.
    pub target: String,
    /// JSON; empty if there was nothing.
    pub before: String,
    /// JSON; empty if there is nothing.
    pub after: String,
    pub note: String,
}

/// Who does it, in which call.
#[derive(Clone, Debug)]
pub struct Author {
    /// Empty = the server itself.
    key_id: String,
    request_id: String,
}

impl Deed {
    pub fn new(action: &'static str, client: Option<ClientId>) -> Self {
        let empty = String::new;
        Self { action, client, target: empty(), before: empty(), after: empty(), note: empty() }
    }

    pub fn target(self, target: impl Into<String>) -> Self {
        Self { target: target.into(), ..self }
    }

    pub fn change(self, before: impl Into<String>, after: impl Into<String>) -> Self {
        Self { before: before.into(), after: after.into(), ..self }
    }

    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }
}

impl Author {
    /// The operator, in the call that this runs for.
    pub fn of(operator: &Principal) -> Self {
        let request_id = request_id::current().map(|id| id.as_str().to_owned()).unwrap_or_default();
        Self { key_id: operator.key_id.clone(), request_id }
    }

    /// The server itself, as when it is set up.
    pub fn server() -> Self {
        Self { key_id: String::new(), request_id: String::new() }
    }

    /// The entry of a deed at `at`, the database's time; and, of an operator, its line in the log.
    pub fn entry(&self, at: Timestamp, deed: Deed) -> AuditEntry {
        self.log(deed.client, deed.action);
        self.silent_entry(at, entropy(), deed)
    }

    /// The line in the log; nothing of the server's own deeds.
    pub fn log(&self, client: Option<ClientId>, method: &'static str) {
        if !self.key_id.is_empty() {
            log(&self.key_id, client, method);
        }
    }

    /// The entry alone, for a deed that may still be refused or tried again.
    pub fn silent_entry(&self, at: Timestamp, entropy: Entropy, deed: Deed) -> AuditEntry {
        AuditEntry {
            id: AuditEntryId::new(at, entropy),
            at,
            key_id: self.key_id.clone(),
            client: deed.client,
            action: deed.action.to_owned(),
            target: deed.target,
            before: deed.before,
            after: deed.after,
            note: deed.note,
            request_id: self.request_id.clone(),
        }
    }
}

/// The entry of what the operator does in this call, to be written with the change, and its line in the log.
pub async fn entry(app: &App, operator: &Principal, deed: Deed) -> Result<AuditEntry, Status> {
    let at = app.store.now().await.map_err(status::store_error)?;
    Ok(Author::of(operator).entry(at, deed))
}

/// One line for each use of an operator's key: which key, for or on which client, and what.
pub fn log(key_id: &str, client: Option<ClientId>, method: &'static str) {
    let client = client.map(tracing::field::display);
    tracing::info!(
        target: "herald::audit",
        key_id, client_id = client, method,
        "operator's key {key_id} called {method}"
    );
}
