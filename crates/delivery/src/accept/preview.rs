//! What a send would come to, without doing it. Pure.

use message::encoding::national::NationalTable;
use message::encoding::{self, Coding, Encoding};
use message::parts::{self, Content, Part, ReferenceBits, SplitBy};
use message::phone::PhoneNumber;

use super::prepare::{self, Body, Faults, PARTS_MAX, Setting};
use super::{AcceptError, FieldViolation, ViolationKind};
use crate::model::Client;

/// A text to look at, as the caller wrote it. Zero and empty mean: not given.
#[derive(Clone, Default)]
pub struct PreviewRequest {
    /// Empty = no price.
    pub to: String,
    pub text: String,
    pub data: Vec<u8>,
    pub sender: String,
    pub encoding: Option<Encoding>,
    pub transliterate: bool,
    pub national_table: Option<NationalTable>,
    /// What the edge could not read.
    pub unread: Vec<FieldViolation>,
}

/// How it would be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    pub content: Content,
    pub coding: Coding,
    pub is_transliterated: bool,
    pub parts: Vec<Part>,
    /// Characters of the text as given that GSM-7 lacks, with the national table if one was named.
    pub forcing: Vec<encoding::Forcing>,
    /// `None` without a recipient.
    pub price_micros: Option<i64>,
}

/// Looks at a text. The client's `max_parts` does not count: the preview tells how many it would take.
pub fn preview(
    client: &Client,
    setting: Setting<'_>,
    request: &PreviewRequest,
) -> Result<Preview, AcceptError> {
    let mut faults = Faults::seeded(&request.unread);
    let to = (!request.to.is_empty())
        .then(|| faults.take("to", ViolationKind::Recipient, PhoneNumber::parse(&request.to)))
        .flatten();
    prepare::sender(&mut faults, client, &request.sender);
    let body = Body {
        text: &request.text,
        data: &request.data,
        encoding: request.encoding,
        transliterate: request.transliterate,
        national_table: request.national_table,
    };
    let most = usize::try_from(PARTS_MAX).unwrap_or(usize::MAX);
    let packed = prepare::body(&mut faults, &body, setting.reference_bits, most);
    let Some(packed) = packed else { return Err(faults.into_error()) };
    faults.into_result()?;
    let price_micros = match &to {
        Some(to) => Some(prepare::price(client, setting, to, packed.part_count)?.total_micros),
        None => None,
    };
    Ok(Preview {
        parts: split_again(&packed.content, packed.coding, setting.reference_bits),
        content: packed.content,
        coding: packed.coding,
        is_transliterated: packed.is_transliterated,
        forcing: encoding::forcing_characters_of(&request.text, request.national_table)
            .map_or_else(Vec::new, |lacking| lacking.listed),
        price_micros,
    })
}

/// It has been split already, so it can be.
fn split_again(content: &Content, coding: Coding, reference_bits: ReferenceBits) -> Vec<Part> {
    parts::split(content, coding, reference_bits, SplitBy::Grapheme).unwrap_or_default()
}
