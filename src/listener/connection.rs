//! One connection: its HTTP/2 settings, its life, and its end.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::TcpConnectInfo;

use super::answer::Calls;
use super::calls::Service;
use super::limits::Limits;
use super::watched::{FLOOD, Watched};
use crate::layers::Inner;

/// How long a peer may take to receive its last answer and to hear that we stop.
const LINGER: Duration = Duration::from_secs(2);

/// What the connections of a listener have in common.
#[derive(Clone)]
pub(super) struct Connections<S> {
    pub(super) service: S,
    pub(super) limits: Arc<Limits>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) stop: CancellationToken,
}

/// How a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Well,
    /// The peer was told to calm down.
    Flooded,
}

impl<S: Inner> Connections<S> {
    /// Serves the connection until its end, or until it has no calls after `stop`.
    pub(super) async fn run(self, stream: TcpStream, peer: SocketAddr) -> Ended {
        // Answers are small and waited for. Without it they are as true, only later.
        let _ = stream.set_nodelay(true);
        let peer = TcpConnectInfo { local_addr: stream.local_addr().ok(), remote_addr: Some(peer) };
        let Some(tls) = self.tls.clone() else { return self.serve(stream, peer).await };
        let handshake = tokio::time::timeout(self.limits.tls_handshake_timeout(), tls.accept(stream));
        let shaken = tokio::select! {
            shaken = handshake => shaken,
            () = self.stop.cancelled() => return Ended::Well,
        };
        if let Ok(Ok(stream)) = shaken {
            return self.serve(stream, peer).await;
        }
        metrics::counter!("herald_connections_closed_total", "reason" => "handshake").increment(1);
        Ended::Well
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin, peer: TcpConnectInfo) -> Ended {
        let calls = TaskTracker::new();
        let service = Service { inner: self.service, peer, limits: self.limits.clone() };
        let io = TokioIo::new(Watched::new(stream, self.limits.clone()));
        let connection = builder(&self.limits, Calls(calls.clone())).serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return how(ended),
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            ended = connection.as_mut() => how(ended),
            // A peer that is silent keeps nobody waiting.
            () = no_calls(&calls) => Ended::Well,
        }
    }
}

fn builder(limits: &Limits, calls: Calls) -> http2::Builder<Calls> {
    let mut builder = http2::Builder::new(calls);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_local_error_reset_streams(limits.max_local_error_reset_streams)
        .max_pending_accept_reset_streams(limits.max_pending_accept_reset_streams)
        .max_header_list_size(limits.max_header_list_bytes)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_send_buf_size(limits.max_send_buffer_bytes)
        .keep_alive_interval(Duration::from_millis(limits.keepalive_interval_ms))
        .keep_alive_timeout(Duration::from_millis(limits.keepalive_timeout_ms));
    builder
}

/// Waits until there are no calls, and were none a while before.
async fn no_calls(calls: &TaskTracker) {
    calls.close();
    loop {
        calls.wait().await;
        tokio::time::sleep(LINGER).await;
        if calls.is_empty() {
            return;
        }
    }
}

fn how(ended: hyper::Result<()>) -> Ended {
    let Err(error) = ended else { return Ended::Well };
    // Peers end connections as they like, and strangers can do it often.
    tracing::debug!(error = ?error, "a connection has ended");
    if is_flood(&error) { Ended::Flooded } else { Ended::Well }
}

/// By our own count, or by that of the HTTP/2 library (resets, CONTINUATION, headers far too large).
fn is_flood(error: &hyper::Error) -> bool {
    let Some(cause) = error.source() else { return false };
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return error.kind() == FLOOD;
    }
    let error = cause.downcast_ref::<h2::Error>();
    error.is_some_and(|error| error.is_library() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM))
}
