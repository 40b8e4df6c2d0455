//! From what a caller wrote to what can be accepted: normalised, encoded, split, priced. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use message::class::{MessageClass, Priority};
use message::encoding::national::{NationalTable, Shifts};
use message::encoding::{self, Coding, Encoding};
use message::fingerprint::Fingerprint;
use message::id::{ClientId, MessageId};
use message::parts::{self, Content, MessageText, PartsError, ReferenceBits, SplitBy};
use message::phone::PhoneNumber;
use message::sender::Sender;
use message::status::OnUnknown;
use message::time::{Timestamp, micros};
use provider::magic;
use routing::rates::{Price, RateTable};
use routing::route::{self, ProviderEntry, RouteRequest};

use super::{AcceptError, FieldViolation, ViolationKind};
use crate::model::{Client, IdempotencyKey, KeyKind};

/// The default validity period.
pub const VALIDITY_DEFAULT: Duration = Duration::from_secs(48 * 3_600);
/// The bounds of a validity period.
pub const VALIDITY_MIN: Duration = Duration::from_secs(1);
pub const VALIDITY_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Longest idempotency key, in visible ASCII characters.
pub const KEY_MAX: usize = 128;
/// Longest reference, in characters.
pub const REFERENCE_MAX: usize = 128;
/// Most metadata entries, longest name (`[a-z0-9_.-]`) and longest value in characters.
pub const METADATA_MAX: usize = 20;
pub const METADATA_KEY_MAX: usize = 64;
pub const METADATA_VALUE_MAX: usize = 256;
/// Most parts of any message: a part's number is one octet (3GPP TS 23.040 section 9.2.3.24.1).
pub const PARTS_MAX: i32 = 255;

/// A send as the caller wrote it. Zero and empty mean: not given. Debug shows no number and no content.
#[derive(Clone, Default)]
pub struct SendRequest {
    pub to: String,
    pub text: String,
    pub data: Vec<u8>,
    pub sender: String,
    pub idempotency_key: String,
    pub reference: String,
    pub metadata: BTreeMap<String, String>,
    pub encoding: Option<Encoding>,
    /// Replace characters outside GSM-7 if that makes the whole text GSM-7.
    pub transliterate: bool,
    pub national_table: Option<NationalTable>,
    pub max_parts: i32,
    pub max_price_micros: i64,
    /// When it is due; a time that has passed means at once.
    pub schedule_at: Option<Timestamp>,
    pub validity: Option<Duration>,
    pub priority: Option<Priority>,
    pub is_flash: bool,
    pub class: Option<MessageClass>,
    pub on_unknown: Option<OnUnknown>,
    /// What the edge could not read, to be told together with what is wrong with the rest.
    pub unread: Vec<FieldViolation>,
}

impl fmt::Debug for SendRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, text, data, .. } = self;
        f.debug_struct("SendRequest")
            .field("to", &format_args!("<{} octets>", to.len()))
            .field("text", &format_args!("<{} octets>", text.len()))
            .field("data", &format_args!("<{} octets>", data.len()))
            .field("idempotency_key", &self.idempotency_key)
            .field("reference", &self.reference)
            .field("encoding", &self.encoding)
            .field("max_parts", &self.max_parts)
            .field("max_price_micros", &self.max_price_micros)
            .field("schedule_at", &self.schedule_at)
            .field("validity", &self.validity)
            .field("on_unknown", &self.on_unknown)
            .finish_non_exhaustive()
    }
}

/// A send that is valid and priced.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub client: ClientId,
    pub to: PhoneNumber,
    pub sender: String,
    pub content: Content,
    pub encoding: Encoding,
    pub shifts: Shifts,
    pub is_transliterated: bool,
    pub reference_bits: ReferenceBits,
    pub part_count: u16,
    pub price_micros: i64,
    pub currency: String,
    pub reference: String,
    pub metadata: BTreeMap<String, String>,
    pub on_unknown: OnUnknown,
    pub priority: Priority,
    pub is_flash: bool,
    pub class: MessageClass,
    /// The dead letter that it sends again.
    pub replay_of: Option<MessageId>,
    pub schedule_at: Option<Timestamp>,
    /// From `schedule_at`, or from the accept.
    pub validity: Duration,
    pub idempotency_key: Option<String>,
    pub fingerprint: Fingerprint,
}

