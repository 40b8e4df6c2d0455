//! HTTP/2 frames by hand (RFC 9113): what no client library would send.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 0x1;
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;

/// The payload of the ping that asks whether all before it was taken.
const QUESTION: [u8; 8] = *b"question";

/// What the server has done so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The error code of its GOAWAY.
    pub(super) go_away: Option<u32>,
    /// Streams that it has reset.
    pub(super) resets: usize,
    /// Streams that it has answered to the end.
    pub(super) answered: usize,
    is_answered: bool,
    pub(super) is_closed: bool,
}

/// How a peer behaves by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manners {
    /// Reads, and acknowledges pings and settings, as HTTP/2 asks.
    Good,
    /// Reads, and says nothing.
    Silent,
}

/// How long a server may bear an attack: 30 s, and the time that a busy machine needs to run a timer.
pub(super) const LIMIT: Duration = Duration::from_secs(33);

/// The attacker's end of a connection.
pub(super) struct Peer {
    began: Instant,
    write: Arc<Mutex<OwnedWriteHalf>>,
    seen: watch::Receiver<Seen>,
    reader: AbortHandle,
}

impl Peer {
    /// A connection that begins with these bytes.
    pub(super) async fn connect(address: SocketAddr, manners: Manners, first: &[u8]) -> Self {
        let (read, mut write) = TcpStream::connect(address).await.expect("the port is open").into_split();
        // Before anything is read: what the reader sends must come after it. A server may have hung up already.
        let _ = write.write_all(first).await;
        let write = Arc::new(Mutex::new(write));
        let (sender, seen) = watch::channel(Seen::default());
        let answers = (manners == Manners::Good).then(|| write.clone());
        let reader = tokio::spawn(read_frames(read, answers, sender)).abort_handle();
        Self { began: Instant::now(), write, seen, reader }
    }

    /// One that begins as it should, with these settings.
    pub(super) async fn greet(address: SocketAddr, manners: Manners, settings: &[u8]) -> Self {
        let greeting = [PREFACE.to_vec(), frame(SETTINGS, 0, 0, settings)].concat();
        Self::connect(address, manners, &greeting).await
    }

    /// Answers whether the server still takes bytes.
    pub(super) async fn send(&self, bytes: &[u8]) -> bool {
        if self.seen.borrow().is_closed {
            return false;
        }
        // A server that stops reading stops us here, until it closes.
        let mut write = self.write.lock().await;
        let mut seen = self.seen.clone();
        tokio::select! {
            sent = write.write_all(bytes) => sent.is_ok(),
            _ = seen.wait_for(|seen| seen.is_closed) => false,
        }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until `what` is so, at most until the limit of the attack.
    pub(super) async fn until(&self, what: impl FnMut(&Seen) -> bool) -> bool {
        let mut seen = self.seen.clone();
        tokio::time::timeout_at(self.began + LIMIT, seen.wait_for(what)).await.is_ok()
    }

    /// The same for a short time.
    pub(super) async fn within(&self, limit: Duration, what: impl FnMut(&Seen) -> bool) -> bool {
        tokio::time::timeout(limit, self.until(what)).await.unwrap_or(false)
    }

    /// Whether the limit of the attack has passed.
    pub(super) fn is_late(&self) -> bool {
        self.began.elapsed() >= LIMIT
    }

    /// Waits until the server has taken all that was sent so far. False when it closes instead, or does neither.
    pub(super) async fn is_taken(&self) -> bool {
        self.send(&frame(PING, 0, 0, &QUESTION)).await;
        self.until(|seen| seen.is_answered || seen.is_closed).await && !self.seen().is_closed
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read_frames(
    read: OwnedReadHalf,
    answers: Option<Arc<Mutex<OwnedWriteHalf>>>,
    seen: watch::Sender<Seen>,
) {
    let mut read = BufReader::new(read);
    while let Some((kind, flags, payload)) = next_frame(&mut read).await {
        if let Some(write) = &answers
            && matches!(kind, PING | SETTINGS)
            && flags & ACK == 0
        {
            let payload = if kind == PING { payload.as_slice() } else { &[] };
            let _ = write.lock().await.write_all(&frame(kind, ACK, 0, payload)).await;
        }
        seen.send_if_modified(|seen| note(seen, kind, flags, &payload));
    }
    seen.send_modify(|seen| seen.is_closed = true);
}

fn note(seen: &mut Seen, kind: u8, flags: u8, payload: &[u8]) -> bool {
    match kind {
        GOAWAY => seen.go_away = payload.get(4..8).map(|code| u32::from_be_bytes(code.try_into().unwrap())),
        RST_STREAM => seen.resets += 1,
        HEADERS | DATA if flags & END_STREAM != 0 => seen.answered += 1,
        PING if payload == QUESTION => seen.is_answered = true,
        _ => return false,
    }
    true
}

async fn next_frame(read: &mut BufReader<OwnedReadHalf>) -> Option<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    match read.read_exact(&mut head).await {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        Err(_) => return None,
    }
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    read.read_exact(&mut payload).await.ok()?;
    Some((head[3], head[4], payload))
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut frame = Vec::with_capacity(9 + payload.len());
    frame.extend(length);
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The n-th stream of a client, from 0.
pub(super) fn stream(number: u32) -> u32 {
    2 * number + 1
}

/// A field as HPACK writes it when nothing shall be remembered (RFC 7541 section 6.2.2).
pub(super) fn field(name: &str, value: &str) -> Vec<u8> {
    [vec![0], string(name), string(value)].concat()
}

/// Without Huffman (RFC 7541 section 5.2).
pub(super) fn string(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut length = text.len();
    if length < 127 {
        bytes.push(u8::try_from(length).expect("it is below 127"));
    } else {
        bytes.push(127);
        length -= 127;
        while length >= 128 {
            bytes.push(u8::try_from(length % 128).expect("it is below 128") | 128);
            length /= 128;
        }
        bytes.push(u8::try_from(length).expect("it is below 128"));
    }
    bytes.extend(text.bytes());
    bytes
}
