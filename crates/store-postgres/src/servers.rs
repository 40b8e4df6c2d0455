//! The servers of one database, of which one is the primary: finds it, and the pool its way to it.

use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Error, PgConnection, PgPool};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::pooled;

/// How long one server may take to say whether it is the primary.
const PROBE_WITHIN: Duration = Duration::from_secs(2);
/// The servers are asked no more often.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// At the start, between two rounds of asking.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Where the database may be found.
pub(crate) struct Servers {
    /// In the order of the URL.
    all: Vec<PgConnectOptions>,
    /// The one that was found to be the primary.
    current: AtomicUsize,
    /// When they were last asked. One caller asks, the others wait for it.
    asked: Mutex<Option<Instant>>,
}

impl Servers {
    /// Of one or more.
    pub(crate) fn new(all: Vec<PgConnectOptions>) -> Self {
        Self { all, current: AtomicUsize::new(0), asked: Mutex::new(None) }
    }

    pub(crate) fn are_several(&self) -> bool {
        self.all.len() > 1
    }

    pub(crate) fn current(&self) -> PgConnectOptions {
        self.all[self.current.load(Ordering::Relaxed)].clone()
    }

    /// Waits for a primary. What is not likely to pass (a wrong password) is an error at once.
    pub(crate) async fn find(&self, within: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + within;
        loop {
            match self.ask().await {
                Err(error) if is_passing(&error) && Instant::now() + RETRY_AFTER < deadline => {
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                found => return found,
            }
        }
    }

    /// Turns the pool's next connections to the primary of now.
    pub(crate) async fn follow(&self, pool: &PgPool) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|asked| asked.elapsed() < ASK_EVERY) {
            return;
        }
        if self.ask().await.is_ok() {
            pool.set_connect_options(pooled(self.current()));
        }
        *asked = Some(Instant::now());
    }

    /// Finds the first that answers and takes writes. An error is the last server's.
    async fn ask(&self) -> Result<(), Error> {
        let mut cause = Error::PoolTimedOut;
        for (index, server) in self.all.iter().enumerate() {
            match timeout(PROBE_WITHIN, probe(server)).await {
                Ok(Ok(())) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(());
                }
                Ok(Err(error)) => cause = error,
                Err(_) => {}
            }
        }
        Err(cause)
    }
}

/// A server that starts, or is promoted, or has no connection left.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::PoolTimedOut | Error::Protocol(_) => true,
        Error::Database(cause) => cause.is_transient_in_connect_phase(),
        _ => false,
    }
}

async fn probe(server: &PgConnectOptions) -> Result<(), Error> {
    let mut connection = server.connect().await?;
    let answer = takes_writes(&mut connection).await;
    let _ = connection.close().await;
    answer
}

/// An error if the server is a standby, or takes no writes for another reason.
pub(crate) async fn takes_writes(connection: &mut PgConnection) -> Result<(), Error> {
    let sql =
        "-- takes writes\nSELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean";
    match sqlx::query_scalar(sql).fetch_one(connection).await? {
        true => Err(Error::Protocol("the server takes no writes".into())),
        false => Ok(()),
    }
}

/// Of a URL like libpq's: it may list several hosts, `postgres://user@one:5432,two:5432/herald`, and may say
/// `target_session_attrs=read-write` (or `primary`), which is how it is taken in any case.
pub(crate) fn parse(url: &str) -> Result<Vec<PgConnectOptions>, Error> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| malformed("it has no scheme"))?;
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (format!("{login}@"), hosts),
        None => (String::new(), authority),
    };
    let rest = without_target(rest)?;
    let urls = hosts.split(',').map(|host| format!("{scheme}://{login}{host}{rest}"));
    urls.map(|url| PgConnectOptions::from_str(&url)).collect()
}

/// The driver does not know the parameter, and would log it.
fn without_target(rest: &str) -> Result<String, Error> {
    let Some((path, parameters)) = rest.split_once('?') else { return Ok(rest.to_owned()) };
    let mut kept = Vec::new();
    for parameter in parameters.split('&') {
        match parameter.split_once('=') {
            Some(("target_session_attrs", "read-write" | "primary")) => {}
            Some(("target_session_attrs", _)) => {
                return Err(malformed("target_session_attrs must be read-write or primary"));
            }
            _ => kept.push(parameter),
        }
    }
    let mark = if kept.is_empty() { "" } else { "?" };
    Ok(format!("{path}{mark}{}", kept.join("&")))
}

fn malformed(what: &'static str) -> Error {
    Error::Configuration(what.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(url: &str, expected: &[(&str, u16)]) {
        let servers = parse(url).unwrap();
        let found: Vec<(&str, u16)> = servers.iter().map(|at| (at.get_host(), at.get_port())).collect();
        assert_eq!(found, expected, "{url}");
        for server in servers {
            assert_eq!((server.get_username(), server.get_database()), ("herald", Some("sms")), "{url}");
        }
    }

    #[test]
    fn a_url_may_list_several_servers() {
        check("postgres://herald@one/sms", &[("one", 5432)]);
        check("postgres://herald:a,b%40c@one:5433,two/sms", &[("one", 5433), ("two", 5432)]);
        check(
            "postgresql://herald@10.0.0.1:5432,[::1]:5433,three:5434/sms?target_session_attrs=read-write",
            &[("10.0.0.1", 5432), ("[::1]", 5433), ("three", 5434)],
        );
        check(
            "postgres://herald@one,two/sms?sslmode=disable&target_session_attrs=primary",
            &[("one", 5432), ("two", 5432)],
        );
    }

    #[test]
    fn a_target_that_is_not_the_primary_is_refused() {
        for url in [
            "postgres://one/sms?target_session_attrs=standby",
            "postgres://one/sms?target_session_attrs=any",
            "one",
        ] {
            assert!(matches!(parse(url), Err(Error::Configuration(_))), "{url}");
        }
    }
}
