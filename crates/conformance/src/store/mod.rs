//! The claims on a store, by phase. Each is one function: it gets a fresh store and panics if the claim is
//! broken. [`store_suite!`](crate::store_suite) makes a test of each.

pub mod accept;
pub mod admin;
pub mod audit;
pub mod audit_log;
pub mod claim;
pub mod clients;
pub mod concurrency;
pub mod dead_letters;
pub mod gate;
pub mod inbox;
pub mod keys;
pub mod outcome;
pub mod reports;
pub mod retention;
pub mod round_trip;
pub mod search;
pub mod timers;
pub mod transactions;
pub mod unmatched;
pub mod use_case;
pub mod view;
