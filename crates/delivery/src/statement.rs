//! A client's credit over a period: from the balances in its log and the movements between.

use message::Timestamp;
use message::id::ClientId;

use crate::port::{EventPage, Store, StoreError, Total};

/// A period in figures. The opening balances plus the totals are the closing balances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub opening_available: i64,
    pub opening_held: i64,
    pub totals: Vec<Total>,
    pub closing_available: i64,
    pub closing_held: i64,
}

/// Why there is no statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Events before this `seq` are no longer kept, and the period needs one of them.
    #[error("events of the period are no longer kept")]
    AgedOut,
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// The statement of the events with `from <= at < before`.
pub async fn statement(
    store: &dyn Store,
    client: ClientId,
    from: Timestamp,
    before: Timestamp,
) -> Result<Statement, StatementError> {
    let ends = store.events(client, 0, 0).await?;
    let first = first_at_or_after(store, client, &ends, from).await?;
    let end = first_at_or_after(store, client, &ends, before).await?.max(first);
    // The balance before the oldest event that is kept is known only if that is the first of all.
    if first == ends.oldest_seq && ends.oldest_seq > 1 {
        return Err(StatementError::AgedOut);
    }
    let (opening_available, opening_held) = balances_before(store, client, first).await?;
    let (closing_available, closing_held) = balances_before(store, client, end).await?;
    let totals = store.totals(client, first, end).await?;
    Ok(Statement { opening_available, opening_held, totals, closing_available, closing_held })
}

/// The first `seq` of the log, as far as it is kept, whose event was written at `at` or later; one past the end if there
/// is none. `ends` are those of the log: what is written meanwhile is not looked at. Times never go back within a log,
/// so this is a search by halves.
pub async fn first_at_or_after(
    store: &dyn Store,
    client: ClientId,
    ends: &EventPage,
    at: Timestamp,
) -> Result<i64, StoreError> {
    let (mut low, mut high) = (ends.oldest_seq, ends.last_seq + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let page = store.events(client, middle - 1, 1).await?;
        match page.events.first() {
            Some(event) if event.seq == middle && event.at < at => low = middle + 1,
            Some(event) if event.seq == middle => high = middle,
            // It was removed in the meantime: all that is kept comes later.
            _ => low = middle + 1,
        }
    }
    Ok(low)
}

async fn balances_before(
    store: &dyn Store,
    client: ClientId,
    seq: i64,
) -> Result<(i64, i64), StatementError> {
    if seq <= 1 {
        return Ok((0, 0));
    }
    let page = store.events(client, seq - 2, 1).await?;
    let event = page.events.first().filter(|event| event.seq == seq - 1).ok_or(StatementError::AgedOut)?;
    Ok((event.available_after, event.held_after))
}