impl Prepared {
    /// The full idempotency key, when the caller gave one.
    pub fn key(&self) -> Option<IdempotencyKey> {
        let key = self.idempotency_key.clone()?;
        Some(IdempotencyKey { client: self.client, kind: KeyKind::Send, key })
    }
}

/// What preparing depends on besides the request and the client.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    pub rates: &'a RateTable,
    pub providers: &'a [ProviderEntry],
    pub reference_bits: ReferenceBits,
}

/// Checks everything that can be checked without the client's balance and the database's clock. All violations are
/// told at once.
pub fn prepare(
    client: &Client,
    setting: Setting<'_>,
    request: &SendRequest,
) -> Result<Prepared, AcceptError> {
    let mut faults = Faults::seeded(&request.unread);
    let to = faults.take("to", ViolationKind::Recipient, PhoneNumber::parse(&request.to));
    let sender = sender(&mut faults, client, &request.sender);
    check_labels(&mut faults, request);
    let validity = validity(&mut faults, request.validity);
    let max_parts = max_parts(&mut faults, client, request.max_parts);
    faults.check("max_price_micros", request.max_price_micros >= 0, "must not be negative");
    let fingerprint = fingerprint_over(client.id, to.as_ref(), sender.as_deref(), request);
    let asked = Body::of(request);
    let body = body(&mut faults, &asked, setting.reference_bits, max_parts);
    let (Some(to), Some(sender), Some(body)) = (to, sender, body) else {
        return Err(faults.into_error());
    };
    let part_count = body.part_count;
    let price = price(client, setting, &to, part_count);
    if let Ok(Price { total_micros: price_micros, .. }) = price
        && request.max_price_micros > 0
        && price_micros > request.max_price_micros
    {
        let kind = ViolationKind::PriceAboveMax { price_micros, max_price_micros: request.max_price_micros };
        faults.add("max_price_micros", kind, format!("the price is {price_micros} micros"));
    }
    // A faulty request is refused as such, whether it could be sent or not.
    faults.into_result()?;
    let price_micros = price?.total_micros;
    Ok(Prepared {
        client: client.id,
        to,
        sender,
        content: body.content,
        encoding: body.coding.encoding,
        shifts: body.coding.shifts,
        is_transliterated: body.is_transliterated,
        reference_bits: setting.reference_bits,
        part_count,
        price_micros,
        currency: client.currency.clone(),
        reference: request.reference.clone(),
        metadata: request.metadata.clone(),
        on_unknown: request.on_unknown.unwrap_or(client.on_unknown),
        priority: request.priority.unwrap_or_default(),
        is_flash: request.is_flash,
        class: request.class.unwrap_or_default(),
        replay_of: None,
        schedule_at: request.schedule_at,
        validity,
        idempotency_key: Some(request.idempotency_key.clone()).filter(|key| !key.is_empty()),
        fingerprint,
    })
}

/// What the message costs, if it can be sent.
pub(super) fn price(
    client: &Client,
    setting: Setting<'_>,
    to: &PhoneNumber,
    part_count: u16,
) -> Result<Price, AcceptError> {
    if client.is_sandbox {
        refuse_magic(to)?;
    }
    let route = RouteRequest { is_sandbox: client.is_sandbox, to };
    route::choose(&route, setting.providers).map_err(|_| AcceptError::NoRoute)?;
    setting.rates.price(&client.currency, to, part_count).map_err(|_| AcceptError::NoRate)
}

/// Magic recipients whose call itself is refused.
fn refuse_magic(to: &PhoneNumber) -> Result<(), AcceptError> {
    match magic::refusal(to) {
        Some(magic::Refusal::NoRoute) => Err(AcceptError::NoRoute),
        Some(magic::Refusal::NoRate) => Err(AcceptError::NoRate),
        Some(magic::Refusal::RecipientOptedOut) => Err(AcceptError::RecipientOptedOut),
        // The rest speak of credit and rate, which later steps decide.
        _ => Ok(()),
    }
}

pub(super) fn sender(faults: &mut Faults, client: &Client, asked: &str) -> Option<String> {
    if asked.is_empty() {
        return Some(client.default_sender.clone());
    }
    let sender = faults.take("sender", ViolationKind::Sender, Sender::parse(asked))?;
    Some(sender.as_str().to_owned())
}

