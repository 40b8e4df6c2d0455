//! What every store, queue, bell and limiter must satisfy, and the reference model that stores are run beside.
//! For the tests of the adapters, which hand in a fixture and get one test a claim. The model, plain maps in
//! memory, is itself a store, so the suite can be tried on it. Nothing here ships.

// Test code: what cannot be unwrapped has broken its claim.
#![allow(clippy::unwrap_used)]

pub mod bench;
pub mod given;
pub mod list;
mod reads;
pub mod recorder;
pub mod verbs;

pub mod store;

pub mod bell;
pub mod limiter;
pub mod queue;
pub mod shared_limiter;

pub mod machine;
pub mod model;

mod suite;

pub use bench::{Bench, StoreFixture, TestClock};
