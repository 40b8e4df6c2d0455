//! Pages of messages.

use delivery::model::Message;
use delivery::port::MessageFilter;
use message::PhoneNumber;
use message::id::{ClientId, MessageId};
use message::sender::Sender;
use message::time::Timestamp;
use prost::Message as _;
use tonic::Status;

use crate::app::App;
use crate::grpc::convert::message::brief;
use crate::grpc::convert::{read_status, read_timestamp};
use crate::grpc::faults::Faults;
use crate::grpc::filter::{STATUSES_MAX, check_reference};
use crate::grpc::page;
use crate::proto::v1;
use crate::status;
use crate::token::PageOf;

/// The page that is asked for.
pub async fn page(
    app: &App,
    client: ClientId,
    asked: v1::ListMessagesRequest,
) -> Result<v1::ListMessagesResponse, Status> {
    let mut faults = Faults::default();
    let size = page::size(&mut faults, asked.page_size);
    let filter = read_filter(&mut faults, &asked);
    faults.into_result()?;
    let (list, tokens) = (list_of(&filter), &app.tokens);
    let before = page::cursor(tokens, client, &list, &asked.page_token)?;
    let before = before.map(|id| MessageId::from_uuid(uuid::Uuid::from_bytes(id)));
    let read = app.store.messages(client, &filter, before, page::read_limit(size), page::SCAN_MAX).await;
    let read = read.map_err(status::store_error)?;
    let id = |last: &Message| last.record.key.id;
    let cursor = |id: MessageId| id.as_uuid().as_bytes().to_vec();
    let (read, mut next_page_token) = page::cut_scanned(tokens, client, &list, read, size, id, cursor);
    let mut messages: Vec<v1::Message> = read.iter().map(brief).collect();
    if page::fit(&mut messages, v1::Message::encoded_len) {
        next_page_token = tokens.page(client, &list, &cursor(id(&read[messages.len() - 1])));
    }
    Ok(v1::ListMessagesResponse { messages, next_page_token })
}

fn read_filter(faults: &mut Faults, asked: &v1::ListMessagesRequest) -> MessageFilter {
    faults.check("statuses", asked.statuses.len() <= STATUSES_MAX, "must have at most 16 entries");
    let numbers = asked.statuses.iter().take(STATUSES_MAX);
    let mut statuses: Vec<_> =
        numbers.filter_map(|number| read_status(faults, "statuses", *number)).collect();
    statuses.sort_unstable();
    statuses.dedup();
    let to = (!asked.to.is_empty()).then(|| faults.take("to", PhoneNumber::parse(&asked.to))).flatten();
    let sender =
        (!asked.sender.is_empty()).then(|| faults.take("sender", Sender::parse(&asked.sender))).flatten();
    check_reference(faults, &asked.reference);
    let created_from = read_timestamp(faults, "created_after", asked.created_after);
    let created_before = read_timestamp(faults, "created_before", asked.created_before);
    check_range(faults, created_from, created_before);
    MessageFilter {
        statuses,
        to,
        sender: sender.map(|sender| sender.as_str().to_owned()).unwrap_or_default(),
        reference: asked.reference.clone(),
        created_from,
        created_before,
    }
}

/// A range of times must not be empty.
pub fn check_range(faults: &mut Faults, from: Option<Timestamp>, before: Option<Timestamp>) {
    if let (Some(from), Some(before)) = (from, before) {
        faults.check("created_before", from < before, "must be after created_after");
    }
}

fn list_of(filter: &MessageFilter) -> PageOf {
    let statuses: Vec<&str> = filter.statuses.iter().map(|status| status.as_str()).collect();
    let time = |at: Option<Timestamp>| at.map(|at| at.as_micros().to_string()).unwrap_or_default();
    let (from, before) = (time(filter.created_from), time(filter.created_before));
    let to = filter.to.as_ref().map_or("", PhoneNumber::as_str);
    PageOf::new("messages", &[&statuses.join(","), to, &filter.sender, &filter.reference, &from, &before])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use message::status::Status;

    use super::*;

    #[test]
    fn a_filter_is_normalised_and_its_mistakes_are_told_at_once() {
        use v1::message::Status as Told;
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let mut faults = Faults::default();
        let asked = v1::ListMessagesRequest {
            statuses: vec![Told::Sent.into(), Told::Queued.into(), Told::Sent.into()],
            to: "+1 (202) 555-0100".into(),
            sender: "Herald".into(),
            created_after: at(1),
            created_before: at(2),
            ..Default::default()
        };
        let filter = read_filter(&mut faults, &asked);
        faults.into_result().unwrap();
        assert_eq!(filter.statuses, [Status::Queued, Status::Sent]);
        assert_eq!(filter.to.unwrap().as_str(), "+12025550100");
        let mut faults = Faults::default();
        let wrong = v1::ListMessagesRequest {
            statuses: vec![Told::Sent.into(); 17],
            to: "nobody".into(),
            sender: "a\0".into(),
            reference: "a\0".into(),
            created_after: at(2),
            created_before: at(2),
            ..Default::default()
        };
        read_filter(&mut faults, &wrong);
        assert_eq!(faults.fields(), ["statuses", "to", "sender", "reference", "created_before"]);
    }
}
