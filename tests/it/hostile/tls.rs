//! TLS on the port.

use std::sync::Arc;
use std::time::Duration;

use h2::client::handshake;
use http::Request;
use prost::bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::support::{Process, herald, soon};

/// A server whose certificate is its own root. It needs no clients: health answers without a key.
struct Server {
    _folder: tempfile::TempDir,
    process: Process,
    address: std::net::SocketAddr,
    root: CertificateDer<'static>,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("cert.pem"), made.cert.pem()).expect("a file");
        std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).expect("a file");
        let settings = [
            ("HERALD_STORE_URL", format!("sqlite:{}", path("herald.db"))),
            ("HERALD_PEPPER_FILE", path("pepper")),
            ("HERALD_LISTEN", "127.0.0.1:0".to_owned()),
            ("HERALD_TLS__CERT_FILE", path("cert.pem")),
            ("HERALD_TLS__KEY_FILE", path("key.pem")),
            ("HERALD_LISTENER__TLS_HANDSHAKE_TIMEOUT_MS", "300".to_owned()),
        ];
        let start = |name: &str, arguments: &[&str]| {
            let mut command = herald();
            command.args(arguments).envs(settings.clone());
            Process::start(name, folder.path(), command)
        };
        let made_ready = start("init", &["init", "--key-file", &path("operator.key")]).ended().await;
        assert!(made_ready.status.success(), "{made_ready:?}");
        let process = start("server", &["serve"]);
        let address = process.stderr().find("the server's address", crate::support::served_address).await;
        Self { _folder: folder, process, address, root: made.cert.der().clone() }
    }

    async fn stop(mut self) {
        assert!(self.process.terminate(crate::support::DRAIN).await.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_certificate_calls_come_over_tls() {
    let server = Server::start().await;
    let mut roots = RootCertStore::empty();
    roots.add(server.root.clone()).expect("a certificate");
    let provider = Arc::new(crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(server.address).await.expect("the port is open");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (calls, connection) = handshake(stream).await.expect("a greeting");
    tokio::spawn(connection);
    let request = Request::post("https://localhost/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let mut calls = calls.ready().await.expect("the server takes calls");
    let sent = calls.send_request(request.body(()).expect("a request"), false);
    let (response, mut sending) = sent.expect("it can be sent");
    sending.send_data(Bytes::from_static(&[0; 5]), true).expect("it can be sent");
    let mut body = soon("an answer", response).await.expect("an answer").into_body();
    // `status` = SERVING.
    let data = soon("the message", body.data()).await.expect("there is one").expect("it comes");
    assert_eq!(data.as_ref(), [0, 0, 0, 0, 2, 8, 1]);
    drop(calls);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_shake_hands_is_cut_off() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.expect("the port is open");
    let closed = tokio::time::timeout(Duration::from_secs(30), stream.read_u8()).await;
    assert!(closed.expect("it is closed in time").is_err());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_without_its_key_is_a_configuration_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = herald();
    command.arg("serve").envs([("HERALD_STORE_URL", "sqlite:x.db"), ("HERALD_TLS__CERT_FILE", "cert.pem")]);
    let ended = Process::start("half", folder.path(), command).ended().await;
    assert_eq!(ended.status.code(), Some(64));
    assert!(ended.stderr.contains("tls.key_file"), "{ended:?}");
}
