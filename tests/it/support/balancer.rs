//! What stands before several API nodes: each connection goes to the next one that takes it.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Ends on drop, with every connection.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Balancer {
    pub(crate) async fn start(nodes: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let accepting = tokio::spawn(async move {
            for turn in 0.. {
                let Ok((mut caller, _)) = listener.accept().await else { return };
                let nodes = nodes.clone();
                tokio::spawn(async move {
                    for at in 0..nodes.len() {
                        let node = nodes[(turn + at) % nodes.len()];
                        if let Ok(mut node) = TcpStream::connect(node).await {
                            let _ = tokio::io::copy_bidirectional(&mut caller, &mut node).await;
                            return;
                        }
                    }
                });
            }
        });
        Self { address, accepting }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
