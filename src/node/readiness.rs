//! Whether a node can do its work: asked again and again, told to health checks.

use std::sync::Arc;
use std::time::Duration;

use delivery::port::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the engines are probed, and how long the store may take to answer.
const PROBE: Duration = Duration::from_secs(5);
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// What the roles of a node cannot do without. Redis is not among it: without it limits are counted by each node.
pub(super) struct Needs {
    pub(super) store: Arc<dyn Store>,
    /// A worker without its queue gets nothing to do; the API accepts without it, and what it could not offer is
    /// offered later.
    pub(super) queue_is_up: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

/// Probes until `stop`, and then says that the node is not ready.
pub(super) async fn watch(needs: Needs, ready: watch::Sender<bool>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                ready.send_replace(false);
                return;
            }
            () = tokio::time::sleep(PROBE) => {}
        }
        let store = tokio::time::timeout(PROBE_LIMIT, needs.store.ping()).await;
        let has_store = matches!(store, Ok(Ok(())));
        let has_queue = needs.queue_is_up.as_ref().is_none_or(|is_up| is_up());
        let is_ready = has_store && has_queue;
        if ready.send_if_modified(|was| std::mem::replace(was, is_ready) != is_ready) {
            tracing::warn!(is_ready, has_store, has_queue, "what this node needs has come or gone");
        }
    }
}
