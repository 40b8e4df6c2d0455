//! In-process queue, bell and limiter.
//! For the embedded mode, and for a production node without its engines. Nothing here outlives the process: what
//! is lost is offered, rung or counted anew.

mod bell;
mod limiter;
mod queue;

pub use bell::MemoryBell;
pub use limiter::MemoryLimiter;
pub use queue::MemoryQueue;
