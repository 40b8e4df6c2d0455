//! Backups as an operator makes them: `pg_dump` of a running server's database, or the files of a stopped one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Executor};

use super::database::Database;

/// What a SQLite store is made of, beside its lock.
const SQLITE_FILES: [&str; 2] = ["", "-wal"];

/// A copy of a database in a folder.
pub(crate) struct Backup {
    folder: PathBuf,
}

impl Backup {
    /// Into `folder`, which is made. A SQLite store must be closed.
    pub(crate) fn take(database: &Database, folder: PathBuf) -> Self {
        std::fs::create_dir(&folder).expect("a folder");
        match sqlite_file(database) {
            Some(file) => {
                for suffix in SQLITE_FILES {
                    copy(&with(&file, suffix), &folder.join(format!("copy{suffix}")));
                }
            }
            None => postgres("pg_dump", ["--format=custom", "--file"], &folder.join("dump"), database.url()),
        }
        Self { folder }
    }

    /// Puts it in the database's place. No server may run.
    pub(crate) async fn restore(&self, database: &Database) {
        let Some(file) = sqlite_file(database) else { return self.restore_postgres(database.url()).await };
        for suffix in SQLITE_FILES {
            let _ = std::fs::remove_file(with(&file, suffix));
            copy(&self.folder.join(format!("copy{suffix}")), &with(&file, suffix));
        }
    }

    async fn restore_postgres(&self, url: &str) {
        let (server, name) = url.rsplit_once('/').expect("the URL names a database");
        let options = PgConnectOptions::from_str(&format!("{server}/postgres")).expect("a URL");
        let mut connection = options.connect().await.expect("PostgreSQL runs");
        for statement in [format!("DROP DATABASE {name} WITH (FORCE)"), format!("CREATE DATABASE {name}")] {
            connection.execute(sqlx::AssertSqlSafe(statement)).await.expect("a superuser may");
        }
        postgres("pg_restore", ["--exit-on-error", "--dbname"], Path::new(url), self.folder.join("dump"));
    }
}

fn sqlite_file(database: &Database) -> Option<PathBuf> {
    database.url().strip_prefix("sqlite:").map(PathBuf::from)
}

fn with(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Where there is something.
fn copy(from: &Path, to: &Path) {
    if from.exists() {
        std::fs::copy(from, to).expect("a copy");
    }
}

/// Runs a tool of PostgreSQL: `option` takes `value`, and the tool reads `source`.
fn postgres(tool: &str, [flag, option]: [&str; 2], value: &Path, source: impl AsRef<std::ffi::OsStr>) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/postgres.sh");
    let found = Command::new(script).arg("bin").stdin(Stdio::null()).output().expect("the script runs");
    assert!(found.status.success(), "no tools of PostgreSQL: {}", String::from_utf8_lossy(&found.stderr));
    let folder = String::from_utf8(found.stdout).expect("it prints text");
    let mut command = Command::new(Path::new(folder.trim()).join(tool));
    command.args([flag, option]).arg(value).arg(source).stdin(Stdio::null());
    let ended = command.output().expect("the tool runs");
    assert!(ended.status.success(), "{tool}: {}", String::from_utf8_lossy(&ended.stderr));
}
