//! A server as tonic makes it when nothing is set: the control of the attacks.

use std::net::SocketAddr;

use herald_sdk::tonic::transport::Server as Tonic;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::TcpListenerStream;

use super::attacks::Target;

/// It serves health checks.
pub(super) struct Server {
    address: SocketAddr,
    serving: AbortHandle,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (_, health) = tonic_health::server::health_reporter();
        let server = Tonic::builder().add_service(health);
        let serving =
            tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener))).abort_handle();
        Self { address, serving }
    }

    pub(super) fn target(&self) -> Target {
        Target { address: self.address, path: "/grpc.health.v1.Health/Check".into(), key: String::new() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