fn check_labels(faults: &mut Faults, request: &SendRequest) {
    faults.check(
        "idempotency_key",
        is_idempotency_key(&request.idempotency_key) || request.idempotency_key.is_empty(),
        "must be 1 to 128 visible ASCII characters",
    );
    faults.check(
        "reference",
        request.reference.chars().count() <= REFERENCE_MAX && is_printable(&request.reference),
        "must be at most 128 characters without control characters",
    );
    faults.check("metadata", request.metadata.len() <= METADATA_MAX, "must have at most 20 entries");
    let is_key = |key: &str| {
        let is_allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
        !key.is_empty() && key.len() <= METADATA_KEY_MAX && key.bytes().all(is_allowed)
    };
    faults.check(
        "metadata",
        request.metadata.keys().all(|key| is_key(key)),
        "names must be 1 to 64 characters of a-z, 0-9, '_', '.' and '-'",
    );
    let is_value = |value: &str| value.chars().count() <= METADATA_VALUE_MAX && !value.contains('\0');
    faults.check(
        "metadata",
        request.metadata.values().all(|value| is_value(value)),
        "values must be at most 256 characters, without U+0000",
    );
}

/// 1 to 128 visible ASCII characters.
pub fn is_idempotency_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= KEY_MAX && key.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Without control characters.
pub fn is_printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

fn validity(faults: &mut Faults, asked: Option<Duration>) -> Duration {
    let validity = asked.unwrap_or(VALIDITY_DEFAULT);
    let is_fine = (VALIDITY_MIN..=VALIDITY_MAX).contains(&validity);
    faults.check("validity_period", is_fine, "must be from 1 second to 7 days");
    validity
}

pub(super) fn max_parts(faults: &mut Faults, client: &Client, asked: i32) -> usize {
    faults.check("max_parts", (0..=PARTS_MAX).contains(&asked), "must be from 0 to 255");
    let limit = if asked > 0 { asked.min(client.max_parts) } else { client.max_parts };
    usize::try_from(limit.clamp(1, PARTS_MAX)).unwrap_or(1)
}

/// What was given to be sent.
pub(super) struct Body<'a> {
    pub text: &'a str,
    pub data: &'a [u8],
    pub encoding: Option<Encoding>,
    pub transliterate: bool,
    pub national_table: Option<NationalTable>,
}

impl<'a> Body<'a> {
    fn of(request: &'a SendRequest) -> Self {
        let SendRequest { text, data, encoding, transliterate, national_table, .. } = request;
        Self {
            text,
            data,
            encoding: *encoding,
            transliterate: *transliterate,
            national_table: *national_table,
        }
    }
}

/// The content as it will be sent.
pub(super) struct Packed {
    pub content: Content,
    pub coding: Coding,
    pub is_transliterated: bool,
    pub part_count: u16,
}

/// Encodes and splits.
pub(super) fn body(
    faults: &mut Faults,
    asked: &Body<'_>,
    reference_bits: ReferenceBits,
    max_parts: usize,
) -> Option<Packed> {
    let is_binary = !asked.data.is_empty();
    if is_binary != asked.text.is_empty() {
        let problem = if is_binary { "give text or data, not both" } else { "must not be empty" };
        faults.check("text", false, problem);
        return None;
    }
    if asked.text.contains('\0') {
        // GSM-7 has no NUL, and stores that keep text refuse it.
        faults.check("text", false, "must not contain the character U+0000");
        return None;
    }
    let mut is_transliterated = false;
    let (content, coding) = if is_binary {
        let is_fine = matches!(asked.encoding, None | Some(Encoding::Binary));
        faults.check("encoding", is_fine, "data is binary; leave it out or say BINARY");
        faults.check("transliterate", !asked.transliterate, "goes with text, not with data");
        faults.check("national_table", asked.national_table.is_none(), "goes with text, not with data");
        (Content::Binary(asked.data.to_vec()), Coding::from(Encoding::Binary))
    } else {
        if asked.encoding == Some(Encoding::Binary) {
            faults.check("encoding", false, "BINARY goes with data, not with text");
            return None;
        }
        let mut text = Cow::Borrowed(asked.text);
        let mut chosen = encoding::choose(&text, asked.encoding, asked.national_table, reference_bits);
        let is_gsm7 = matches!(chosen, Ok(Coding { encoding: Encoding::Gsm7, .. }));
        if asked.transliterate
            && !is_gsm7
            && asked.encoding != Some(Encoding::Ucs2)
            && let Some(written) = encoding::transliterate(&text)
        {
            is_transliterated = written != asked.text;
            text = Cow::Owned(written);
            chosen = encoding::choose(&text, asked.encoding, asked.national_table, reference_bits);
        }
        match chosen {
            Ok(coding) => (Content::Text(MessageText::from(text.into_owned())), coding),
            Err(error) => {
                let kind = ViolationKind::NotEncodable { characters: error.characters() };
                faults.add("text", kind, error.to_string());
                return None;
            }
        }
    };
    let field = if is_binary { "data" } else { "text" };
    let parts = match parts::split(&content, coding, reference_bits, SplitBy::Grapheme) {
        Ok(parts) => parts.len(),
        Err(PartsError::TooManyParts { parts, .. }) => parts,
        Err(error) => {
            faults.add(field, ViolationKind::Field, error.to_string());
            return None;
        }
    };
    if parts > max_parts {
        let kind = ViolationKind::TooManyParts { parts, max_parts };
        faults.add(field, kind, format!("needs {parts} parts, at most {max_parts} are allowed"));
        return None;
    }
    let part_count = u16::try_from(parts).ok()?;
    Some(Packed { content, coding, is_transliterated, part_count })
}

