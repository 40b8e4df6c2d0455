//! Which provider takes a message and what a part of it costs.
//! For `delivery`. Pure: rates and the providers' health are given. No portability look-ups: a prefix is not a
//! network where numbers can be ported.

pub mod rates;
pub mod route;
