//! Where an engine is: the database, the queue, Redis. The URL may hold a password, which nothing shows.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

const HIDDEN: &str = "***";

/// Parameters of a PostgreSQL URL that are no secrets.
const SHOWN: [&str; 12] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "port",
    "sslcert",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "target_session_attrs",
    "user",
];

/// Both Debug and what is serialized have `***` in place of a password.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct EngineUrl(String);

impl EngineUrl {
    /// The URL with its password.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it begins with one of the schemes and `://`.
    pub(super) fn has_scheme(&self, schemes: &[&str]) -> bool {
        self.0.split_once("://").is_some_and(|(scheme, _)| schemes.contains(&scheme))
    }
}

impl From<String> for EngineUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl From<&str> for EngineUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl fmt::Debug for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&masked(&self.0), f)
    }
}

impl Serialize for EngineUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&masked(&self.0))
    }
}

/// The URL without what may be a secret. A password with a `/`, `?`, `#` or `@` that was not escaped makes the URL
/// ambiguous; of such a URL only the scheme is shown.
fn masked(url: &str) -> String {
    if url.is_empty() || url.starts_with("sqlite:") {
        return url.to_owned();
    }
    let Some((scheme, rest)) = url.split_once("://") else { return HIDDEN.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, authority),
    };
    if path.contains(['@', '#']) || !ends_like_a_host(host) {
        return format!("{scheme}://{HIDDEN}");
    }
    let login = login.map(|login| match login.split_once(':') {
        Some((user, _)) => format!("{user}:{HIDDEN}@"),
        None => format!("{login}@"),
    });
    let path = match path.split_once('?') {
        Some((path, parameters)) => {
            let parameters: Vec<String> = parameters.split('&').map(masked_parameter).collect();
            format!("{path}?{}", parameters.join("&"))
        }
        None => path.to_owned(),
    };
    format!("{scheme}://{}{host}{path}", login.unwrap_or_default())
}

/// With a port that is a number, or without one. What follows a `:` otherwise may be a password.
fn ends_like_a_host(host: &str) -> bool {
    let after_address = host.rsplit_once(']').map_or(host, |(_, after)| after);
    after_address
        .rsplit_once(':')
        .is_none_or(|(_, port)| port.len() <= 5 && port.bytes().all(|digit| digit.is_ascii_digit()))
}

fn masked_parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if SHOWN.contains(&name) => parameter.to_owned(),
        Some((name, _)) => format!("{name}={HIDDEN}"),
        None => HIDDEN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        for (url, shown) in [
            ("", ""),
            ("sqlite:herald.db", "sqlite:herald.db"),
            ("postgres://herald@db/herald", "postgres://herald@db/herald"),
            ("postgres://herald:s3cret@db:5432/herald", "postgres://herald:***@db:5432/herald"),
            ("postgres://herald:s3cret@[::1]:5432/herald", "postgres://herald:***@[::1]:5432/herald"),
            ("postgres://herald:@db", "postgres://herald:***@db"),
            (
                "postgres://herald:s3%40cret@db/herald?sslmode=require",
                "postgres://herald:***@db/herald?sslmode=require",
            ),
            (
                "postgres:///herald?user=herald&password=s3cret&passw%6Frd=s3cret",
                "postgres:///herald?user=herald&password=***&passw%6Frd=***",
            ),
            (
                "postgres://herald:s3cret@one:5432,two:5432/herald",
                "postgres://herald:***@one:5432,two:5432/herald",
            ),
            ("nats://one:4222,nats://two:4222", "nats://one:4222,nats://two:4222"),
            ("nats://herald:s3cret@one,herald:s3cret@two", "nats://herald:***@two"),
            ("redis://:s3cret@redis:6379/1", "redis://:***@redis:6379/1"),
        ] {
            assert_eq!(masked(url), shown);
            assert_eq!(masked(shown), shown, "what is masked stays so");
        }
    }

    #[test]
    fn of_an_ambiguous_url_only_the_scheme_is_shown() {
        for url in [
            "postgres://herald:s3/cret@db/herald",
            "postgres://herald:s3?cret@db/herald",
            "postgres://herald:s3#cret@db/herald",
            "postgres://herald:s3cret",
            "postgres://db/herald?password=s3@cret",
        ] {
            assert_eq!(masked(url), "postgres://***");
        }
        assert_eq!(masked("herald:s3cret@db"), "***");
    }
}