/// The fingerprint of a request that may be faulty: what a remembered call is compared with before it is refused.
pub fn fingerprint(client: ClientId, request: &SendRequest) -> Fingerprint {
    let to = PhoneNumber::parse(&request.to).ok();
    let sender = Sender::parse(&request.sender).ok();
    fingerprint_over(client, to.as_ref(), sender.as_ref().map(Sender::as_str), request)
}

/// Over the normalised request, the same for every transport; what the client's settings fill in is not part
/// of it, so that a change of settings does not turn a retry into another request.
fn fingerprint_over(
    client: ClientId,
    to: Option<&PhoneNumber>,
    sender: Option<&str>,
    request: &SendRequest,
) -> Fingerprint {
    let asked_sender = sender.filter(|_| !request.sender.is_empty());
    let schedule = request.schedule_at.map(|at| at.as_micros().to_be_bytes());
    Fingerprint::builder("send.v1")
        .field("client", client.as_uuid().as_bytes())
        .field("to", to.map_or("", PhoneNumber::as_str).as_bytes())
        .field("text", request.text.as_bytes())
        .field("data", &request.data)
        .opt("sender", asked_sender.map(str::as_bytes))
        .field("reference", request.reference.as_bytes())
        .map("metadata", &request.metadata)
        .opt("encoding", request.encoding.map(|encoding| encoding.as_str().as_bytes()))
        .int("transliterate", i64::from(request.transliterate))
        .opt("national_table", request.national_table.map(|table| table.as_str().as_bytes()))
        .int("max_parts", i64::from(request.max_parts))
        .int("max_price_micros", request.max_price_micros)
        .opt("schedule_micros", schedule.as_ref().map(<[u8; 8]>::as_slice))
        .int("validity_micros", request.validity.map_or(0, micros))
        .opt("priority", request.priority.map(|priority| priority.as_str().as_bytes()))
        .int("flash", i64::from(request.is_flash))
        .opt("class", request.class.map(|class| class.as_str().as_bytes()))
        .opt("on_unknown", request.on_unknown.map(|policy| policy.as_str().as_bytes()))
        .finish()
}

/// Gathers violations.
#[derive(Default)]
pub(super) struct Faults(Vec<FieldViolation>);

impl Faults {
    /// Begins with what was found already.
    pub(super) fn seeded(found: &[FieldViolation]) -> Self {
        Self(found.to_vec())
    }

    pub(super) fn add(&mut self, field: &'static str, kind: ViolationKind, problem: String) {
        self.0.push(FieldViolation { field, problem, kind });
    }

    pub(super) fn check(&mut self, field: &'static str, is_fine: bool, problem: &str) {
        if !is_fine {
            self.add(field, ViolationKind::Field, problem.to_owned());
        }
    }

    pub(super) fn take<T, E: std::fmt::Display>(
        &mut self,
        field: &'static str,
        kind: ViolationKind,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|error| self.add(field, kind, error.to_string())).ok()
    }

    pub(super) fn into_error(self) -> AcceptError {
        AcceptError::Invalid(self.0)
    }

    pub(super) fn into_result(self) -> Result<(), AcceptError> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into_error()) }
    }
}
