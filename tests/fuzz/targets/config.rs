//! Configuration: no text of a file makes it panic, what is accepted is within the limits of docs/configuration.md, and
//! what is refused is not.
//!
//! Input: the file.
#![no_main]

use std::ops::RangeBounds;
use std::path::PathBuf;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use libfuzzer_sys::fuzz_target;

// The configuration names `delivery::timing` and `listener::Limits`, files that stand alone. This target takes the place of
// those, so that neither the runtime nor HTTP need be built.
extern crate self as delivery;

#[allow(dead_code, unused_imports)]
#[path = "../../../src/config/mod.rs"]
mod config;
#[allow(dead_code, unused_imports)]
#[path = "../../../src/listener/limits.rs"]
mod limits;
#[path = "../../../crates/delivery/src/timing.rs"]
pub mod timing;

mod listener {
    pub use crate::limits::Limits;
}

use config::read::understand;
use config::{Config, StoreKind};
use timing::Timing;

const DAY_MS: u64 = 86_400_000;
const WEEK_MS: u64 = 604_800_000;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // As `Settings::read` does with a file, without the environment of the fuzzer.
    let figment = Figment::from(Serialized::defaults(Config::default())).merge(Toml::string(text));
    match understand(&figment) {
        Ok(config) => {
            assert_eq!(broken_limit(&config), None, "accepted: {config:?}");
            the_time_limits_can_be_waited_for(&config);
            assert_eq!(format!("{:?}", read_again(&config)), format!("{config:?}"), "it reads back");
        }
        Err(problems) => {
            assert!(!problems.0.is_empty(), "refused for nothing");
            assert!(problems.0.iter().all(|problem| !problem.fault.is_empty()), "{problems:?}");
            if let Ok(config) = figment.extract::<Config>() {
                assert!(broken_limit(&config).is_some(), "refused ({problems}): {config:?}");
            }
        }
    }
});

/// The first limit of docs/configuration.md that the settings break.
fn broken_limit(config: &Config) -> Option<&'static str> {
    let limits = general_limits(config).into_iter();
    let mut limits = limits.chain(caller_limits(config)).chain(listener_limits(config));
    if let Some((name, _)) = limits.find(|(_, is_kept)| !is_kept) {
        return Some(name);
    }
    // Only with a valid scale is there a lease to compare with.
    let timing = config.timing();
    if u128::from(config.simulator.answer_timeout_ms) * 2 > timing.lease.as_millis() {
        return Some("simulator.answer_timeout_ms");
    }
    (timing.offer_gap > timing.offer_gap_max).then_some("timing.offer_gap_ms")
}

fn general_limits(config: &Config) -> Vec<(&'static str, bool)> {
    let is_scale = |scale: f64| (0.01..=10_000.0).contains(&scale);
    let is_named = |path: &Option<PathBuf>| path.as_ref().is_none_or(|path| !path.as_os_str().is_empty());
    let is_store = match config.store() {
        Ok(StoreKind::Sqlite(path)) => config.store_url.expose() == format!("sqlite:{}", path.display()),
        Ok(StoreKind::Postgres(url)) => config.store_url == url && url.expose().starts_with("postgres"),
        Err(_) => false,
    };
    let has_file = config.store_url.expose() != "sqlite:";
    let (set, simulator, tls) = (&config.timing, &config.simulator, &config.tls);
    vec![
        ("store_url", is_store && has_file),
        ("pepper_file", is_named(&Some(config.pepper_file.clone()))),
        ("archive_dir", is_named(&config.archive_dir)),
        ("store_connections", within(config.store_connections, 1..=10_000)),
        ("time_scale", is_scale(config.time_scale)),
        ("reference_bits", config.reference_bits == 8 || config.reference_bits == 16),
        ("heartbeat_ms", within(config.heartbeat_ms, 1..=DAY_MS)),
        ("key_cost", within(config.key_cost, 4..=12)),
        ("timing.lease_ms", within(set.lease_ms.unwrap_or(1), 1..=DAY_MS)),
        ("timing.sweep_interval_ms", within(set.sweep_interval_ms.unwrap_or(1), 1..=DAY_MS)),
        ("timing.offer_gap_ms", within(set.offer_gap_ms.unwrap_or(1), 1..=DAY_MS)),
        ("timing.unavailable_pause_ms", within(set.unavailable_pause_ms.unwrap_or(1), 1..=DAY_MS)),
        ("timing.reconcile_interval_ms", within(set.reconcile_interval_ms.unwrap_or(1), 1..=WEEK_MS)),
        ("timing.retention_interval_ms", within(set.retention_interval_ms.unwrap_or(1), 1..=WEEK_MS)),
        ("timing.watch_poll_ms", within(set.watch_poll_ms.unwrap_or(1), 1..=DAY_MS)),
        ("simulator.time_scale", is_scale(simulator.time_scale)),
        ("simulator.journal", is_named(&simulator.journal)),
        ("simulator.window", within(simulator.window, 1..=100_000)),
        ("simulator.answer_timeout_ms", within(simulator.answer_timeout_ms, 1..=DAY_MS / 2)),
        ("tls.cert_file", is_named(&tls.cert_file)),
        ("tls.key_file", is_named(&tls.key_file)),
        ("tls", tls.cert_file.is_some() == tls.key_file.is_some()),
    ]
}

