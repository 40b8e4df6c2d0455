//! Adjustment: corrects available credit, up or down.

use message::event::EventType;
use message::fingerprint::Fingerprint;
use message::id::ClientId;

use crate::credit::{self, CreditError, Order, Receipt};
use crate::model::{AuditEntry, KeyKind};
use crate::port::{Bell, Store};
use crate::timing::Timing;

/// A valid request.
#[derive(Clone, Debug)]
pub struct Adjustment {
    pub client: ClientId,
    /// Above or below zero.
    pub delta_micros: i64,
    pub idempotency_key: String,
    pub note: String,
}

/// Books an adjustment, or answers the first one again.
pub async fn adjust(
    store: &dyn Store,
    bell: &dyn Bell,
    timing: &Timing,
    request: &Adjustment,
    audit: Option<&AuditEntry>,
) -> Result<Receipt, CreditError> {
    let fingerprint = Fingerprint::builder("adjust.v1")
        .int("delta_micros", request.delta_micros)
        .field("note", request.note.as_bytes())
        .finish();
    let order = Order {
        client: request.client,
        currency: "",
        kind: KeyKind::Adjust,
        key: &request.idempotency_key,
        fingerprint,
        event: EventType::CreditAdjusted,
        note: &request.note,
        audit,
    };
    credit::book(store, bell, timing, &order, |balance| balance.adjust(request.delta_micros)).await
}
