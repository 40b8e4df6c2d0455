//! A NATS that demands TLS, and a certificate of who connects.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::support::{Engine, Herald, Mode, NewAccount, Process, Setup, herald, nothing_held, sms};

/// A root, and two certificates of it.
struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn make() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root_key = KeyPair::generate().expect("a key");
        let mut root = CertificateParams::new(Vec::new()).expect("a root");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_certificate = root.self_signed(&root_key).expect("a root");
        let issuer = Issuer::new(root, root_key);
        let made = Self { folder };
        std::fs::write(made.path("ca.pem"), root_certificate.pem()).expect("a file");
        for name in ["server", "client"] {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a certificate");
            let certificate = params.signed_by(&key, &issuer).expect("a certificate");
            std::fs::write(made.path(&format!("{name}.pem")), certificate.pem()).expect("a file");
            std::fs::write(made.path(&format!("{name}.key")), key.serialize_pem()).expect("a file");
        }
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Its URL.
async fn tls_server(folder: &Path, certificates: &Certificates) -> (Engine, String) {
    let nats = Engine::start("nats", folder).await;
    nats.kill().await;
    let file = |name: &str| certificates.path(name).display().to_string();
    let tls = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}\n",
        file("server.pem"),
        file("server.key"),
        file("ca.pem")
    );
    nats.change("one.conf", |settings| settings + &tls);
    nats.restart().await;
    let url = nats.url.replace("nats://127.0.0.1", "tls://localhost");
    (nats, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_through_a_queue_behind_tls_and_nobody_without_a_certificate_is_let_in() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let certificates = Certificates::make();
    let (_nats, url) = tls_server(folder.path(), &certificates).await;
    let setup = Setup::default()
        .set("HERALD_QUEUE__URL", &url)
        .set("HERALD_QUEUE__CA_FILE", certificates.path("ca.pem").display())
        .set("HERALD_QUEUE__CERT_FILE", certificates.path("client.pem").display())
        .set("HERALD_QUEUE__KEY_FILE", certificates.path("client.key").display());
    let mut node = Herald::start(Mode::Engines, setup).await;
    let account = node.account(NewAccount::default()).await;
    account.client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    nothing_held(&account.client).await;

    let mut command = herald();
    command.arg("serve").env("HERALD_STORE_URL", node.database().url());
    command.env("HERALD_QUEUE__URL", &url).env("HERALD_QUEUE__CA_FILE", certificates.path("ca.pem"));
    let ended = Process::start("stranger", folder.path(), command).ended().await;
    assert!(!ended.status.success() && ended.stderr.contains("cannot connect to NATS"), "{ended:?}");
    node.finish().await;
}
