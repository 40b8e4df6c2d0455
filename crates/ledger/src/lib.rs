//! Decisions on a client's prepaid credit: hold, capture, release, top-up.
//! For `delivery`, which writes what is decided here. Pure; who may spend and what a part costs are
//! decided elsewhere.
//!
//! Money is whole micros (millionths) of the client's currency, never a float.

pub mod balance;
pub mod policy;

pub use balance::{Balance, LedgerError, Movement};
pub use policy::{CaptureOn, Policy, Resolution, SettleUnreported};
