//! The `[listener]` of the configuration: what one listener allows.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::bail;
use serde::{Deserialize, Serialize};

/// Sizes in bytes, times in milliseconds. The defaults protect a public port; a load test states its own.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once; more are closed as soon as they come. 1 to 1,000,000.
    pub max_connections: usize,
    /// Connections at once from one source address (IPv6: one /64), except trusted proxies. 1 to 1,000,000.
    pub max_connections_per_address: usize,
    /// Calls open at once on a connection; more are refused with REFUSED_STREAM. 1 to 1,000,000.
    pub max_concurrent_streams: u32,
    /// New calls a second on a connection, and twice as many at once; over it the connection ends with GOAWAY
    /// ENHANCE_YOUR_CALM. 1 to 10,000,000.
    pub new_streams_per_second: u32,
    /// HTTP/2 frames a second that carry no part of a call, and twice as many at once. Each frame of an answer
    /// allows one more. Over it the connection ends with GOAWAY ENHANCE_YOUR_CALM. 10 to 10,000,000.
    pub control_frames_per_second: u32,
    /// Calls that a peer's protocol errors made us reset, over a connection's life; then it ends. 1 to 1,000,000.
    pub max_local_error_reset_streams: usize,
    /// Calls that the peer has reset before we looked at them; then the connection ends. 1 to 1,000,000.
    pub max_pending_accept_reset_streams: usize,
    /// Metadata of a call, as HTTP/2 counts it (32 bytes a field on top). 1 KiB to 1 MiB.
    pub max_header_list_bytes: u32,
    /// What a peer may send ahead on one call. 64 KiB - 1 to 16 MiB.
    pub stream_window_bytes: u32,
    /// What a peer may send ahead on a connection. 64 KiB - 1 to 64 MiB.
    pub connection_window_bytes: u32,
    /// What we hold ready to be sent for one call. 16 KiB to 16 MiB.
    pub max_send_buffer_bytes: usize,
    /// A request of a unary call, and each message of a stream. 1 KiB to 4 MiB.
    pub max_request_bytes: usize,
    /// A request of a unary call that carries a list of messages. 1 KiB to 4 MiB.
    pub max_batch_bytes: usize,
    /// Silence on a connection before its peer is asked for a sign of life. 100 to 3,600,000.
    pub keepalive_interval_ms: u64,
    /// How long that sign may take before the connection is closed. 100 to 600,000.
    pub keepalive_timeout_ms: u64,
    /// How long a TLS handshake may take. 10 to 600,000.
    pub tls_handshake_timeout_ms: u64,
    /// How long the first bytes (the HTTP/2 preface and SETTINGS) may take. 10 to 600,000.
    pub preface_timeout_ms: u64,
    /// How long a frame, or a block of headers, may take once it has begun. 10 to 600,000.
    pub frame_timeout_ms: u64,
    /// How long the request of a unary call, or one message of a stream, may take once it has begun. 10 to 600,000.
    pub request_timeout_ms: u64,
    /// How long a peer may take nothing of an answer, or of the connection. 10 to 600,000.
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

    /// Every field against its range.
    pub fn check(&self) -> anyhow::Result<()> {
        const KIB: u64 = 1024;
        const MIB: u64 = 1024 * KIB;
        // RFC 9113 section 6.9.2: windows begin at this size, so a smaller one would be no limit at first.
        const FIRST_WINDOW: u64 = 64 * KIB - 1;
        let span = 10..=600_000;
        for (name, value, range) in [
            ("max_connections", self.max_connections as u64, 1..=1_000_000),
            ("max_connections_per_address", self.max_connections_per_address as u64, 1..=1_000_000),
            ("max_concurrent_streams", self.max_concurrent_streams.into(), 1..=1_000_000),
            ("new_streams_per_second", self.new_streams_per_second.into(), 1..=10_000_000),
            ("control_frames_per_second", self.control_frames_per_second.into(), 10..=10_000_000),
            ("max_local_error_reset_streams", self.max_local_error_reset_streams as u64, 1..=1_000_000),
            ("max_pending_accept_reset_streams", self.max_pending_accept_reset_streams as u64, 1..=1_000_000),
            ("max_header_list_bytes", self.max_header_list_bytes.into(), KIB..=MIB),
            ("stream_window_bytes", self.stream_window_bytes.into(), FIRST_WINDOW..=16 * MIB),
            ("connection_window_bytes", self.connection_window_bytes.into(), FIRST_WINDOW..=64 * MIB),
            ("max_send_buffer_bytes", self.max_send_buffer_bytes as u64, 16 * KIB..=16 * MIB),
            ("max_request_bytes", self.max_request_bytes as u64, KIB..=4 * MIB),
            ("max_batch_bytes", self.max_batch_bytes as u64, KIB..=4 * MIB),
            ("keepalive_interval_ms", self.keepalive_interval_ms, 100..=3_600_000),
            ("keepalive_timeout_ms", self.keepalive_timeout_ms, 100..=600_000),
            ("tls_handshake_timeout_ms", self.tls_handshake_timeout_ms, span.clone()),
            ("preface_timeout_ms", self.preface_timeout_ms, span.clone()),
            ("frame_timeout_ms", self.frame_timeout_ms, span.clone()),
            ("request_timeout_ms", self.request_timeout_ms, span.clone()),
            ("stall_timeout_ms", self.stall_timeout_ms, span),
        ] {
            check(name, value, &range)?;
        }
        Ok(())
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

fn check(name: &str, value: u64, range: &RangeInclusive<u64>) -> anyhow::Result<()> {
    if !range.contains(&value) {
        bail!("listener.{name} must be from {} to {}", range.start(), range.end());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sets_of_limits_are_within_their_ranges() {
        assert!(Limits::default().check().is_ok());
        assert!(Limits::local().check().is_ok());
    }

    #[test]
    fn a_limit_out_of_its_range_is_named() {
        let limits = Limits { max_connections: 0, ..Limits::default() };
        let error = limits.check().expect_err("0 connections serve nobody").to_string();
        assert_eq!(error, "listener.max_connections must be from 1 to 1000000");
    }
}
