//! What did not go as it should: dead letters, and reports that match no message.

use delivery::model::{DeadLetter, Message, MessageKey};
use delivery::port::{DeadLetterFilter, UnmatchedReport};
use message::Timestamp;
use message::id::{ClientId, MessageId};
use prost::Message as _;
use tonic::{Response, Status};
use uuid::Uuid;

use super::check_word;
use crate::app::App;
use crate::grpc::convert::letter::{dead_letter, unmatched_report};
use crate::grpc::convert::{read_reason, read_timestamp};
use crate::grpc::faults::Faults;
use crate::grpc::page;
use crate::proto::v1;
use crate::status;
use crate::token::PageOf;

/// A dead letter's place in its list: when it ended, its client, its id.
const PLACE: usize = 8 + 16 + 16;

pub async fn list(
    app: &App,
    asked: v1::ListDeadLettersRequest,
) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
    let mut faults = Faults::default();
    let size = page::size(&mut faults, asked.page_size);
    let filter = read_filter(&mut faults, &asked);
    faults.into_result()?;
    let (list, tokens) = (list_of(&filter), &app.tokens);
    let before = page::cursor(tokens, page::OPERATORS, &list, &asked.page_token)?.map(read_place);

    let read = app.store.dead_letters(&filter, before, page::read_limit(size), page::SCAN_MAX).await;
    let read = read.map_err(status::store_error)?;
    let (letters, mut next_page_token) =
        page::cut_scanned(tokens, page::OPERATORS, &list, read, size, place, cursor);
    let mut dead_letters: Vec<v1::DeadLetter> =
        letters.iter().map(|(letter, message)| dead_letter(letter, message)).collect();
    if page::fit(&mut dead_letters, v1::DeadLetter::encoded_len) {
        let last = &letters[dead_letters.len() - 1];
        next_page_token = tokens.page(page::OPERATORS, &list, &cursor(place(last)));
    }
    Ok(Response::new(v1::ListDeadLettersResponse { dead_letters, next_page_token }))
}

pub async fn list_unmatched(
    app: &App,
    asked: v1::ListUnmatchedReportsRequest,
) -> Result<Response<v1::ListUnmatchedReportsResponse>, Status> {
    let mut faults = Faults::default();
    let size = page::size(&mut faults, asked.page_size);
    check_word(&mut faults, "provider", &asked.provider);
    faults.into_result()?;
    let (list, tokens) = (PageOf::new("unmatched_reports", &[&asked.provider]), &app.tokens);
    let before = page::cursor(tokens, page::OPERATORS, &list, &asked.page_token)?;
    let before = before.map(i64::from_be_bytes);

    let store = &app.store;
    let read = store.unmatched_reports(&asked.provider, before, page::read_limit(size), page::SCAN_MAX).await;
    let read = read.map_err(status::store_error)?;
    let place = |last: &UnmatchedReport| last.id;
    let cursor = |id: i64| id.to_be_bytes().to_vec();
    let (reports, next_page_token) =
        page::cut_scanned(tokens, page::OPERATORS, &list, read, size, place, cursor);
    let reports = reports.iter().map(unmatched_report).collect();
    Ok(Response::new(v1::ListUnmatchedReportsResponse { reports, next_page_token }))
}

fn read_filter(faults: &mut Faults, asked: &v1::ListDeadLettersRequest) -> DeadLetterFilter {
    check_word(faults, "provider", &asked.provider);
    DeadLetterFilter {
        client: (!asked.client_id.is_empty())
            .then(|| faults.take("client_id", asked.client_id.parse::<ClientId>()))
            .flatten(),
        provider: asked.provider.clone(),
        reason: read_reason(faults, "reason", asked.reason),
        ended_from: read_timestamp(faults, "created_after", asked.created_after),
        ended_before: read_timestamp(faults, "created_before", asked.created_before),
        open_only: asked.open_only,
    }
}

fn list_of(filter: &DeadLetterFilter) -> PageOf {
    let time = |at: Option<Timestamp>| at.map(|at| at.as_micros().to_string()).unwrap_or_default();
    PageOf::new(
        "dead_letters",
        &[
            &filter.client.map(|id| id.to_string()).unwrap_or_default(),
            &filter.provider,
            filter.reason.map_or("", |reason| reason.as_str()),
            &time(filter.ended_from),
            &time(filter.ended_before),
            if filter.open_only { "open" } else { "" },
        ],
    )
}

fn place((letter, _): &(DeadLetter, Message)) -> (Timestamp, MessageKey) {
    (letter.at, letter.key)
}

fn cursor((at, key): (Timestamp, MessageKey)) -> Vec<u8> {
    let mut cursor = at.as_micros().to_be_bytes().to_vec();
    cursor.extend(key.client.as_uuid().as_bytes());
    cursor.extend(key.id.as_uuid().as_bytes());
    cursor
}

fn read_place(cursor: [u8; PLACE]) -> (Timestamp, MessageKey) {
    let (mut at, mut client, mut id) = ([0; 8], [0; 16], [0; 16]);
    at.copy_from_slice(&cursor[..8]);
    client.copy_from_slice(&cursor[8..24]);
    id.copy_from_slice(&cursor[24..]);
    let key = MessageKey {
        client: ClientId::from_uuid(Uuid::from_bytes(client)),
        id: MessageId::from_uuid(Uuid::from_bytes(id)),
    };
    (Timestamp::from_micros(i64::from_be_bytes(at)), key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use message::id::Entropy;

    use super::*;

    #[test]
    fn a_place_reads_back_from_its_cursor() {
        let at = Timestamp::from_micros(-1_700_000_000_123_456);
        let key = MessageKey {
            client: ClientId::new(Timestamp::from_micros(1), Entropy([1; 10])),
            id: MessageId::new(Timestamp::from_micros(2), Entropy([2; 10])),
        };
        assert_eq!(read_place(cursor((at, key)).try_into().unwrap()), (at, key));
    }
}
