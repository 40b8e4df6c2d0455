//! Sends and what became of them, and previews of texts.

use delivery::accept::preview::{Preview, PreviewRequest};
use delivery::accept::{Receipt, SendRequest};
use delivery::model::Client;
use message::encoding::Forcing;
use message::parts::Content;
use tonic::Status as CallStatus;

use super::message::bare_part;
use super::{
    count, encoding, national_table, read_class, read_duration, read_encoding, read_national_table,
    read_on_unknown, read_priority, read_timestamp, status,
};
use crate::grpc::faults::Faults;
use crate::layers::request_id::RequestId;
use crate::proto::v1;
use crate::proto::v1::send_outcome::Outcome;
use crate::status::rpc_status;

/// A send as the use case takes it. What cannot be read goes along, to be told with what is wrong with the rest.
pub fn read_send(request: v1::SendMessageRequest) -> SendRequest {
    let mut faults = Faults::default();
    let encoding = read_encoding(&mut faults, "encoding", request.encoding);
    let national_table = read_national_table(&mut faults, "national_table", request.national_table);
    let schedule_at = read_timestamp(&mut faults, "schedule_time", request.schedule_time);
    let validity = read_duration(&mut faults, "validity_period", request.validity_period);
    let priority = read_priority(&mut faults, "priority", request.priority);
    let class = read_class(&mut faults, "message_class", request.message_class);
    let on_unknown = read_on_unknown(&mut faults, "on_unknown", request.on_unknown);
    SendRequest {
        to: request.to,
        text: request.text,
        data: request.data,
        sender: request.sender,
        idempotency_key: request.idempotency_key,
        reference: request.reference,
        metadata: request.metadata.into_iter().collect(),
        encoding,
        transliterate: request.transliterate,
        national_table,
        max_parts: request.max_parts,
        max_price_micros: request.max_price_micros,
        schedule_at,
        validity,
        priority,
        is_flash: request.flash,
        class,
        on_unknown,
        unread: faults.into_violations(),
    }
}

/// One message's outcome: a short receipt, or what SendMessage would have answered to the call `request_id`.
pub fn outcome(result: Result<Receipt, CallStatus>, request_id: Option<&RequestId>) -> v1::SendOutcome {
    let outcome = match result {
        Ok(receipt) => Outcome::Accepted(accepted(&receipt)),
        Err(error) => Outcome::Error(rpc_status(&error, request_id)),
    };
    v1::SendOutcome { outcome: Some(outcome) }
}

/// A short receipt.
pub fn accepted(receipt: &Receipt) -> v1::Accepted {
    let record = &receipt.message.record;
    v1::Accepted {
        message_id: record.key.id.to_string(),
        status: status(receipt.message.state.status).into(),
        encoding: encoding(record.encoding).into(),
        part_count: i32::from(record.part_count),
        price_micros: record.price_micros,
        replayed: receipt.is_replay,
    }
}

/// A text to look at, likewise.
pub fn read_preview(request: v1::PreviewMessageRequest) -> PreviewRequest {
    let mut faults = Faults::default();
    let encoding = read_encoding(&mut faults, "encoding", request.encoding);
    let national_table = read_national_table(&mut faults, "national_table", request.national_table);
    PreviewRequest {
        to: request.to,
        text: request.text,
        data: request.data,
        sender: request.sender,
        encoding,
        transliterate: request.transliterate,
        national_table,
        unread: faults.into_violations(),
    }
}

/// How a text would be sent for the client.
pub fn preview(preview: &Preview, client: &Client) -> v1::PreviewMessageResponse {
    let text = match &preview.content {
        Content::Text(text) => text.as_str().to_owned(),
        Content::Binary(_) => String::new(),
    };
    v1::PreviewMessageResponse {
        encoding: encoding(preview.coding.encoding).into(),
        part_count: count(preview.parts.len()),
        parts: preview.parts.iter().map(|part| bare_part(part, &preview.content)).collect(),
        units: count(preview.parts.iter().map(|part| part.units).sum()),
        forcing_characters: preview.forcing.iter().map(forcing_character).collect(),
        text,
        price_micros: preview.price_micros.unwrap_or(0),
        currency: client.currency.clone(),
        is_transliterated: preview.is_transliterated,
        national_table: national_table(preview.coding.shifts.table()).into(),
    }
}

fn forcing_character(forcing: &Forcing) -> v1::ForcingCharacter {
    v1::ForcingCharacter {
        character: forcing.character.to_string(),
        code_point: format!("U+{:04X}", u32::from(forcing.character)),
        index: count(forcing.index),
        replacement: forcing.replacement.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_send_cannot_be_read_of_is_carried_along() {
        let request = v1::SendMessageRequest {
            encoding: 9,
            national_table: 9,
            schedule_time: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
            validity_period: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
            priority: 9,
            message_class: 9,
            on_unknown: 9,
            ..v1::SendMessageRequest::default()
        };
        let fields: Vec<_> = read_send(request).unread.iter().map(|violation| violation.field).collect();
        let expected = [
            "encoding",
            "national_table",
            "schedule_time",
            "validity_period",
            "priority",
            "message_class",
            "on_unknown",
        ];
        assert_eq!(fields, expected);
        assert!(read_send(v1::SendMessageRequest::default()).unread.is_empty());
    }

    #[test]
    fn a_character_is_named_by_its_code_point_in_at_least_four_digits() {
        let named = |character, replacement: Option<&str>| {
            let replacement = replacement.map(str::to_owned);
            let told = forcing_character(&Forcing { character, index: 3, replacement });
            (told.code_point, told.replacement)
        };
        assert_eq!(named('ç', Some("c")), ("U+00E7".to_owned(), "c".to_owned()));
        assert_eq!(named('😀', None), ("U+1F600".to_owned(), String::new()));
    }
}
