//! The `[listener]` of the configuration: what one listener allows.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
// RFC 9113 section 6.9.2: windows begin at this size, so a smaller one would be no limit at first.
const FIRST_WINDOW: u64 = 64 * KIB - 1;

/// Sizes in bytes, times in milliseconds. The defaults protect a public port; a load test states its own.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once; more are closed as soon as they come.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: usize,
    /// Connections at once from one source address (IPv6: one /64), except trusted proxies.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections_per_address: usize,
    /// Calls open at once on a connection; more are refused with REFUSED_STREAM.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_concurrent_streams: u32,
    /// New calls a second on a connection, and twice as many at once; over it the connection ends with GOAWAY
    /// ENHANCE_YOUR_CALM.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub new_streams_per_second: u32,
    /// HTTP/2 frames a second that carry no part of a call, and twice as many at once. Each frame of an answer
    /// allows one more. Over it the connection ends with GOAWAY ENHANCE_YOUR_CALM.
    #[schemars(range(min = 10, max = 10_000_000))]
    pub control_frames_per_second: u32,
    /// Calls that a peer's protocol errors made the server reset, over a connection's life; then it ends.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_local_error_reset_streams: usize,
    /// Calls that the peer has reset before the server looked at them; then the connection ends.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_pending_accept_reset_streams: usize,
    /// Metadata of a call, as HTTP/2 counts it (32 bytes a field on top).
    #[schemars(range(min = KIB, max = MIB))]
    pub max_header_list_bytes: u32,
    /// What a peer may send ahead on one call.
    #[schemars(range(min = FIRST_WINDOW, max = 16 * MIB))]
    pub stream_window_bytes: u32,
    /// What a peer may send ahead on a connection.
    #[schemars(range(min = FIRST_WINDOW, max = 64 * MIB))]
    pub connection_window_bytes: u32,
    /// What the server holds ready to be sent for one call.
    #[schemars(range(min = 16 * KIB, max = 16 * MIB))]
    pub max_send_buffer_bytes: usize,
    /// A request of a unary call, and each message of a stream.
    #[schemars(range(min = KIB, max = 4 * MIB))]
    pub max_request_bytes: usize,
    /// A request of a unary call that carries a list of messages.
    #[schemars(range(min = KIB, max = 4 * MIB))]
    pub max_batch_bytes: usize,
    /// Silence on a connection before its peer is asked for a sign of life.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub keepalive_interval_ms: u64,
    /// How long the sign of life of `listener.keepalive_interval_ms` may take before the connection is closed.
    #[schemars(range(min = 100, max = 600_000))]
    pub keepalive_timeout_ms: u64,
    /// How long a TLS handshake may take.
    #[schemars(range(min = 10, max = 600_000))]
    pub tls_handshake_timeout_ms: u64,
    /// How long the first bytes (the HTTP/2 preface and SETTINGS) may take.
    #[schemars(range(min = 10, max = 600_000))]
    pub preface_timeout_ms: u64,
    /// How long a frame, or a block of headers, may take once it has begun.
    #[schemars(range(min = 10, max = 600_000))]
    pub frame_timeout_ms: u64,
    /// How long the request of a unary call, or one message of a stream, may take once it has begun.
    #[schemars(range(min = 10, max = 600_000))]
    pub request_timeout_ms: u64,
    /// How long a peer may take nothing of an answer, or of the connection.
    #[schemars(range(min = 10, max = 600_000))]
    pub stall_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_connections_per_address: 50,
            max_concurrent_streams: 100,
            new_streams_per_second: 200,
            control_frames_per_second: 200,
            max_local_error_reset_streams: 1_024,
            max_pending_accept_reset_streams: 20,
            max_header_list_bytes: 8 * 1024,
            stream_window_bytes: 64 * 1024,
            connection_window_bytes: 1024 * 1024,
            max_send_buffer_bytes: 64 * 1024,
            max_request_bytes: 256 * 1024,
            max_batch_bytes: 4 * 1024 * 1024,
            keepalive_interval_ms: 20_000,
            keepalive_timeout_ms: 10_000,
            tls_handshake_timeout_ms: 5_000,
            preface_timeout_ms: 5_000,
            frame_timeout_ms: 10_000,
            request_timeout_ms: 20_000,
            stall_timeout_ms: 20_000,
        }
    }
}

impl Limits {
    /// For a port that only this machine reaches, and that is measured: rates and numbers that nobody meets.
    pub fn local() -> Self {
        Self {
            max_connections_per_address: 10_000,
            max_concurrent_streams: 100_000,
            new_streams_per_second: 10_000_000,
            control_frames_per_second: 10_000_000,
            stream_window_bytes: 1024 * 1024,
            ..Self::default()
        }
    }

    pub(super) fn tls_handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.tls_handshake_timeout_ms)
    }

    pub(super) fn preface_timeout(&self) -> Duration {
        Duration::from_millis(self.preface_timeout_ms)
    }

    pub(super) fn frame_timeout(&self) -> Duration {
        Duration::from_millis(self.frame_timeout_ms)
    }

    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(super) fn stall_timeout(&self) -> Duration {
        Duration::from_millis(self.stall_timeout_ms)
    }
}
