//! The layers every call passes, gRPC and whatever is transcoded to it alike. [`stack`] is the whole list.

pub mod request_id;

mod authenticate;
mod deadline;
mod errors;
mod methods;
mod source;
mod strangers;
mod trace;

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Request, Response};
use ipnet::IpNet;
use tonic::body::Body;
use tower::layer::util::{Identity, Stack};
use tower::{Service, ServiceBuilder};

use crate::auth::Authenticator;
use authenticate::AuthenticateLayer;
use deadline::DeadlineLayer;
use errors::ErrorsLayer;
use request_id::RequestIdLayer;
use source::SourceLayer;
use strangers::StrangersLayer;
use trace::TraceLayer;

pub use methods::{Method, OpensWith};

/// The layers in front of the services.
pub type Edge = Stack<AuthenticateLayer, Stack<StrangersLayer, Stack<SourceLayer, Told>>>;

/// Those of them that tell what happens.
type Told = Stack<DeadlineLayer, Stack<ErrorsLayer, Stack<TraceLayer, Stack<RequestIdLayer, Identity>>>>;

/// From the outside in. Each stands at its height for a reason.
pub fn stack(authenticator: Arc<Authenticator>, trusted_proxies: &[IpNet]) -> Edge {
    let strangers = authenticator.strangers().clone();
    ServiceBuilder::new()
        // Outermost: every line and every error below names the request, and every answer echoes it.
        .layer(RequestIdLayer)
        // Above all that may refuse, so that refusals are counted and logged like other answers.
        .layer(TraceLayer)
        // Under the trace, which must see the code that leaves; above all that answers an error.
        .layer(ErrorsLayer)
        // Above authentication: the wait for a key's first check is part of the call's time.
        .layer(DeadlineLayer)
        // Above the two that limit by it.
        .layer(SourceLayer::new(trusted_proxies))
        // Above authentication: who shows no key is refused before any work is done for it.
        .layer(StrangersLayer::new(strangers))
        // Innermost: only the handlers know what to do with a caller.
        .layer(AuthenticateLayer::new(authenticator))
        .into_inner()
}

/// What the layers wrap: tonic's routes, and each other. Always ready: back pressure is the handlers' answer.
pub trait Inner:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S> Inner for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

type Answer = BoxFuture<'static, Result<Response<Body>, Infallible>>;

/// The service that was polled ready, leaving a clone behind for the next call.
fn take<S: Clone>(service: &mut S) -> S {
    let clone = service.clone();
    std::mem::replace(service, clone)
}

#[cfg(test)]
mod tests;
