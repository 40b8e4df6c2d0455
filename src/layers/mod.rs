//! The middleware, outermost first:
//!
//! 1. `calls`: request id, span, log line, metrics, deadline, complete errors. Outermost, so that a refusal of any
//!    layer below is logged and carries the id.
//! 2. `authenticate`: the key, before a byte of the request's body is read.

mod authenticate;
mod calls;

use std::sync::Arc;

use tower::layer::util::{Identity, Stack};

pub use authenticate::AuthenticateLayer;
pub use calls::CallsLayer;

use crate::auth::Authenticator;

/// The whole stack.
pub fn stack(authenticator: Arc<Authenticator>) -> Stack<AuthenticateLayer, Stack<CallsLayer, Identity>> {
    tower::ServiceBuilder::new().layer(CallsLayer).layer(AuthenticateLayer::new(authenticator)).into_inner()
}
