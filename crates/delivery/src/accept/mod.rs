//! Accept: from a valid request to a committed message, its hold, its key and its first event.

pub mod batcher;
pub mod decide;
pub mod gate;
pub mod prepare;
pub mod preview;
pub mod quote;
pub mod replay;

pub use batcher::{Acceptor, Ports};
pub use gate::{Asked, Gate, OverRate, Pending};
pub use prepare::{Prepared, SendRequest};

use std::time::Duration;

use message::id::MessageId;

use crate::model::Message;
use crate::port::StoreError;

/// The answer to an accepted send: the immutable receipt.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// The message as it was accepted.
    pub message: Message,
    /// The same request was accepted before, under the same key.
    pub is_replay: bool,
}

/// A field that breaks its documented limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// The field's name in the request.
    pub field: &'static str,
    pub problem: String,
    pub kind: ViolationKind,
}

/// What is wrong with a field, with the figures that a program may want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViolationKind {
    /// Out of its stated range or form.
    Field,
    Recipient,
    Sender,
    /// Not in the encoding that is asked for: these characters.
    NotEncodable {
        characters: String,
    },
    TooManyParts {
        parts: usize,
        max_parts: usize,
    },
    PriceAboveMax {
        price_micros: i64,
        max_price_micros: i64,
    },
}

/// Why a send is refused. Nothing was stored, unless the variant says that it is uncertain.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// All violations at once.
    #[error("fields break their limits")]
    Invalid(Vec<FieldViolation>),
    #[error("no provider reaches this recipient")]
    NoRoute,
    #[error("there is no rate for this recipient")]
    NoRate,
    #[error("the recipient has opted out")]
    RecipientOptedOut,
    #[error("needs {need_micros} micros, {available_micros} are available")]
    InsufficientCredit { need_micros: i64, available_micros: i64, currency: String },
    #[error("the client is suspended")]
    ClientSuspended,
    #[error("no such client")]
    NoSuchClient,
    #[error("no such dead letter")]
    NoSuchDeadLetter,
    /// An attempt of the dead letter has an unknown outcome, and the caller did not accept the risk.
    #[error("the recipient may have got the dead letter")]
    DuplicateRisk,
    #[error("the idempotency key was used for another request")]
    KeyReused { first_message: Option<MessageId> },
    #[error("over the rate limit")]
    RateLimited { retry_after: Duration, parts_per_second: u32 },
    #[error("too much is waiting")]
    Overloaded { retry_after: Duration },
    #[error("shutting down")]
    ShuttingDown,
    /// The message may or may not be accepted: the same call with the same key tells.
    #[error("the fate of the commit is not known")]
    Uncertain(#[source] Option<StoreError>),
    #[error("the store failed")]
    Store(#[source] StoreError),
}
