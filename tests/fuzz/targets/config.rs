//! Configuration: no text of a file makes it panic, what is accepted is within the limits of docs/running.md, and
//! what is refused is not.
//!
//! Input: the file.
#![no_main]

use std::time::Duration;

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use libfuzzer_sys::fuzz_target;

// config.rs names `delivery::timing`, a file that stands alone. This target takes the place of that crate, so that its
// runtime need not be built.
extern crate self as delivery;

#[allow(dead_code)]
#[path = "../../../src/config.rs"]
mod config;
#[path = "../../../crates/delivery/src/timing.rs"]
pub mod timing;

use config::{Config, StoreKind};
use timing::Timing;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // As `Config::read` does with a file, without the environment of the fuzzer.
    let figment = Figment::from(Serialized::defaults(Config::default())).merge(Toml::string(text));
    let config: Config = match figment.extract() {
        Ok(config) => config,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    match config.check() {
        Ok(()) => {
            assert_eq!(broken_limit(&config), None, "accepted: {config:?}");
            the_time_limits_can_be_waited_for(&config);
            assert_eq!(format!("{:?}", read_again(&config)), format!("{config:?}"), "it reads back");
        }
        Err(error) => assert!(broken_limit(&config).is_some(), "refused ({error}): {config:?}"),
    }
});

/// The first limit of docs/running.md that the settings break.
fn broken_limit(config: &Config) -> Option<&'static str> {
    let is_scale = |scale: f64| (0.01..=10_000.0).contains(&scale);
    let is_store = match config.store() {
        Ok(StoreKind::Sqlite(path)) => config.store_url == format!("sqlite:{}", path.display()),
        Ok(StoreKind::Postgres(url)) => config.store_url == url && url.starts_with("postgres"),
        Err(_) => false,
    };
    let limits = [
        ("store_url", is_store),
        ("store_connections", config.store_connections >= 1),
        ("time_scale", is_scale(config.time_scale)),
        ("reference_bits", config.reference_bits == 8 || config.reference_bits == 16),
        ("heartbeat_ms", config.heartbeat_ms >= 1),
        ("key_cost", config.key_cost >= 4 && config.key_cost <= 12),
        ("simulator.time_scale", is_scale(config.simulator.time_scale)),
        ("simulator.window", config.simulator.window >= 1 && config.simulator.window <= 100_000),
    ];
    if let Some((name, _)) = limits.iter().find(|(_, is_kept)| !is_kept) {
        return Some(name);
    }
    // Only with a valid scale is there a lease to compare with.
    let timing = config.timing();
    if u128::from(config.simulator.answer_timeout_ms) * 2 > timing.lease.as_millis() {
        return Some("simulator.answer_timeout_ms");
    }
    (timing.offer_gap > timing.offer_gap_max).then_some("timing.offer_gap_ms")
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
            assert_eq!(span, Duration::from_millis(ms.max(1)), "what is set stands");
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
