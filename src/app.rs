//! What every RPC handler works with.

use std::sync::Arc;
use std::time::Duration;

use delivery::accept::Gate;
use delivery::port::{Bell, Store};
use delivery::timing::Timing;
use delivery::watch::Hub;
use tokio_util::sync::CancellationToken;

use crate::auth::Authenticator;
use crate::token::Tokens;

/// The use cases and settings of a running node.
pub struct App {
    pub store: Arc<dyn Store>,
    pub bell: Arc<dyn Bell>,
    pub gate: Gate,
    pub hub: Arc<Hub>,
    pub timing: Arc<Timing>,
    pub authenticator: Arc<Authenticator>,
    /// Seals resume and page tokens; knows the log epoch.
    pub tokens: Tokens,
    /// `embedded` or `production`, as `GetAccount` tells it.
    pub mode: &'static str,
    /// Canceled at shutdown: every stream sends a last token frame and ends with UNAVAILABLE.
    pub streams_end: CancellationToken,
    /// Silence on a stream after which a heartbeat is sent.
    pub heartbeat: Duration,
}
