//! Rust client for the Herald SMS gateway: the API as generated from `proto/herald/v1`, and a thin layer that
//! every careful caller would write by hand: deadlines, retries under one idempotency key, typed errors, and
//! subscriptions that resume by themselves.
//!
//! - [`Client::connect_lazy`] takes a [`Config`] (`Config::new(url, key)`; its fields are public) and connects at the
//!   first call. A client is cheap to clone, and clones share one connection.
//! - Its methods take the generated requests of [`v1`] and answer generated messages. Messages:
//!   [`send`](Client::send), [`send_many`](Client::send_many), [`get_message`](Client::get_message),
//!   [`list_messages`](Client::list_messages), [`cancel_message`](Client::cancel_message),
//!   [`preview`](Client::preview), [`list_delivery_reports`](Client::list_delivery_reports),
//!   [`list_events`](Client::list_events). Credit: [`balance`](Client::balance),
//!   [`transactions`](Client::transactions), [`statement`](Client::statement), [`quote`](Client::quote). Operators
//!   have a method for each RPC of `AdminService`, [`top_up`](Client::top_up) and
//!   [`adjust_balance`](Client::adjust_balance). [`account`](Client::account) tells who the key is.
//! - [`subscribe_delivery_reports`](Client::subscribe_delivery_reports) and
//!   [`subscribe_events`](Client::subscribe_events) answer a [`Subscription`]: `next().await` gives a [`Frame`] with
//!   its resume token and an [`Item`], or the error that ended it. [`watch_balance`](Client::watch_balance) does the
//!   same for the balance.
//! - [`send_stream`](Client::send_stream) answers a [`Volume`]: it sends a stream of messages as fast as the server takes
//!   them, sends again after a cut what was not acknowledged, and yields an [`Acknowledged`] for each.
//! - Everything fails with an [`Error`]: `code()`, `reason()`, `field_violations()`, `retry_after()`, `request_id()`.
//! - [`Client::raw`] gives the generated tonic clients, authorised and nothing else.
//!
//! Reads and calls that carry an idempotency key are repeated on UNAVAILABLE, and on RESOURCE_EXHAUSTED when the
//! server says when to come back; see [`RetryPolicy`]. What changes something without a key is never repeated.

mod client;
mod config;
mod error;
pub mod proto;
mod raw;
mod retry;
mod subscription;
mod volume;

pub use client::{Booking, Client, Receipt, new_idempotency_key};
pub use config::{Config, Key};
pub use error::{Error, FieldViolation, code_name};
pub use proto::v1;
pub use raw::{Authorize, Raw, Transport};
pub use retry::RetryPolicy;
pub use subscription::{
    BalanceSubscription, EventSubscription, Frame, Item, ReportSubscription, Subscription,
};
pub use tonic;
pub use volume::{Acknowledged, Volume};

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
