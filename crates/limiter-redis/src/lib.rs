//! Limits that all nodes share, and copies of committed calls, on Redis.
//! For production. Redis decides nothing but rates, and is never waited for long: while it is away, a limiter of
//! this node takes its place. What Redis loses costs time, or one more burst, and nothing else.

mod limiter;
mod link;
mod local;
mod notes;
mod options;
mod script;

pub use limiter::RedisLimiter;
pub use options::{Clock, Options, OptionsError};
