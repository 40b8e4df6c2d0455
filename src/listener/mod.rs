//! Takes the connections of the API, and holds each of them to the limits that protect a public port.
//!
//! An accept loop of our own, because three defences need one: a cap on connections, a deadline for the first bytes, and
//! budgets for what HTTP/2 lets a peer send without any progress. `docs/limits.md` tells what each limit does.

mod answer;
mod bucket;
mod calls;
mod connection;
mod frames;
mod limits;
mod places;
mod request_body;
mod tls;
mod watched;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::layers::Inner;
use connection::{Connections, Ended};
use places::Places;

pub use limits::Limits;
pub use tls::acceptor;

/// After an error that concerns the process, such as no file descriptors left. Trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a listener treats its connections.
pub struct Options {
    pub limits: Limits,
    /// Who may have connections without being counted by address.
    pub trusted_proxies: Vec<IpNet>,
    /// `None` = the port speaks HTTP/2 in the clear.
    pub tls: Option<TlsAcceptor>,
}

/// Serves `service` on `listener` until `stop`; returns when the last connection has ended. Dropped, it cuts them.
pub async fn serve<S: Inner>(listener: TcpListener, service: S, options: Options, stop: CancellationToken) {
    let Options { limits, trusted_proxies, tls } = options;
    let places = Arc::new(Places::new(&limits, trusted_proxies));
    let connections = Connections { service, limits: Arc::new(limits), tls, stop: stop.clone() };
    let mut running = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = running.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Over a cap the connection is closed at once: nothing of it is read.
                let Some(place) = places.take(peer.ip().to_canonical()) else { continue };
                let connections = connections.clone();
                running.spawn(async move {
                    if connections.run(stream, peer).await == Ended::Flooded {
                        place.blame();
                    }
                });
            }
            Err(error) if concerns_the_peer(error.kind()) => {}
            Err(error) => {
                tracing::warn!(%error, "connections cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // New callers must be refused by the kernel now, not wait for the last of the old ones.
    drop(listener);
    while running.join_next().await.is_some() {}
}

/// The connection that was to be accepted is gone again; the next one may be good.
fn concerns_the_peer(error: ErrorKind) -> bool {
    matches!(
        error,
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}
