//! The audit trail and the audit of the books.

use delivery::model::AuditEntry;
use delivery::reconcile::Audit;

use super::timestamp;
use crate::proto::v1;

pub fn audit_entry(entry: &AuditEntry) -> v1::AuditEntry {
    v1::AuditEntry {
        id: entry.id.to_string(),
        time: Some(timestamp(entry.at)),
        key_id: entry.key_id.clone(),
        client_id: entry.client.map(|client| client.to_string()).unwrap_or_default(),
        action: entry.action.clone(),
        target: entry.target.clone(),
        before: entry.before.clone(),
        after: entry.after.clone(),
        note: entry.note.clone(),
        request_id: entry.request_id.clone(),
    }
}

pub fn audit(audit: Audit) -> v1::AuditLedgerResponse {
    v1::AuditLedgerResponse {
        client_id: audit.client.to_string(),
        balance_drift_micros: audit.balance_drift,
        held_drift_micros: audit.held_drift,
        last_seq: audit.last_seq,
        violations: audit.violations,
    }
}