fn caller_limits(config: &Config) -> Vec<(&'static str, bool)> {
    let limits = &config.limits;
    vec![
        ("limits.anonymous_per_second", within(limits.anonymous_per_second, 1..=1_000_000)),
        ("limits.anonymous_burst", within(limits.anonymous_burst, 1..=1_000_000)),
        ("limits.streams_per_key", within(limits.streams_per_key, 1..=1_000_000)),
    ]
}

fn listener_limits(config: &Config) -> Vec<(&'static str, bool)> {
    let listener = &config.listener;
    let spans = [
        listener.tls_handshake_timeout_ms,
        listener.preface_timeout_ms,
        listener.frame_timeout_ms,
        listener.request_timeout_ms,
        listener.stall_timeout_ms,
    ];
    vec![
        ("listener.max_connections", within(listener.max_connections, 1..=1_000_000)),
        ("listener.max_connections_per_address", within(listener.max_connections_per_address, 1..=1_000_000)),
        ("listener.max_concurrent_streams", within(listener.max_concurrent_streams, 1..=1_000_000)),
        ("listener.new_streams_per_second", within(listener.new_streams_per_second, 1..=10_000_000)),
        ("listener.control_frames_per_second", within(listener.control_frames_per_second, 10..=10_000_000)),
        (
            "listener.max_local_error_reset_streams",
            within(listener.max_local_error_reset_streams, 1..=1_000_000),
        ),
        (
            "listener.max_pending_accept_reset_streams",
            within(listener.max_pending_accept_reset_streams, 1..=1_000_000),
        ),
        ("listener.max_header_list_bytes", within(listener.max_header_list_bytes, 1_024..=1_048_576)),
        ("listener.stream_window_bytes", within(listener.stream_window_bytes, 65_535..=16_777_216)),
        ("listener.connection_window_bytes", within(listener.connection_window_bytes, 65_535..=67_108_864)),
        ("listener.max_send_buffer_bytes", within(listener.max_send_buffer_bytes, 16_384..=16_777_216)),
        ("listener.max_request_bytes", within(listener.max_request_bytes, 1_024..=4_194_304)),
        ("listener.max_batch_bytes", within(listener.max_batch_bytes, 1_024..=4_194_304)),
        ("listener.keepalive_interval_ms", within(listener.keepalive_interval_ms, 100..=3_600_000)),
        ("listener.keepalive_timeout_ms", within(listener.keepalive_timeout_ms, 100..=600_000)),
        ("a time-out of the listener", spans.iter().all(|ms| within(*ms, 10..=600_000))),
    ]
}

fn within<T: PartialOrd>(value: T, range: impl RangeBounds<T>) -> bool {
    range.contains(&value)
}

fn the_time_limits_can_be_waited_for(config: &Config) {
    let (timing, default) = (config.timing(), Timing::default());
    let set = &config.timing;
    let spans = [
        (timing.lease, set.lease_ms),
        (timing.sweep_interval, set.sweep_interval_ms),
        (timing.offer_gap, set.offer_gap_ms),
        (timing.unavailable_pause, set.unavailable_pause_ms),
        (timing.reconcile_interval, set.reconcile_interval_ms),
        (timing.watch_poll, set.watch_poll_ms),
        (timing.retention_interval, set.retention_interval_ms),
    ];
    for (span, ms) in spans {
        assert!(span >= Duration::from_millis(1), "no span is zero: {timing:?}");
        if let Some(ms) = ms {
            assert_eq!(span, Duration::from_millis(ms), "what is set stands");
        }
    }
    assert!(timing.retry_waits.iter().all(|wait| *wait >= Duration::from_millis(1)));
    assert!(timing.retry_waits.is_sorted(), "each wait is at least the one before: {timing:?}");
    assert_eq!(timing.max_attempts(), default.max_attempts(), "scaling changes no number of attempts");
    let memories = |timing: &Timing| (timing.key_lifetime, timing.report_lifetime, timing.ref_lifetime);
    assert_eq!(memories(&timing), memories(&default), "memories are not scaled");
}

fn read_again(config: &Config) -> Config {
    Figment::from(Serialized::defaults(config)).extract().expect("what was accepted is accepted again")
}
