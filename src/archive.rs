//! The archive: files into which retention writes what it then removes.
//!
//! `events/CLIENT/FIRST-LAST.jsonl.gz` by `seq`, `messages/CLIENT/FIRST-LAST.jsonl.gz` and `audit_entries/FIRST-LAST.jsonl.gz` by
//! id. Each line is one document as the API's JSON mapping has it: `herald.v1.Event`, `Message` (without parts and
//! history), `AuditEntry`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use delivery::model::{AuditEntry, Message};
use delivery::port::Store;
use delivery::retention::{Archive, ArchiveError};
use flate2::Compression;
use flate2::write::GzEncoder;
use message::event::Event;
use message::id::ClientId;
use uuid::Uuid;

use crate::grpc::convert;
use crate::proto_json::{Resource, proto_json};

/// An archive in a folder.
pub struct FileArchive {
    folder: PathBuf,
    /// Knows the clients' currencies.
    store: Arc<dyn Store>,
}

impl FileArchive {
    /// Makes the folder, unless it is there.
    pub fn open(folder: &Path, store: Arc<dyn Store>) -> anyhow::Result<Self> {
        let made = make_folder(folder).and_then(|()| folder.canonicalize());
        let folder = made.with_context(|| format!("cannot make the archive {}", folder.display()))?;
        // Its own name must survive the loss of power too. Folders far above may not be ours to open.
        for above in folder.ancestors().skip(1) {
            let _ = File::open(above).and_then(|above| above.sync_all());
        }
        Ok(Self { folder, store })
    }

    /// Writes one file of rows, from `first` to `last`. A file of that name holds these rows too, left by a crash before
    /// they were removed: it is replaced.
    async fn write<R: Resource + 'static>(
        &self,
        within: PathBuf,
        (first, last): (String, String),
        rows: Vec<R>,
    ) -> Result<(), ArchiveError> {
        let folder = self.folder.clone();
        let name = format!("{first}-{last}.jsonl.gz");
        let written = tokio::task::spawn_blocking(move || write_file(&folder, &within, &name, &rows)).await;
        written.map_err(|error| ArchiveError(error.into()))?.map_err(|error| ArchiveError(error.into()))
    }

    async fn currency(&self, client: ClientId) -> Result<String, ArchiveError> {
        let found = self.store.client(client).await.map_err(|error| ArchiveError(error.into()))?;
        found.map(|(client, _)| client.currency).ok_or_else(|| ArchiveError("there is no such client".into()))
    }
}

#[async_trait]
impl Archive for FileArchive {
    async fn events(&self, client: ClientId, events: &[Event]) -> Result<(), ArchiveError> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(()) };
        let currency = self.currency(client).await?;
        let rows = events.iter().map(|event| convert::event::event(event, &currency)).collect();
        // Of one length, so that names sort as their numbers do.
        let ends = (format!("{:019}", first.seq), format!("{:019}", last.seq));
        self.write(Path::new("events").join(client.to_string()), ends, rows).await
    }

    async fn messages(&self, client: ClientId, messages: &[Message]) -> Result<(), ArchiveError> {
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else { return Ok(()) };
        let ends = (first.record.key.id.to_string(), last.record.key.id.to_string());
        let rows = messages.iter().map(convert::message::brief).collect();
        self.write(Path::new("messages").join(client.to_string()), ends, rows).await
    }

    async fn audit_entries(&self, entries: &[AuditEntry]) -> Result<(), ArchiveError> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        let ends = (first.id.to_string(), last.id.to_string());
        let rows = entries.iter().map(convert::audit::audit_entry).collect();
        self.write("audit_entries".into(), ends, rows).await
    }
}

/// Durable when it returns, and never there in part: written under another name, synced, then renamed.
fn write_file<R: Resource>(root: &Path, within: &Path, name: &str, rows: &[R]) -> io::Result<()> {
    let folder = root.join(within);
    make_folder(&folder)?;
    // Several nodes may share the folder.
    let unfinished = folder.join(format!(".{}.tmp", Uuid::now_v7()));
    let written = fill(&unfinished, rows).and_then(|()| std::fs::rename(&unfinished, folder.join(name)));
    if written.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    written?;
    // The name is in its folder, and a new folder's in the one above.
    let above = folder.ancestors().take_while(|above| above.starts_with(root));
    above.into_iter().try_for_each(|folder| File::open(folder)?.sync_all())
}

fn fill<R: Resource>(path: &Path, rows: &[R]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut lines = GzEncoder::new(BufWriter::new(file), Compression::default());
    for row in rows {
        lines.write_all(proto_json(row).as_bytes())?;
        lines.write_all(b"\n")?;
    }
    let file = lines.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()
}

/// Readable by its owner only.
fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::proto::v1;

    fn rates(count: i64) -> Vec<v1::Rate> {
        (0..count).map(|part_price_micros| v1::Rate { part_price_micros, ..v1::Rate::default() }).collect()
    }

    fn lines(path: &Path) -> Vec<String> {
        let mut text = String::new();
        GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_file_holds_a_line_for_each_row_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("archive");
        write_file(&root, Path::new("kind/client"), "1-2.jsonl.gz", &rates(3)).unwrap();
        let path = root.join("kind/client/1-2.jsonl.gz");
        assert_eq!(lines(&path), ["{}", r#"{"partPriceMicros":"1"}"#, r#"{"partPriceMicros":"2"}"#]);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&root), mode(path.parent().unwrap())), (0o600, 0o700, 0o700));
    }

    #[test]
    fn rows_that_are_written_twice_are_there_once_and_nothing_unfinished_stays() {
        let folder = tempfile::tempdir().unwrap();
        for count in [2, 3] {
            write_file(folder.path(), Path::new("kind"), "1-2.jsonl.gz", &rates(count)).unwrap();
        }
        let kind = folder.path().join("kind");
        assert_eq!(lines(&kind.join("1-2.jsonl.gz")).len(), 3);
        assert_eq!(std::fs::read_dir(&kind).unwrap().count(), 1);
        // One that cannot get its name.
        std::fs::create_dir_all(kind.join("3-4.jsonl.gz/full")).unwrap();
        assert!(write_file(folder.path(), Path::new("kind"), "3-4.jsonl.gz", &rates(1)).is_err());
        assert_eq!(std::fs::read_dir(&kind).unwrap().count(), 2);
    }
}
