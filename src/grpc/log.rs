//! Reading a client's event log: where to start, and pages of it.

use delivery::watch::{Start, check_position};
use message::id::ClientId;
use tonic::Status;

use super::filter::Filter;
use crate::app::App;
use crate::status;

/// Events read at once, and events looked at for one page when the filter hides most of them.
const READ: i64 = 500;
const LOOKED_AT_MAX: usize = 5_000;

/// A page of the log.
pub struct LogPage<T> {
    pub items: Vec<T>,
    /// The position after the page.
    pub resume_token: String,
    /// The page reached the end of the log.
    pub caught_up: bool,
}

/// Where a subscription starts.
pub fn start(app: &App, client: ClientId, token: &str, from_oldest: bool) -> Result<Start, Status> {
    match (token.is_empty(), from_oldest) {
        (false, true) => Err(status::invalid_field("from_oldest", "does not go together with resume_token")),
        (false, false) => position(app, client, token).map(Start::After),
        (true, true) => Ok(Start::Oldest),
        (true, false) => Ok(Start::Latest),
    }
}

/// The position in a resume token of this client.
fn position(app: &App, client: ClientId, token: &str) -> Result<i64, Status> {
    app.tokens.open_resume(token, client).map_err(|_| status::resume_token_invalid())
}

/// The page after `token` (empty = at the oldest event kept): up to `size` items that the filter shows.
pub async fn page<F: Filter>(
    app: &App,
    client: ClientId,
    filter: &F,
    token: &str,
    size: usize,
) -> Result<LogPage<F::Item>, Status> {
    let mut cursor = match token {
        "" => None,
        token => Some(position(app, client, token)?),
    };
    let (mut items, mut looked_at, mut caught_up) = (Vec::new(), 0, false);
    while items.len() < size && looked_at < LOOKED_AT_MAX && !caught_up {
        let read = app.store.events(client, cursor.unwrap_or(0), READ).await.map_err(status::store_error)?;
        let after = match cursor {
            None => read.oldest_seq - 1,
            Some(cursor) => check_position(cursor, read.oldest_seq, read.last_seq)
                .map_err(|error| status::watch_error(error, |oldest| app.tokens.resume(client, oldest)))?,
        };
        let mut seen = after;
        for event in &read.events {
            if items.len() == size {
                break;
            }
            seen = event.seq;
            looked_at += 1;
            items.extend(filter.item(event));
        }
        caught_up = seen >= read.last_seq;
        cursor = Some(seen);
    }
    let resume_token = app.tokens.resume(client, cursor.unwrap_or(0));
    Ok(LogPage { items, resume_token, caught_up })
}
