//! The contract of an upstream provider: what is submitted, how it may end, how its reports arrive; and
//! the table of magic recipients that sandbox clients may send to.
//! For `delivery`, which drives providers, and for each provider adapter. No transport and no retry here.

pub mod contract;
pub mod magic;

pub use contract::{Accepted, Provider, ReportBatch, Submission, SubmitError};
