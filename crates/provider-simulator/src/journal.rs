//! The file of JSON lines: read at start, appended in group commits.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::config::{ConfigError, Journal, Keep};
use crate::record::{Record, Scheduled, SubmitRecord};

/// Records that go to the disk together, at most.
const GROUP: usize = 1_024;

/// Why a simulator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("configuration")]
    Config(#[from] ConfigError),
    #[error("journal {path}")]
    File { path: PathBuf, source: io::Error },
    #[error("journal {path}, line {line}")]
    Line { path: PathBuf, line: usize, source: serde_json::Error },
}

/// The journal takes no more records: a write failed, or the simulator was closed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the journal is closed")]
pub struct JournalClosed;

/// What a journal says of the time before this start.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Submits in the order of the file, each with the reports that nobody has stored yet.
    pub(crate) submits: Vec<SubmitRecord>,
    /// Above every report id in the file.
    pub(crate) next_report: u64,
}

/// The writing end.
#[derive(Clone)]
pub(crate) struct Writer {
    entries: mpsc::UnboundedSender<Entry>,
}

struct Entry {
    line: String,
    /// Released to the schedule once the line is on the disk.
    reports: Vec<Scheduled>,
    done: Option<oneshot::Sender<()>>,
}

impl Writer {
    /// Queues a record; its reports may leave when it is written. Wait on the result before answering. The
    /// record is written even if nobody waits.
    pub(crate) fn append(
        &self,
        record: &Record,
        reports: Vec<Scheduled>,
    ) -> Result<oneshot::Receiver<()>, JournalClosed> {
        let (done, written) = oneshot::channel();
        self.send(Entry { line: line(record), reports, done: Some(done) })?;
        Ok(written)
    }

    /// Queues a record that nobody waits for.
    pub(crate) fn note(&self, record: &Record) -> Result<(), JournalClosed> {
        self.send(Entry { line: line(record), reports: Vec::new(), done: None })
    }

    fn send(&self, entry: Entry) -> Result<(), JournalClosed> {
        self.entries.send(entry).map_err(|_| JournalClosed)
    }
}

fn line(record: &Record) -> String {
    let mut line = serde_json::to_string(record).expect("a record has string keys only");
    line.push('\n');
    line
}

/// Reads the journal, makes it small if it is to be, and starts its writer. Reports of written records go to
/// `schedule`. A submit without open reports is kept in mind if it `matters`. The task ends when every [`Writer`] is gone or a write fails.
pub(crate) fn open(
    journal: &Journal,
    schedule: mpsc::UnboundedSender<Vec<Scheduled>>,
    matters: impl Fn(&SubmitRecord) -> bool,
) -> Result<(Recovered, Writer, JoinHandle<()>), OpenError> {
    let failed = |source| OpenError::File { path: journal.path.clone(), source };
    let (mut recovered, whole_bytes) = read(&journal.path, |_| {})?;
    recovered.submits.retain(|submit| !submit.reports.is_empty() || matters(submit));
    let file = match journal.keep {
        Keep::Unsettled => compacted(&journal.path, &recovered.submits),
        Keep::Everything => appending(&journal.path, whole_bytes),
    };
    let file = file.map_err(failed)?;
    let (entries, queue) = mpsc::unbounded_channel();
    let task = tokio::spawn(write_groups(file, journal.synced, queue, schedule));
    Ok((recovered, Writer { entries }, task))
}

/// Reads a journal, and tells `seen` each record. A last line without its end is the trace of a crash while
/// it was written: nobody was answered for it, so it does not count. Returns the length of what does.
pub(crate) fn read(path: &Path, mut seen: impl FnMut(&Record)) -> Result<(Recovered, u64), OpenError> {
    let failed = |source| OpenError::File { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Recovered::default(), 0)),
        Err(error) => return Err(failed(error)),
    };
    let mut reader = BufReader::new(file);
    let mut recovered = Recovered::default();
    // Which submit each open report belongs to.
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    let (mut whole_bytes, mut number, mut text) = (0, 0, Vec::new());
    loop {
        text.clear();
        let length = reader.read_until(b'\n', &mut text).map_err(failed)?;
        if text.last() != Some(&b'\n') {
            break;
        }
        number += 1;
        let record: Record = serde_json::from_slice(&text).map_err(|source| OpenError::Line {
            path: path.to_owned(),
            line: number,
            source,
        })?;
        whole_bytes += u64::try_from(length).unwrap_or(u64::MAX);
        seen(&record);
        match record {
            Record::Submit(submit) => {
                for report in &submit.reports {
                    recovered.next_report = recovered.next_report.max(report.id.saturating_add(1));
                    open.insert(report.id, recovered.submits.len());
                }
                recovered.submits.push(submit);
            }
            Record::Stored { reports, .. } => {
                for id in reports {
                    if let Some(index) = open.remove(&id) {
                        recovered.submits[index].reports.retain(|report| report.id != id);
                    }
                }
            }
        }
    }
    Ok((recovered, whole_bytes))
}

/// Replaces the file by one with these submits only. The old file stays until the new one is on the disk.
fn compacted(path: &Path, submits: &[SubmitRecord]) -> io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut writer = BufWriter::new(private().truncate(true).open(&new)?);
    for submit in submits {
        writer.write_all(line(&Record::Submit(submit.clone())).as_bytes())?;
    }
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    sync_directory(path)?;
    Ok(file)
}

fn appending(path: &Path, whole_bytes: u64) -> io::Result<File> {
    use std::io::Seek as _;
    let mut file = private().open(path)?;
    file.set_len(whole_bytes)?;
    file.seek(io::SeekFrom::End(0))?;
    file.sync_all()?;
    sync_directory(path)?;
    Ok(file)
}

/// For the owner's eyes only: the lines name recipients.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

async fn write_groups(
    mut file: File,
    synced: bool,
    mut queue: mpsc::UnboundedReceiver<Entry>,
    schedule: mpsc::UnboundedSender<Vec<Scheduled>>,
) {
    let mut group = Vec::new();
    while queue.recv_many(&mut group, GROUP).await > 0 {
        let bytes = group.iter().map(|entry| entry.line.as_str()).collect::<String>();
        let written = tokio::task::spawn_blocking(move || {
            let result = file.write_all(bytes.as_bytes());
            (result.and_then(|()| if synced { file.sync_data() } else { Ok(()) }), file)
        });
        match written.await {
            Ok((Ok(()), same)) => file = same,
            Ok((Err(error), _)) => {
                // What reached the disk is unknown, so nothing may follow it.
                tracing::error!(%error, "the simulator's journal cannot be written; it takes no more messages");
                return;
            }
            // The runtime is going down.
            Err(_) => return,
        }
        for entry in group.drain(..) {
            if !entry.reports.is_empty() {
                // Nobody receives when the simulator is closed; the journal keeps the reports.
                let _ = schedule.send(entry.reports);
            }
            if let Some(done) = entry.done {
                let _ = done.send(());
            }
        }
    }
}
