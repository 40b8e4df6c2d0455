//! Decisions on a client's prepaid credit: hold, capture, release, top-up, adjustment.
//! For `delivery`, which writes what is decided here. Pure; who may spend and what a part costs are
//! decided elsewhere.
//!
//! Money is whole micros (millionths) of the client's currency, never a float.

pub mod balance;
pub mod policy;

pub use balance::{Balance, LedgerError, Movement};
pub use policy::{CaptureOn, Policy, Resolution, SettleUnreported};

/// Whether a text has the form of a currency's code: three upper-case letters (ISO 4217). Whether it is in use is the
/// operator's affair.
pub fn is_currency(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_currency_is_three_upper_case_letters() {
        assert!(super::is_currency("USD"));
        for refused in ["", "US", "USDX", "usd", "U D", "€"] {
            assert!(!super::is_currency(refused), "{refused}");
        }
    }
}
