//! Where the data is. The URL may hold a password, which nothing shows.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::problem::Problem;

const HIDDEN: &str = "***";

/// Parameters of a PostgreSQL URL that are no secrets.
const SHOWN: [&str; 11] = [
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
    "user",
];

/// `sqlite:PATH` or `postgres://...`. Both Debug and what is serialized have `***` in place of a password.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct StoreUrl(String);

/// What the URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    Sqlite(PathBuf),
    Postgres(StoreUrl),
}

impl StoreUrl {
    /// The URL with its password.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `None`: it names no store.
    pub fn kind(&self) -> Option<StoreKind> {
        if let Some(path) = self.0.strip_prefix("sqlite:") {
            // SQLite takes an empty path for a database that is gone when it is closed.
            return (!path.is_empty()).then(|| StoreKind::Sqlite(PathBuf::from(path)));
        }
        let is_postgres = self.0.starts_with("postgres://") || self.0.starts_with("postgresql://");
        is_postgres.then(|| StoreKind::Postgres(self.clone()))
    }

    pub(super) fn problem(&self) -> Option<Problem> {
        let fault = "must be sqlite:PATH or postgres://... (in the file, or as HERALD_STORE_URL)";
        self.kind().is_none().then(|| Problem::new("store_url", fault))
    }
}

impl From<String> for StoreUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl From<&str> for StoreUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&masked(&self.0), f)
    }
}

impl Serialize for StoreUrl {
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

    #[test]
    fn a_file_without_a_name_is_no_store() {
        assert_eq!(StoreUrl::from("sqlite:").kind(), None);
        assert_eq!(StoreUrl::from("mysql://db").kind(), None);
        assert_eq!(StoreUrl::from("sqlite:x.db").kind(), Some(StoreKind::Sqlite("x.db".into())));
    }
}
