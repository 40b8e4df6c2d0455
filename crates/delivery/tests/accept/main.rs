//! Accept, as claims on its two pure halves: [`delivery::accept::prepare`] and [`delivery::accept::decide`].
#![allow(clippy::unwrap_used)]

mod decide;
mod fingerprint;
mod given;
mod prepare;
mod preview;
mod quote;
