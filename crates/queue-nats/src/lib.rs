//! The queue on NATS JetStream and the bell on core NATS, for an installation of several nodes.
//! Both carry ids and numbers only: what NATS loses costs time, since the store is the truth and the sweeper the net.
//! `async-nats` is known to this crate alone. No settings are read here.

mod bell;
mod connection;
mod dead_letters;
mod lane;
mod offer;
mod payload;
mod pull;
mod queue;
mod rarely;
mod stream;
mod ticket;
mod unheard;
mod watch;

pub use bell::NatsBell;
pub use connection::{ConnectError, Connection, Credentials, Servers, Unhealthy};
pub use queue::NatsQueue;
pub use stream::{Options, StreamError};
