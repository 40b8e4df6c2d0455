//! Faults on purpose, for tests: crashes and stalls at named points, and planted bugs.
//!
//! Nothing of it is in a build without the feature `faults`: [`crash_point!`](crate::crash_point) is the future that it is
//! given, and [`planted!`](crate::planted) is `false`.

/// Names what a flow waits for: a test may stop the process once that is done. A point is `flow.step`, and
/// [`POINTS`](crate::faults::POINTS) lists it.
#[cfg(not(feature = "faults"))]
#[macro_export]
macro_rules! crash_point {
    ($flow:expr => $step:literal, $work:expr) => {
        $work
    };
    ($point:literal, $work:expr) => {
        $work
    };
}

#[cfg(feature = "faults")]
#[macro_export]
macro_rules! crash_point {
    ($flow:expr => $step:literal, $work:expr) => {
        $crate::faults::after(format!("{}.{}", $flow, $step), $work)
    };
    ($point:literal, $work:expr) => {
        $crate::faults::after($point, $work)
    };
}

/// Whether this bug is there.
#[cfg(not(feature = "faults"))]
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

#[cfg(feature = "faults")]
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        $crate::faults::is_planted($crate::faults::Bug::$bug)
    };
}

#[cfg(feature = "faults")]
mod armed;
#[cfg(feature = "faults")]
mod bug;
#[cfg(feature = "faults")]
mod points;

#[cfg(feature = "faults")]
pub use self::{
    armed::{after, is_planted},
    bug::Bug,
    points::POINTS,
};
