//! New keys: shown once, on standard output alone, or written to a file for their owner only.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::Context;

use super::connect::Output;
use super::exit::Failed;
use super::output;

/// Where a new key goes.
#[derive(clap::Args)]
pub struct Save {
    /// Write the whole key to this new file, readable by its owner only, instead of printing it.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// A place for a key that is about to be made.
pub struct Place(Option<NewFile>);

/// Removed on drop, unless the key came.
struct NewFile {
    path: PathBuf,
    file: File,
    has_key: bool,
}

impl Save {
    /// Before the call: a key that cannot be kept is not made.
    pub fn prepare(self) -> Result<Place, Failed> {
        let Some(path) = self.save else { return Ok(Place(None)) };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Place(Some(NewFile { path, file, has_key: false })))
    }
}

impl Place {
    /// Puts the key where it belongs, and tells the rest of the answer. `secret` is the answer's field with the key;
    /// `facts` describe it to a person.
    pub fn put<M: prost::Message>(
        self,
        mode: Output,
        name: &str,
        mut answer: M,
        secret: fn(&mut M) -> &mut String,
        facts: &str,
    ) -> Result<(), Failed> {
        let Some(mut file) = self.0 else {
            eprintln!("{}This is the whole key. It is shown this once: keep it.", blank(mode, facts));
            return match mode {
                Output::Table => output::line(secret(&mut answer)),
                Output::Json | Output::Jsonl => output::json(mode, name, &answer),
            };
        };
        file.write(&std::mem::take(secret(&mut answer)))?;
        eprintln!("the whole key is in {}", file.path.display());
        match mode {
            Output::Table => output::line(facts),
            Output::Json | Output::Jsonl => output::json(mode, name, &answer),
        }
    }
}

/// A program reads the facts in its JSON.
fn blank(mode: Output, facts: &str) -> String {
    if mode == Output::Table { format!("{facts}\n") } else { String::new() }
}

impl NewFile {
    fn write(&mut self, key: &str) -> Result<(), Failed> {
        let written = self.file.write_all(key.as_bytes()).and_then(|()| self.file.sync_all());
        written.with_context(|| format!("cannot write {}", self.path.display()))?;
        self.has_key = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.has_key {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use herald_sdk::v1;

    use super::*;

    #[test]
    fn a_key_is_saved_for_its_owner_only_and_never_over_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let save = || Save { save: Some(path.clone()) }.prepare();
        drop(save().unwrap());
        assert!(!path.exists(), "a call that failed leaves no file");
        let answer = v1::CreateApiKeyResponse { secret: "hk_a_b_c".into(), ..Default::default() };
        save()
            .unwrap()
            .put(Output::Jsonl, "CreateApiKeyResponse", answer, |answer| &mut answer.secret, "")
            .unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "hk_a_b_c");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(save().is_err(), "an older key is not overwritten");
        assert!(path.exists());
    }
}
