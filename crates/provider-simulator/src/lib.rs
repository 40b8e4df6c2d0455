//! A provider that sends no SMS: seeded latency, loss and reports, and the magic recipients.
//! For `herald dev` (in process: [`Simulator`]) and for tests that need a witness which outlives the server
//! (its own process: [`serve`], reached by [`RemoteSimulator`], its log read by [`Witness`]). What a number
//! does is not decided here but in `provider::magic`.

pub mod config;
pub mod engine;
pub mod order;

mod journal;
mod record;
mod schedule;

pub mod simulator;

pub mod remote;
pub mod server;
pub mod wire;

pub mod witness;

pub use config::{Config, ConfigError, Jitter, Journal, Keep};
pub use journal::OpenError;
pub use remote::{RemoteConfig, RemoteSimulator};
pub use server::{ServeError, serve};
pub use simulator::Simulator;
pub use witness::Witness;
