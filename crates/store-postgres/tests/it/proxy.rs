//! A way to the server that can be shut, stalled, or made to speak TLS.

use std::sync::Arc;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// What the way is like, for open connections and new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// Bytes are taken, and go nowhere: a server that hangs.
    Stalled,
    /// Open connections break, and new ones are closed.
    Shut,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    way: Way,
    /// A connection of another one hangs.
    generation: u32,
    /// New connections wait.
    is_full: bool,
}

/// Gone with the test.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: watch::Sender<State>,
    task: AbortHandle,
}

impl Proxy {
    /// To the server of the URL.
    pub(crate) async fn start(url: &str) -> Self {
        Self::start_with(url, None).await
    }

    /// Speaks TLS with its client, as PostgreSQL does, and plainly with the server.
    pub(crate) async fn start_with(url: &str, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, watched) = watch::channel(State { way: Way::Open, generation: 0, is_full: false });
        let server: PgConnectOptions = url.parse().unwrap();
        let server = format!("{}:{}", server.get_host(), server.get_port());
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(client, server.clone(), tls.clone(), watched.clone()));
            }
        });
        Self { port, state, task: task.abort_handle() }
    }

    pub(crate) fn set(&self, way: Way) {
        self.state.send_modify(|state| state.way = way);
    }

    /// The connections that are open now hang for ever; new ones do not.
    pub(crate) fn strand(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }

    /// New connections hang; those that are open now do not.
    pub(crate) fn fill(&self) {
        self.state.send_modify(|state| state.is_full = true);
    }

    /// The URL by this way.
    pub(crate) fn url(&self, url: &str) -> String {
        let options: PgConnectOptions = url.parse().unwrap();
        options.host("127.0.0.1").port(self.port).to_url_lossy().to_string()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    mut client: TcpStream,
    server: String,
    tls: Option<Arc<ServerConfig>>,
    mut state: watch::Receiver<State>,
) {
    if state.borrow().way == Way::Shut || state.wait_for(|state| !state.is_full).await.is_err() {
        return;
    }
    let server = TcpStream::connect(server).await.unwrap();
    let Some(tls) = tls else { return both_ways(client, server, state).await };
    let mut request = [0; 8];
    client.read_exact(&mut request).await.unwrap();
    assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47], "an SSLRequest");
    client.write_all(b"S").await.unwrap();
    // A client that does not trust the certificate leaves here.
    if let Ok(client) = TlsAcceptor::from(tls).accept(client).await {
        both_ways(client, server, state).await;
    }
}

async fn both_ways(client: impl AsyncRead + AsyncWrite, server: TcpStream, state: watch::Receiver<State>) {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let mut shut = state.clone();
    tokio::select! {
        () = pump(from_client, to_server, state.clone()) => {}
        () = pump(from_server, to_client, state) => {}
        _ = shut.wait_for(|state| state.way == Way::Shut) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
) {
    let mut bytes = [0; 8_192];
    let born = state.borrow().generation;
    let open = |now: &State| now.way == Way::Open && now.generation == born;
    loop {
        let Ok(count @ 1..) = from.read(&mut bytes).await else { return };
        if state.wait_for(open).await.is_err() || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
