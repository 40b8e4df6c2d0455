//! Dead letters, and reports that nobody waits for.

use std::collections::{BTreeMap, BTreeSet};

use delivery::model::{DeadLetter, Message, MessageKey};
use delivery::port::{DeadLetterFilter, Scanned, UnmatchedReport};
use message::Timestamp;
use message::id::MessageId;

use super::State;
use super::scan::scanned;

/// A dead letter, with its message.
type Letter = (DeadLetter, Message);

impl State {
    /// Those of `keys` that are dead letters, and what each was replayed as.
    pub(super) fn replays_of(&self, keys: &BTreeSet<MessageKey>) -> BTreeMap<MessageKey, Option<MessageId>> {
        keys.iter().filter_map(|key| Some((*key, self.dead_letters.get(key)?.replayed_as))).collect()
    }

    pub(super) fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        before: Option<(Timestamp, MessageKey)>,
        limit: i64,
        scan: i64,
    ) -> Scanned<Letter, (Timestamp, MessageKey)> {
        let is_in_time = |at: Timestamp| {
            filter.ended_from.is_none_or(|from| at >= from)
                && filter.ended_before.is_none_or(|before| at < before)
        };
        let places: BTreeSet<(Timestamp, MessageKey)> =
            self.dead_letters.values().map(|letter| (letter.at, letter.key)).collect();
        let older = places
            .into_iter()
            .rev()
            .filter(|(at, key)| is_in_time(*at) && before.is_none_or(|before| (*at, *key) < before));
        let rows = older.map(|place| {
            let letter = self.letter(place.1).filter(|(letter, _)| shows(filter, letter));
            (place, letter)
        });
        scanned(rows, limit, scan)
    }

    pub(super) fn dead_letters_of(&self, ids: &[MessageId]) -> Vec<Letter> {
        let keys = self.dead_letters.keys().filter(|key| ids.contains(&key.id));
        keys.filter_map(|key| self.letter(*key)).collect()
    }

    fn letter(&self, key: MessageKey) -> Option<Letter> {
        Some((self.dead_letters.get(&key)?.clone(), self.message(key)?))
    }

    pub(super) fn list_unmatched(
        &self,
        provider: &str,
        before: Option<i64>,
        limit: i64,
        scan: i64,
    ) -> Scanned<UnmatchedReport, i64> {
        let open = self
            .reports
            .iter()
            .rev()
            .filter(|(id, row)| !row.is_done && before.is_none_or(|before| **id < before));
        let rows = open.map(|(id, row)| {
            let is_shown = self.target(row).is_none() && (provider.is_empty() || row.provider == provider);
            let report = UnmatchedReport {
                id: *id,
                provider: row.provider.clone(),
                report: row.report.clone(),
                stored_at: row.stored_at,
            };
            (*id, is_shown.then_some(report))
        });
        scanned(rows, limit, scan)
    }
}

fn shows(filter: &DeadLetterFilter, letter: &DeadLetter) -> bool {
    filter.client.is_none_or(|client| letter.key.client == client)
        && (filter.provider.is_empty() || letter.provider == filter.provider)
        && filter.reason.is_none_or(|reason| letter.failure.reason == reason)
        && !(filter.open_only && letter.replayed_as.is_some())
}
