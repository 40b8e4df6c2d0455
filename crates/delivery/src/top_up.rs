//! Top-up: adds prepaid credit.

use message::event::EventType;
use message::fingerprint::Fingerprint;
use message::id::ClientId;

use crate::credit::{self, Order};
pub use crate::credit::{CreditError, Receipt};
use crate::model::{AuditEntry, KeyKind};
use crate::port::{Bell, Store};
use crate::timing::Timing;

/// A valid request.
#[derive(Clone, Debug)]
pub struct TopUp {
    pub client: ClientId,
    /// Above zero.
    pub amount_micros: i64,
    /// As a guard: empty, or the client's.
    pub currency: String,
    pub idempotency_key: String,
    pub note: String,
}

/// Books a top-up, or answers the first one again.
pub async fn top_up(
    store: &dyn Store,
    bell: &dyn Bell,
    timing: &Timing,
    request: &TopUp,
    audit: Option<&AuditEntry>,
) -> Result<Receipt, CreditError> {
    let fingerprint = Fingerprint::builder("top_up.v1")
        .int("amount_micros", request.amount_micros)
        .field("note", request.note.as_bytes())
        .finish();
    let order = Order {
        client: request.client,
        currency: &request.currency,
        kind: KeyKind::TopUp,
        key: &request.idempotency_key,
        fingerprint,
        event: EventType::CreditToppedUp,
        note: &request.note,
        audit,
    };
    credit::book(store, bell, timing, &order, |balance| balance.top_up(request.amount_micros)).await
}
