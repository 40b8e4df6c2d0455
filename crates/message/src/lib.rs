//! What a message is: ids, phone numbers, classes, encodings and parts, statuses, failures, reports, events.
//! For every other crate, which speak in these types. Pure: no I/O, no clock, no randomness; and no
//! money decisions (see `ledger`).

pub mod id;
pub mod time;

pub mod class;
pub mod encoding;
pub mod parts;
pub mod phone;
pub mod sender;

pub mod fingerprint;

pub mod failure;
pub mod status;

pub mod event;
pub mod report;

pub use failure::{Failure, FailureReason};
pub use id::{ClientId, EventId, MessageId};
pub use phone::PhoneNumber;
pub use status::Status;
pub use time::Timestamp;
