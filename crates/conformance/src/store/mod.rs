//! The claims on a store, by phase. Each is one function: it gets a fresh store and panics if the claim is
//! broken. [`store_suite!`](crate::store_suite) makes a test of each.

pub mod accept;
pub mod admin;
pub mod audit;
pub mod claim;
pub mod concurrency;
pub mod inbox;
pub mod outcome;
pub mod reports;
pub mod round_trip;
pub mod timers;
pub mod use_case;
pub mod view;
