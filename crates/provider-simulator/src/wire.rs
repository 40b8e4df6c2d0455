//! The protocol between a server and the simulator's own process: JSON objects, one a line, over TCP.
//!
//! | frame | from | meaning |
//! |---|---|---|
//! | `submit` | server | one attempt; `id` is the server's own and unique on the connection |
//! | `answer` | simulator | to the submit with that `id`; a withheld answer never comes |
//! | `reports` | simulator | up to 500 provider reports, under a `batch` number of this connection |
//! | `stored` | server | the reports of that batch are durable |
//! | `not_stored` | server | they are not: deliver them again |
//!
//! Answers come in any order. The simulator writes a submit to its log before the answer or any report
//! leaves. A batch that is neither stored nor refused when its connection ends is delivered again, on any
//! connection. No frame carries the text of a message: `submit` has its length and its SHA-256.
//! A line that does not parse, or is longer than [`MAX_LINE`], ends the connection.
//!
//! ```json
//! {"frame":"submit","id":1,"attempt_ref":"<client>/<message>/1","to":"+12025550100","part_count":1,
//!  "content_bytes":5,"content_sha256":"…","answer_timeout_micros":10000000}
//! {"frame":"answer","id":1,"reply":{"kind":"accepted","refs":["sim-0badcafe-1"]}}
//! {"frame":"reports","batch":1,"reports":[{"provider_ref":"sim-0badcafe-1","state":"DELIVERED","part":0,
//!  "done_date":"1790000000000","attempt_ref":"<client>/<message>/1"}]}
//! {"frame":"stored","batch":1}
//! ```

use serde::{Deserialize, Serialize};
use tokio_util::codec::LinesCodec;

use crate::order::Order;
pub use crate::record::{FailureText, Reply, Report};

/// The longest line, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// From the server to the simulator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub enum ToSimulator {
    Submit {
        id: u64,
        #[serde(flatten)]
        order: Order,
        /// How long the server waits for the answer.
        answer_timeout_micros: u64,
    },
    Stored {
        batch: u64,
    },
    NotStored {
        batch: u64,
    },
}

/// From the simulator to the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub enum FromSimulator {
    Answer { id: u64, reply: Reply },
    Reports { batch: u64, reports: Vec<Report> },
}

pub(crate) fn codec() -> LinesCodec {
    LinesCodec::new_with_max_length(MAX_LINE)
}

/// One frame as its line.
pub(crate) fn line(frame: &impl Serialize) -> String {
    let mut line = serde_json::to_string(frame).expect("a frame has string keys only");
    line.push('\n');
    line
}

/// Writes lines as they come, many at once when many wait, until the sender is gone or a write fails.
/// `leaving` is told each line's tag just before its first byte may leave, and may hold the line back.
pub(crate) async fn write_lines<T>(
    mut to: impl tokio::io::AsyncWrite + Unpin,
    lines: &mut tokio::sync::mpsc::UnboundedReceiver<(T, String)>,
    mut leaving: impl FnMut(T) -> bool,
) -> std::io::Result<()> {
    use tokio::io::AsyncWriteExt as _;
    let mut waiting = Vec::new();
    while lines.recv_many(&mut waiting, 256).await > 0 {
        let mut bytes = Vec::new();
        for (tag, line) in waiting.drain(..) {
            if leaving(tag) {
                bytes.extend_from_slice(line.as_bytes());
            }
        }
        to.write_all(&bytes).await?;
    }
    Ok(())
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error("connection")]
    Io(#[from] std::io::Error),
    #[error("a line that is no frame")]
    Frame(#[from] serde_json::Error),
    #[error("a line that is too long or not UTF-8")]
    Line(#[source] tokio_util::codec::LinesCodecError),
    #[error("{field} is out of range")]
    Range { field: &'static str },
    #[error("batch {batch} got no word for too long")]
    Silent { batch: u64 },
    #[error("more batches than were asked for")]
    TooManyBatches,
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalClosed),
}
