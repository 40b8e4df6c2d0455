//! Lists that are filtered while they are read.

use delivery::port::Scanned;

use super::first;

/// Looks at `scan` of the rows at most, and answers `limit` at most of those that are to be shown. Each row comes
/// with its place in the list.
pub(super) fn scanned<T, C: Copy>(
    rows: impl Iterator<Item = (C, Option<T>)>,
    limit: i64,
    scan: i64,
) -> Scanned<T, C> {
    let window = first(rows, scan);
    let is_cut = window.len() as i64 == scan;
    let end = window.last().map(|(place, _)| *place);
    let items = first(window.into_iter().filter_map(|(_, item)| item), limit);
    let is_full = items.len() as i64 == limit;
    Scanned { items, scanned_to: end.filter(|_| is_cut && !is_full) }
}
