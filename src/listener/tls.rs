//! TLS on the API's port: optional, with a certificate and a key from files.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use crate::config::TlsConfig;

/// What ends TLS on the port; `None` = it has none. The files are read here, once.
pub fn acceptor(config: &TlsConfig) -> anyhow::Result<Option<TlsAcceptor>> {
    let (Some(cert_file), Some(key_file)) = (&config.cert_file, &config.key_file) else { return Ok(None) };
    let chain = certificates(cert_file)?;
    let key = PrivateKeyDer::from_pem_file(key_file)
        .with_context(|| format!("cannot read a private key from tls.key_file {}", key_file.display()))?;
    let provider = Arc::new(crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS cannot be set up")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("tls.cert_file and tls.key_file do not belong together")?;
    // RFC 9113 section 3.2. A peer that offers only other protocols is refused in the handshake.
    server.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(server))))
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain =
        read.with_context(|| format!("cannot read certificates from tls.cert_file {}", file.display()))?;
    if chain.is_empty() {
        bail!("there is no certificate in tls.cert_file {}", file.display());
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_pem_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("empty.pem");
        std::fs::write(&file, "").expect("a file");
        let both = TlsConfig { cert_file: Some(file.clone()), key_file: Some(file) };
        let Err(error) = acceptor(&both) else { panic!("an empty file holds no certificate") };
        assert!(error.to_string().contains("tls.cert_file"), "{error:#}");
    }
}
