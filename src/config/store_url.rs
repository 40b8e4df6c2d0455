//! Which store a URL names.

use std::path::PathBuf;

use super::EngineUrl;
use super::problem::Problem;

/// What `store_url` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    Sqlite(PathBuf),
    Postgres(EngineUrl),
}

impl StoreKind {
    /// `None`: it names no store.
    pub fn of(url: &EngineUrl) -> Option<Self> {
        if let Some(path) = url.expose().strip_prefix("sqlite:") {
            // SQLite takes an empty path for a database that is gone when it is closed.
            return (!path.is_empty()).then(|| Self::Sqlite(PathBuf::from(path)));
        }
        url.has_scheme(&["postgres", "postgresql"]).then(|| Self::Postgres(url.clone()))
    }
}

pub(super) fn problem(url: &EngineUrl) -> Option<Problem> {
    let fault = "must be sqlite:PATH or postgres://... (in the file, or as HERALD_STORE_URL)";
    StoreKind::of(url).is_none().then(|| Problem::new("store_url", fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_name_is_no_store() {
        assert_eq!(StoreKind::of(&"sqlite:".into()), None);
        assert_eq!(StoreKind::of(&"mysql://db".into()), None);
        assert_eq!(StoreKind::of(&"sqlite:x.db".into()), Some(StoreKind::Sqlite("x.db".into())));
    }
}
