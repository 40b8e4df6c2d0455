//! What a campaign costs. Pure.

use message::encoding::Encoding;
use message::phone::{PhoneError, PhoneNumber};

use super::prepare::{self, Body, Faults, PARTS_MAX, Setting};
use super::{AcceptError, FieldViolation};
use crate::model::Client;

/// Most recipients of one quote.
pub const RECIPIENTS_MAX: usize = 1_000;

/// A campaign, as the caller wrote it.
#[derive(Clone, Default)]
pub struct QuoteRequest {
    pub to: Vec<String>,
    /// Exactly one of `text` and `part_count` is given.
    pub text: String,
    pub part_count: i32,
    pub encoding: Option<Encoding>,
    /// What the edge could not read.
    pub unread: Vec<FieldViolation>,
}

/// One recipient of it.
#[derive(Debug)]
pub struct Line {
    /// In E.164 form, or as given.
    pub to: String,
    /// Of the number; empty where it has none.
    pub region: String,
    pub priced: Result<Priced, LineError>,
}

/// What one recipient costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priced {
    pub prefix: String,
    pub part_price_micros: i64,
    pub price_micros: i64,
}

/// Why a recipient has no price.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    #[error(transparent)]
    Recipient(#[from] PhoneError),
    #[error(transparent)]
    Refused(#[from] AcceptError),
}

/// The parts of each message, and a line for each recipient, in order.
pub fn quote(
    client: &Client,
    setting: Setting<'_>,
    request: &QuoteRequest,
) -> Result<(u16, Vec<Line>), AcceptError> {
    let mut faults = Faults::seeded(&request.unread);
    let is_few = (1..=RECIPIENTS_MAX).contains(&request.to.len());
    faults.check("to", is_few, "must have 1 to 1000 recipients");
    let part_count = part_count(&mut faults, client, setting, request);
    let Some(part_count) = part_count else { return Err(faults.into_error()) };
    faults.into_result()?;
    let lines = request.to.iter().map(|to| line(client, setting, to, part_count)).collect();
    Ok((part_count, lines))
}

fn part_count(
    faults: &mut Faults,
    client: &Client,
    setting: Setting<'_>,
    request: &QuoteRequest,
) -> Option<u16> {
    if request.part_count == 0 {
        let body = Body {
            text: &request.text,
            data: &[],
            encoding: request.encoding,
            transliterate: false,
            national_table: None,
        };
        let most = prepare::max_parts(faults, client, 0);
        return prepare::body(faults, &body, setting.reference_bits, most).map(|packed| packed.part_count);
    }
    faults.check("part_count", (1..=PARTS_MAX).contains(&request.part_count), "must be from 1 to 255");
    faults.check("part_count", request.text.is_empty(), "does not go together with text");
    faults.check("encoding", request.encoding.is_none(), "goes with text");
    u16::try_from(request.part_count).ok()
}

fn line(client: &Client, setting: Setting<'_>, spelling: &str, part_count: u16) -> Line {
    let to = match PhoneNumber::parse(spelling) {
        Ok(to) => to,
        Err(error) => {
            return Line { to: spelling.to_owned(), region: String::new(), priced: Err(error.into()) };
        }
    };
    let priced = prepare::price(client, setting, &to, part_count).map(|price| Priced {
        prefix: price.prefix,
        part_price_micros: price.part_price_micros,
        price_micros: price.total_micros,
    });
    Line {
        to: to.as_str().to_owned(),
        region: to.region().unwrap_or_default(),
        priced: priced.map_err(Into::into),
    }
}
