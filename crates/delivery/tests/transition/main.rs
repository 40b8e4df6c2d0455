//! The life of one message, as claims on [`delivery::transition::apply`].
#![allow(clippy::unwrap_used)]

mod given;
mod life;
mod random;
mod unknown;
