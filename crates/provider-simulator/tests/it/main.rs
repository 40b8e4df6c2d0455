//! The simulator through the provider contract: in process, and as a process of its own.

#![allow(clippy::unwrap_used)]

mod journal;
mod remote;
mod scripts;
mod support;
