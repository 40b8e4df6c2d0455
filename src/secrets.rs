//! Secret files: made with mode 0600, read with care.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use rand::RngCore;

/// Writes a secret to a new file that only its owner may read. Fails if the file exists.
pub fn create(path: &Path, secret: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    file.write_all(secret.as_bytes()).and_then(|()| file.sync_all())?;
    Ok(())
}

/// Reads a secret, without the line end.
pub fn read(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// The pepper in `path`; a missing file is made when `may_create`.
pub fn pepper(path: &Path, may_create: bool) -> anyhow::Result<[u8; 32]> {
    if may_create && !path.exists() {
        let mut fresh = [0; 32];
        rand::rng().fill_bytes(&mut fresh);
        create(path, &hex(&fresh))?;
    }
    unhex(&read(path)?).with_context(|| format!("{} must hold 64 hex digits", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> anyhow::Result<[u8; 32]> {
    if digits.len() != 64 || !digits.is_ascii() {
        bail!("not 64 digits");
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pepper_is_made_once_and_reads_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("pepper");
        assert!(pepper(&path, false).is_err());
        let first = pepper(&path, true).expect("it is made");
        assert_eq!(pepper(&path, true).expect("it reads back"), first);
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
