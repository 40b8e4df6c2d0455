//! What passes on a connection, seen as HTTP/2 frames (RFC 9113 section 4.1): enough of it to count, nothing more.
//! The protocol itself is checked where the frames are used.

use tokio::time::Instant;

use super::bucket::Bucket;
use super::limits::Limits;

/// RFC 9113 section 3.4.
const PREFACE_LENGTH: usize = 24;
const HEAD_LENGTH: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Why a connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// More new streams than a caller needs.
    Streams,
    /// More frames that carry nothing (PING, SETTINGS, RST_STREAM, WINDOW_UPDATE, PRIORITY, empty DATA, unknown ones)
    /// than the answers in between explain.
    Control,
}

impl Excess {
    /// As a label of metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::Control => "control",
        }
    }
}

/// What a peer has begun and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// The connection preface and the first SETTINGS.
    Greeting,
    /// A frame, or a block of headers over several frames.
    Frame,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

/// Cuts a byte stream into frames, keeping their heads only.
#[derive(Debug, Default)]
struct Cutter {
    /// Bytes that belong to no further frame: the preface, or the rest of a payload.
    skip: usize,
    head: [u8; HEAD_LENGTH],
    head_length: usize,
    is_in_frame: bool,
    /// Frames that have ended.
    ended: usize,
}

impl Cutter {
    /// The next head in `bytes`, which become the rest after it.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Head> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        *bytes = &bytes[skipped..];
        if self.is_in_frame && self.skip == 0 {
            self.is_in_frame = false;
            self.ended += 1;
        }
        let taken = (HEAD_LENGTH - self.head_length).min(bytes.len());
        self.head[self.head_length..self.head_length + taken].copy_from_slice(&bytes[..taken]);
        self.head_length += taken;
        *bytes = &bytes[taken..];
        if self.head_length < HEAD_LENGTH {
            return None;
        }
        self.head_length = 0;
        self.is_in_frame = true;
        let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = self.head;
        self.skip = u32::from_be_bytes([0, l2, l1, l0]) as usize;
        // The first bit is reserved.
        let stream = u32::from_be_bytes([s3, s2, s1, s0]) & (u32::MAX >> 1);
        Some(Head { length: self.skip, kind, flags, stream })
    }

    fn is_between_frames(&self) -> bool {
        self.skip == 0 && self.head_length == 0
    }
}

/// What the peer sends.
#[derive(Debug)]
pub(super) struct Inbound {
    cutter: Cutter,
    has_settings: bool,
    is_in_headers: bool,
    /// Frames, and blocks of headers, that have ended.
    ended: usize,
    last_stream: u32,
    begun: usize,
    streams: Bucket,
    control: Bucket,
}

impl Inbound {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        Self {
            cutter: Cutter { skip: PREFACE_LENGTH, ..Cutter::default() },
            has_settings: false,
            is_in_headers: false,
            ended: 0,
            last_stream: 0,
            begun: 0,
            streams: Bucket::new(limits.new_streams_per_second, now),
            control: Bucket::new(limits.control_frames_per_second, now),
        }
    }

    /// Takes note of bytes that have come.
    pub(super) fn take(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Excess> {
        loop {
            let ended = self.cutter.ended;
            let head = self.cutter.next(&mut bytes);
            if !self.is_in_headers {
                self.ended += self.cutter.ended - ended;
            }
            let Some(head) = head else { return Ok(()) };
            self.note(head, now)?;
        }
    }

    fn note(&mut self, head: Head, now: Instant) -> Result<(), Excess> {
        match head.kind {
            HEADERS => {
                self.is_in_headers = head.flags & END_HEADERS == 0;
                if head.stream > self.last_stream {
                    self.last_stream = head.stream;
                    self.begun += 1;
                    return if self.streams.take(now) { Ok(()) } else { Err(Excess::Streams) };
                }
            }
            CONTINUATION => self.is_in_headers = head.flags & END_HEADERS == 0,
            DATA if head.length > 0 || head.flags & END_STREAM != 0 => return Ok(()),
            SETTINGS => self.has_settings = true,
            _ => {}
        }
        if self.control.take(now) { Ok(()) } else { Err(Excess::Control) }
    }

    /// An answer was sent: a caller may do something about it, such as opening a window.
    pub(super) fn note_answer(&mut self) {
        self.control.give();
    }

    pub(super) fn unfinished(&self) -> Option<Unfinished> {
        if !self.has_settings {
            return Some(Unfinished::Greeting);
        }
        (self.is_in_headers || !self.cutter.is_between_frames()).then_some(Unfinished::Frame)
    }

    /// How many frames, and blocks of headers, have ended.
    pub(super) fn ended(&self) -> usize {
        self.ended
    }

    /// How many streams have begun.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    /// The highest stream that was begun.
    pub(super) fn last_stream(&self) -> u32 {
        self.last_stream
    }
}

