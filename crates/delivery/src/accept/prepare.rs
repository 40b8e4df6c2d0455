//! From what a caller wrote to what can be accepted: normalised, encoded, split, priced. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use message::encoding::{self, Encoding};
use message::fingerprint::Fingerprint;
use message::id::ClientId;
use message::parts::{self, Content, MessageText, PartsError, ReferenceBits, SplitBy};
use message::phone::PhoneNumber;
use message::sender::Sender;
use message::status::OnUnknown;
use message::time::micros;
use provider::magic;
use routing::rates::RateTable;
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
    pub max_parts: i32,
    pub max_price_micros: i64,
    pub validity: Option<Duration>,
    pub on_unknown: Option<OnUnknown>,
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
    pub reference_bits: ReferenceBits,
    pub part_count: u16,
    pub price_micros: i64,
    pub currency: String,
    pub reference: String,
    pub metadata: BTreeMap<String, String>,
    pub on_unknown: OnUnknown,
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

/// Checks everything that can be checked without the client's balance. All violations are told at once.
pub fn prepare(client: &Client, setting: Setting<'_>, request: SendRequest) -> Result<Prepared, AcceptError> {
    let mut faults = Faults::default();
    let to = faults.take("to", ViolationKind::Recipient, PhoneNumber::parse(&request.to));
    let sender = sender(&mut faults, client, &request.sender);
    check_labels(&mut faults, &request);
    let validity = validity(&mut faults, request.validity);
    let max_parts = max_parts(&mut faults, client, request.max_parts);
    faults.check("max_price_micros", request.max_price_micros >= 0, "must not be negative");
    let fingerprint = fingerprint(client, to.as_ref(), sender.as_deref(), &request);
    let body = body(&mut faults, &request, setting.reference_bits, max_parts);
    let (Some(to), Some(sender), Some((content, encoding, part_count))) = (to, sender, body) else {
        return Err(faults.into_error());
    };
    let price = price(client, setting, &to, part_count);
    if let Ok(price_micros) = price
        && request.max_price_micros > 0
        && price_micros > request.max_price_micros
    {
        let kind = ViolationKind::PriceAboveMax { price_micros, max_price_micros: request.max_price_micros };
        faults.add("max_price_micros", kind, format!("the price is {price_micros} micros"));
    }
    // A faulty request is refused as such, whether it could be sent or not.
    faults.into_result()?;
    let price_micros = price?;
    Ok(Prepared {
        client: client.id,
        to,
        sender,
        content,
        encoding,
        reference_bits: setting.reference_bits,
        part_count,
        price_micros,
        currency: client.currency.clone(),
        reference: request.reference,
        metadata: request.metadata,
        on_unknown: request.on_unknown.unwrap_or(client.on_unknown),
        validity,
        idempotency_key: Some(request.idempotency_key).filter(|key| !key.is_empty()),
        fingerprint,
    })
}

/// What the message costs, if it can be sent.
fn price(
    client: &Client,
    setting: Setting<'_>,
    to: &PhoneNumber,
    part_count: u16,
) -> Result<i64, AcceptError> {
    if client.is_sandbox {
        refuse_magic(to)?;
    }
    let route = RouteRequest { is_sandbox: client.is_sandbox, to };
    route::choose(&route, setting.providers).map_err(|_| AcceptError::NoRoute)?;
    let price = setting.rates.price(&client.currency, to, part_count).map_err(|_| AcceptError::NoRate)?;
    Ok(price.total_micros)
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

fn sender(faults: &mut Faults, client: &Client, asked: &str) -> Option<String> {
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

fn max_parts(faults: &mut Faults, client: &Client, asked: i32) -> usize {
    faults.check("max_parts", (0..=PARTS_MAX).contains(&asked), "must be from 0 to 255");
    let limit = if asked > 0 { asked.min(client.max_parts) } else { client.max_parts };
    usize::try_from(limit.clamp(1, PARTS_MAX)).unwrap_or(1)
}

/// The content in its encoding, and its number of parts.
fn body(
    faults: &mut Faults,
    request: &SendRequest,
    reference_bits: ReferenceBits,
    max_parts: usize,
) -> Option<(Content, Encoding, u16)> {
    let is_binary = !request.data.is_empty();
    if is_binary != request.text.is_empty() {
        let problem = if is_binary { "give text or data, not both" } else { "must not be empty" };
        faults.check("text", false, problem);
        return None;
    }
    if request.text.contains('\0') {
        // GSM-7 has no NUL, and stores that keep text refuse it.
        faults.check("text", false, "must not contain the character U+0000");
        return None;
    }
    let (content, encoding) = if is_binary {
        let is_fine = matches!(request.encoding, None | Some(Encoding::Binary));
        faults.check("encoding", is_fine, "data is binary; leave it out or say BINARY");
        (Content::Binary(request.data.clone()), Encoding::Binary)
    } else {
        if request.encoding == Some(Encoding::Binary) {
            faults.check("encoding", false, "BINARY goes with data, not with text");
            return None;
        }
        let encoding = match encoding::choose(&request.text, request.encoding) {
            Ok(encoding) => encoding,
            Err(error) => {
                let kind = ViolationKind::NotEncodable { characters: error.characters() };
                faults.add("text", kind, error.to_string());
                return None;
            }
        };
        (Content::Text(MessageText::from(request.text.clone())), encoding)
    };
    let field = if is_binary { "data" } else { "text" };
    let parts = match parts::split(&content, encoding, reference_bits, SplitBy::Grapheme) {
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
    u16::try_from(parts).ok().map(|parts| (content, encoding, parts))
}

/// Over the normalised request, the same for every transport; what the client's settings fill in is not part
/// of it, so that a change of settings does not turn a retry into another request.
fn fingerprint(
    client: &Client,
    to: Option<&PhoneNumber>,
    sender: Option<&str>,
    request: &SendRequest,
) -> Fingerprint {
    let asked_sender = sender.filter(|_| !request.sender.is_empty());
    Fingerprint::builder("send.v1")
        .field("client", client.id.as_uuid().as_bytes())
        .field("to", to.map_or("", PhoneNumber::as_str).as_bytes())
        .field("text", request.text.as_bytes())
        .field("data", &request.data)
        .opt("sender", asked_sender.map(str::as_bytes))
        .field("reference", request.reference.as_bytes())
        .map("metadata", &request.metadata)
        .opt("encoding", request.encoding.map(|encoding| encoding.as_str().as_bytes()))
        .int("max_parts", i64::from(request.max_parts))
        .int("max_price_micros", request.max_price_micros)
        .int("validity_micros", request.validity.map_or(0, micros))
        .opt("on_unknown", request.on_unknown.map(|policy| policy.as_str().as_bytes()))
        .finish()
}

/// Gathers violations.
#[derive(Default)]
struct Faults(Vec<FieldViolation>);

impl Faults {
    fn add(&mut self, field: &'static str, kind: ViolationKind, problem: String) {
        self.0.push(FieldViolation { field, problem, kind });
    }

    fn check(&mut self, field: &'static str, is_fine: bool, problem: &str) {
        if !is_fine {
            self.add(field, ViolationKind::Field, problem.to_owned());
        }
    }

    fn take<T, E: std::fmt::Display>(
        &mut self,
        field: &'static str,
        kind: ViolationKind,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|error| self.add(field, kind, error.to_string())).ok()
    }

    fn into_error(self) -> AcceptError {
        AcceptError::Invalid(self.0)
    }

    fn into_result(self) -> Result<(), AcceptError> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into_error()) }
    }
}
