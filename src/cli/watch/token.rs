//! The file that keeps a watcher's place in the log.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The token in the file; empty if there is no file.
pub fn read(file: &Path) -> anyhow::Result<String> {
    match std::fs::read_to_string(file) {
        Ok(token) => Ok(token.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Replaces the token in one step: a reader, or a crash, finds the old one or the new one.
pub fn write(file: &Path, token: &str) -> anyhow::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let fresh = PathBuf::from(name);
    let written = File::create(&fresh).and_then(|mut fresh| {
        fresh.write_all(token.as_bytes())?;
        // Before the rename, or a loss of power could leave an empty file, and with it no position at all.
        fresh.sync_data()
    });
    written
        .and_then(|()| std::fs::rename(&fresh, file))
        .with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_token_file_is_replaced_and_its_absence_means_no_token() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        assert_eq!(read(&file).unwrap(), "");
        write(&file, "t1").unwrap();
        write(&file, "t2").unwrap();
        assert_eq!(read(&file).unwrap(), "t2");
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["token"]);
    }
}
