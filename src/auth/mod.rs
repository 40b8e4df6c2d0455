//! API keys: what they look like, and who may call with them.

pub mod key;
mod principal;
mod verify;

pub use principal::Principal;
pub use verify::{AuthError, Authenticator};