/// What we send.
#[derive(Debug, Default)]
pub(super) struct Outbound(Cutter);

impl Outbound {
    /// Takes note of bytes that have gone; answers how many frames of answers began in them.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> usize {
        let mut answers = 0;
        while let Some(head) = self.0.next(&mut bytes) {
            answers += usize::from(head.kind == HEADERS || (head.kind == DATA && head.length > 0));
        }
        answers
    }

    /// Whether another frame may be put here.
    pub(super) fn is_between_frames(&self) -> bool {
        self.0.is_between_frames()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    fn greeted(now: Instant) -> Inbound {
        let limits = Limits { new_streams_per_second: 5, control_frames_per_second: 5, ..Limits::default() };
        let mut inbound = Inbound::new(&limits, now);
        let greeting = [vec![b'P'; PREFACE_LENGTH], frame(SETTINGS, 0, 0, &[0; 6])].concat();
        // Byte by byte: how the bytes are cut must not matter.
        for byte in &greeting[..greeting.len() - 6] {
            assert_eq!(inbound.unfinished(), Some(Unfinished::Greeting));
            assert_eq!(inbound.take(&[*byte], now), Ok(()));
        }
        assert_eq!(inbound.unfinished(), Some(Unfinished::Frame));
        assert_eq!(inbound.take(&greeting[greeting.len() - 6..], now), Ok(()));
        assert_eq!(inbound.unfinished(), None);
        inbound
    }

    #[test]
    fn a_block_of_headers_is_unfinished_until_its_last_frame() {
        let now = Instant::now();
        let mut inbound = greeted(now);
        assert_eq!(inbound.take(&frame(HEADERS, 0, 1, b"a"), now), Ok(()));
        assert_eq!(inbound.unfinished(), Some(Unfinished::Frame));
        assert_eq!(inbound.take(&frame(CONTINUATION, END_HEADERS, 1, b"b"), now), Ok(()));
        assert_eq!(inbound.unfinished(), None);
        let data = frame(DATA, 0, 1, b"abcdef");
        assert_eq!(inbound.take(&data[..12], now), Ok(()));
        assert_eq!(inbound.unfinished(), Some(Unfinished::Frame));
        assert_eq!(inbound.take(&data[12..], now), Ok(()));
        assert_eq!(inbound.unfinished(), None);
    }

    #[test]
    fn new_streams_are_counted_and_trailers_are_not_new() {
        let now = Instant::now();
        let mut inbound = greeted(now);
        for stream in 0..10 {
            assert_eq!(inbound.take(&frame(HEADERS, END_HEADERS, 2 * stream + 1, b""), now), Ok(()));
        }
        assert_eq!(inbound.take(&frame(HEADERS, END_HEADERS | END_STREAM, 19, b""), now), Ok(()));
        assert_eq!(inbound.take(&frame(HEADERS, END_HEADERS, 21, b""), now), Err(Excess::Streams));
    }

    #[test]
    fn control_frames_are_paid_for_by_answers_and_data_is_free() {
        const PING: u8 = 6;
        let now = Instant::now();
        let mut inbound = greeted(now);
        let ping = frame(PING, 0, 0, &[0; 8]);
        // The first SETTINGS took one of ten.
        for _ in 0..9 {
            assert_eq!(inbound.take(&ping, now), Ok(()));
        }
        inbound.note_answer();
        assert_eq!(inbound.take(&ping, now), Ok(()));
        for _ in 0..100 {
            assert_eq!(inbound.take(&frame(DATA, 0, 1, b"x"), now), Ok(()));
        }
        assert_eq!(inbound.take(&frame(DATA, 0, 1, b""), now), Err(Excess::Control));
    }

    #[test]
    fn answers_are_headers_and_data_and_nothing_else() {
        let mut outbound = Outbound::default();
        let sent = [
            frame(SETTINGS, 1, 0, b""),
            frame(HEADERS, END_HEADERS, 1, b"h"),
            frame(DATA, 0, 1, b"data"),
            frame(3, 0, 1, &[0; 4]),
        ]
        .concat();
        assert_eq!(outbound.take(&sent), 2);
        assert!(outbound.is_between_frames());
        assert_eq!(outbound.take(&sent[..4]), 0);
        assert!(!outbound.is_between_frames());
    }
}
