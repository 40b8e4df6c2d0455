//! What operators did.

use delivery::model::AuditEntry;
use delivery::port::{AuditFilter, Scanned, StoreError};
use message::id::AuditEntryId;

use super::scan::scanned;
use super::{State, refused};

impl State {
    pub(super) fn record(&mut self, entry: &AuditEntry) -> Result<(), StoreError> {
        match self.audit_log.insert(entry.id, entry.clone()) {
            Some(_) => Err(refused("the entry is there already")),
            None => Ok(()),
        }
    }

    pub(super) fn audit_entries(
        &self,
        filter: &AuditFilter,
        before: Option<AuditEntryId>,
        limit: i64,
        scan: i64,
    ) -> Scanned<AuditEntry, AuditEntryId> {
        let older = self.audit_log.iter().rev().filter(|(id, _)| before.is_none_or(|before| **id < before));
        scanned(older.map(|(id, entry)| (*id, shows(filter, entry).then(|| entry.clone()))), limit, scan)
    }
}

fn shows(filter: &AuditFilter, entry: &AuditEntry) -> bool {
    (filter.key_id.is_empty() || entry.key_id == filter.key_id)
        && (filter.client.is_none() || entry.client == filter.client)
        && (filter.action.is_empty() || entry.action == filter.action)
}
