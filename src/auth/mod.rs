//! API keys: what they look like, and who may call with them, from where. Providers' keys too.

pub mod key;
mod lane;
mod principal;
pub mod provider;
mod rows;
pub mod source;
pub mod strangers;
pub mod usage;
mod verify;

pub use principal::Principal;
pub use source::Source;
pub use strangers::Strangers;
pub use verify::{AuthError, Authenticator, RECHECK};
