//! What every RPC handler works with.

use std::sync::Arc;
use std::time::Duration;

use delivery::accept::Gate;
use delivery::change::Mover;
use delivery::health::Health;
use delivery::port::{Bell, Store};
use delivery::timing::Timing;
use delivery::watch::Hub;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::auth::Authenticator;
use crate::auth::usage::KeyUsage;
use crate::grpc::places::StreamPlaces;
use crate::token::Tokens;

/// The use cases and settings of a running node.
pub struct App {
    pub store: Arc<dyn Store>,
    pub bell: Arc<dyn Bell>,
    pub gate: Gate,
    pub mover: Mover,
    /// The provider accounts of this node.
    pub providers: Vec<ProviderAccount>,
    /// Wakes whoever applies the reports in the inbox.
    pub reports_arrived: Arc<Notify>,
    pub hub: Arc<Hub>,
    pub timing: Arc<Timing>,
    pub authenticator: Arc<Authenticator>,
    /// Notes when keys were last used.
    pub key_usage: Arc<KeyUsage>,
    pub places: Arc<StreamPlaces>,
    /// Seals resume and page tokens; knows the log epoch.
    pub tokens: Tokens,
    /// `embedded` or `production`, as `GetAccount` tells it.
    pub mode: &'static str,
    /// Canceled at shutdown: every stream sends a last token frame and ends with UNAVAILABLE.
    pub streams_end: CancellationToken,
    /// Silence on a stream after which a heartbeat is sent.
    pub heartbeat: Duration,
}

/// What the parts of a node have in common, whatever its roles.
pub struct Shared {
    pub mover: Mover,
    pub provider: ProviderAccount,
    /// Wakes whoever applies the reports in the inbox.
    pub reports_arrived: Arc<Notify>,
}

/// A provider account, for those who look at it.
pub struct ProviderAccount {
    pub name: String,
    /// As in `simulator`.
    pub kind: &'static str,
    /// Submissions that may be in flight at once.
    pub window: usize,
    pub health: Arc<Health>,
}
