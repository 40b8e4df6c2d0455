//! The connection to a NATS server, or to one of a cluster.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use percent_encoding::percent_decode_str;
use tokio::sync::watch;

/// A server that is silent for two of these is given up.
const PING: Duration = Duration::from_secs(5);
/// Longest wait between two tries to connect again.
const RECONNECT_MAX: Duration = Duration::from_secs(2);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Which servers, and how to be let in.
#[derive(Clone, Default)]
pub struct Servers {
    /// `nats://host:4222`, `tls://host:4222`, or `host`. A user and password, or a token, may stand before the host: then
    /// the same in each, or in one.
    pub urls: Vec<String>,
    /// How this connection shows in the server's monitoring.
    pub name: String,
    /// Instead of those in a URL.
    pub credentials: Option<Credentials>,
    /// Refuses a server without TLS, as a `tls://` URL does.
    pub require_tls: bool,
    /// PEM; besides the system's.
    pub root_certificates: Option<PathBuf>,
    /// PEM: certificate and key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

/// Proof of who connects.
#[derive(Clone)]
pub enum Credentials {
    Token(String),
    Password {
        user: String,
        password: String,
    },
    /// A `.creds` file: user JWT and its seed.
    File(PathBuf),
}

/// Why there is no connection. Names hosts, never what stands before them.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("a NATS URL is malformed: expected nats://host:port or tls://host:port")]
    MalformedUrl,
    #[error("no NATS URL is given")]
    NoUrl,
    #[error("the NATS URLs name different users; credentials are for all servers alike")]
    SeveralCredentials,
    #[error("the NATS credentials file cannot be used")]
    CredentialsFile(#[source] std::io::Error),
    #[error("cannot connect to NATS at {hosts}: {kind}")]
    Refused {
        hosts: String,
        kind: async_nats::ConnectErrorKind,
        #[source]
        source: async_nats::ConnectError,
    },
}

/// Why the engine cannot be relied on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unhealthy {
    #[error("NATS is not connected")]
    Disconnected,
    #[error("JetStream does not answer")]
    NotAnswering,
}

/// An open connection. When it breaks, it is made again for ever. Clones share it.
#[derive(Clone)]
pub struct Connection {
    pub(crate) client: Client,
    /// How often it was made; changes when it is made again.
    pub(crate) connects: watch::Receiver<u64>,
}

impl Connection {
    /// Connects, or says why not: the first time is not tried again.
    pub async fn open(servers: Servers) -> Result<Self, ConnectError> {
        let (addresses, from_urls) = read_urls(&servers.urls)?;
        let hosts = addresses.iter().map(|each| format!("{}:{}", each.host(), each.port()));
        let hosts = hosts.collect::<Vec<_>>().join(", ");
        let (made, connects) = watch::channel(0);
        let mut options = ConnectOptions::new()
            .name(&servers.name)
            .require_tls(servers.require_tls)
            .connection_timeout(CONNECT_LIMIT)
            .ping_interval(PING)
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                note(&made, &event);
                std::future::ready(())
            });
        if let Some(path) = servers.root_certificates {
            options = options.add_root_certificates(path);
        }
        if let Some((certificate, key)) = servers.client_certificate {
            options = options.add_client_certificate(certificate, key);
        }
        options = match servers.credentials.or(from_urls) {
            None => options,
            Some(Credentials::Token(token)) => options.token(token),
            Some(Credentials::Password { user, password }) => options.user_and_password(user, password),
            Some(Credentials::File(path)) => {
                options.credentials_file(path).await.map_err(ConnectError::CredentialsFile)?
            }
        };
        let connected = options.connect(addresses).await;
        let client =
            connected.map_err(|source| ConnectError::Refused { hosts, kind: source.kind(), source })?;
        Ok(Self { client, connects })
    }

    pub(crate) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }
}

/// The addresses without what stands before the host: the client would show it in its logs.
fn read_urls(urls: &[String]) -> Result<(Vec<ServerAddr>, Option<Credentials>), ConnectError> {
    let mut addresses = Vec::with_capacity(urls.len());
    let mut found: Option<(String, Option<String>)> = None;
    for url in urls {
        let address: ServerAddr = url.trim().parse().map_err(|_| ConnectError::MalformedUrl)?;
        let mut bare = address.into_inner();
        if bare.host_str().is_none_or(str::is_empty) {
            return Err(ConnectError::MalformedUrl);
        }
        if !bare.username().is_empty() || bare.password().is_some() {
            let given = (bare.username().to_owned(), bare.password().map(str::to_owned));
            if found.as_ref().is_some_and(|found| *found != given) {
                return Err(ConnectError::SeveralCredentials);
            }
            found = Some(given);
            bare.set_username("").map_err(|()| ConnectError::MalformedUrl)?;
            bare.set_password(None).map_err(|()| ConnectError::MalformedUrl)?;
        }
        addresses.push(ServerAddr::from_url(bare).map_err(|_| ConnectError::MalformedUrl)?);
    }
    if addresses.is_empty() {
        return Err(ConnectError::NoUrl);
    }
    let decode = |text: String| percent_decode_str(&text).decode_utf8_lossy().into_owned();
    let credentials = found.map(|(user, password)| match password {
        Some(password) => Credentials::Password { user: decode(user), password: decode(password) },
        None => Credentials::Token(decode(user)),
    });
    Ok((addresses, credentials))
}

fn reconnect_delay(tries: usize) -> Duration {
    match tries {
        0 | 1 => Duration::ZERO,
        _ => Duration::from_millis(50 << tries.min(6)).min(RECONNECT_MAX),
    }
}

fn note(made: &watch::Sender<u64>, event: &Event) {
    match event {
        Event::Connected => {
            made.send_modify(|count| *count += 1);
            tracing::info!("NATS is connected");
        }
        Event::Disconnected => tracing::warn!("NATS is disconnected; it is tried again until it is back"),
        // A lost connection is tried again each second or so: once a try is enough.
        event => tracing::debug!(%event, "NATS"),
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers")
            .field("urls", &self.urls.len())
            .field("name", &self.name)
            .field("credentials", &self.credentials)
            .field("require_tls", &self.require_tls)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(..)",
            Self::Password { .. } => "Password(..)",
            Self::File(_) => "File(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(urls: &[&str]) -> Result<(Vec<ServerAddr>, Option<Credentials>), ConnectError> {
        read_urls(&urls.iter().map(|&url| url.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_stands_before_the_host_is_taken_out_of_the_address() {
        let (addresses, credentials) = read(&["nats://me:p%40ss@one:4333", "tls://two"]).expect("good URLs");
        assert!(!format!("{addresses:?}").contains("p%40ss"), "{addresses:?}");
        assert!(
            matches!(credentials, Some(Credentials::Password { user, password }) if user == "me" && password == "p@ss")
        );
        let (_, credentials) = read(&["nats://token@one", "nats://token@two"]).expect("good URLs");
        assert!(matches!(credentials, Some(Credentials::Token(token)) if token == "token"));
    }

    #[test]
    fn urls_that_cannot_be_used_are_refused_without_being_told() {
        for urls in [&["http://secret@one"][..], &["nats://"], &["nats://a b"], &["nats://one:99999"]] {
            let error = read(urls).map(|_| ()).expect_err("a bad URL");
            assert!(matches!(error, ConnectError::MalformedUrl), "{urls:?}: {error}");
        }
        assert!(matches!(read(&[]), Err(ConnectError::NoUrl)));
        let two = read(&["nats://a:x@one", "nats://b:x@two"]);
        assert!(matches!(two, Err(ConnectError::SeveralCredentials)));
    }
}
