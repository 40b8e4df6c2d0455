//! The hot path's verbs.

use std::collections::BTreeSet;

use async_trait::async_trait;
use delivery::model::MessageKey;
use delivery::port::{
    Claim, Claimed, Due, PendingReport, ReportTarget, Restock, StoreError, StoredReports, Timer, Transaction,
    WorkStore,
};
use message::Timestamp;
use message::report::ProviderReport;
use message::status::Status;

use super::state::{Ref, StoredReport};
use super::{ModelStore, State, check, first};

#[async_trait]
impl WorkStore for ModelStore {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(self.begin_transaction().await))
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, StoreError> {
        self.transact(|state, now| {
            let keys: BTreeSet<MessageKey> = claim.keys.iter().copied().collect();
            Ok(keys.into_iter().filter_map(|key| state.claim(key, claim, now)).collect())
        })
        .await
    }

    async fn store_reports(
        &self,
        provider: &str,
        reports: &[ProviderReport],
    ) -> Result<StoredReports, StoreError> {
        self.transact(|state, now| {
            reports.iter().try_for_each(check::report)?;
            let mut counts = StoredReports::default();
            for report in reports {
                if state.store_report(provider, report, now) {
                    counts.new += 1;
                } else {
                    counts.duplicate += 1;
                }
            }
            Ok(counts)
        })
        .await
    }

    async fn pending_reports(&self, after: i64, limit: i64) -> Result<Vec<PendingReport>, StoreError> {
        let state = self.state();
        let pending = state.reports.iter().filter_map(|(id, row)| {
            if row.is_done || *id <= after {
                return None;
            }
            Some(PendingReport {
                id: *id,
                provider: row.provider.clone(),
                report: row.report.clone(),
                target: state.target(row)?,
                stored_at: row.stored_at,
            })
        });
        Ok(first(pending, limit))
    }

    async fn due_timers(&self, limit: i64) -> Result<Vec<Timer>, StoreError> {
        let now = self.tick();
        let state = self.state();
        let due = state.timers.iter().filter(|(at, _)| *at <= now).map(|&(at, key)| Timer { at, key });
        Ok(first(due, limit))
    }

    async fn backlog(&self, before: Option<Timer>, limit: i64) -> Result<Vec<Due>, StoreError> {
        let now = self.tick();
        let state = self.state();
        let is_due = |key: &MessageKey| {
            let message = &state.states[key];
            message.status.is_claimable() && message.due_at.is_some_and(|due| due <= now)
        };
        let backlog = state
            .timers
            .iter()
            .rev()
            .filter(|timer| before.is_none_or(|before| **timer < (before.at, before.key)) && is_due(&timer.1))
            .filter_map(|(_, key)| Due::of(*key, &state.states[key], state.records[key].priority));
        Ok(first(backlog, limit))
    }

    async fn restock(&self) -> Result<Option<Restock>, StoreError> {
        Ok(self.state().restock.clone())
    }

    async fn note_restock(&self, was: Option<&Restock>, becomes: &Restock) -> Result<bool, StoreError> {
        self.transact(|state, _| {
            let is_same = state.restock.as_ref() == was;
            if is_same {
                state.restock = Some(becomes.clone());
            }
            Ok(is_same)
        })
        .await
    }
}

impl State {
    fn claim(&mut self, key: MessageKey, claim: &Claim, now: Timestamp) -> Option<Claimed> {
        let record = self.records.get(&key)?;
        let state = self.states.get_mut(&key)?;
        let is_due = state.due_at.is_some_and(|due| due <= now);
        if !state.status.is_claimable() || !is_due || record.expire_at <= now {
            return None;
        }
        state.status = Status::Sending;
        state.fence += 1;
        state.attempt += 1;
        state.due_at = None;
        state.lease_until = Some(now + claim.lease);
        state.provider.clone_from(&claim.provider);
        Some(Claimed { record: record.clone(), fence: state.fence, attempt: state.attempt, claimed_at: now })
    }

    /// `false` = it is there already.
    fn store_report(&mut self, provider: &str, report: &ProviderReport, now: Timestamp) -> bool {
        if !report.provider_ref.is_empty() && report.attempt_ref.is_none() {
            let name = (provider.to_owned(), report.provider_ref.clone());
            let row = self.refs.entry(name);
            row.or_insert(Ref { bound: None, is_reported: true, created_at: now }).is_reported = true;
        }
        let is_same = |row: &StoredReport| {
            let one = &row.report;
            row.provider == provider
                && one.provider_ref == report.provider_ref
                && one.attempt_ref == report.attempt_ref
                && one.state == report.state
                && one.part == report.part
                && one.done_date == report.done_date
        };
        if self.reports.values().any(is_same) {
            return false;
        }
        self.last_report += 1;
        let row = StoredReport {
            provider: provider.to_owned(),
            report: report.clone(),
            stored_at: now,
            is_done: false,
        };
        self.reports.insert(self.last_report, row);
        true
    }

    /// The message that a report speaks of, if it is known. Our own reference, echoed, is believed before the
    /// provider's.
    pub(super) fn target(&self, row: &StoredReport) -> Option<ReportTarget> {
        let name = (row.provider.clone(), row.report.provider_ref.clone());
        let bound = self.refs.get(&name).and_then(|row| row.bound);
        let Some(named) = row.report.attempt_ref else {
            return bound.map(|bound| ReportTarget {
                key: bound.key,
                attempt: bound.attempt,
                part: bound.part,
            });
        };
        let key = MessageKey { client: named.client, id: named.message };
        let part = bound.filter(|bound| bound.key == key).map_or(0, |bound| bound.part);
        Some(ReportTarget { key, attempt: named.attempt, part })
    }
}
