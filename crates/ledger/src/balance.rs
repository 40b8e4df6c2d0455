//! A client's balance and the movements it allows.

use message::event::TransactionType;

/// What a client can spend and what its open messages hold. Neither is ever negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    available: i64,
    held: i64,
}

/// One credit movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    pub kind: TransactionType,
    pub available_delta: i64,
    pub held_delta: i64,
}

/// Why a movement is refused. The balance is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    #[error("needs {need} micros, {have} are available")]
    InsufficientCredit { need: i64, have: i64 },
    #[error("{0} micros is not a positive amount")]
    NotPositive(i64),
    /// An adjustment that changes nothing.
    #[error("an adjustment must not be zero")]
    Zero,
    #[error("the balance would exceed {}", i64::MAX)]
    Overflow,
    /// A lock names more than is held: the books are broken, and nothing is moved.
    #[error("cannot take {need} micros from {held} held")]
    HeldTooLittle { need: i64, held: i64 },
}

impl Balance {
    /// `None` if either figure is negative or their sum overflows.
    pub fn new(available: i64, held: i64) -> Option<Self> {
        (available >= 0 && held >= 0 && available.checked_add(held).is_some())
            .then_some(Self { available, held })
    }

    pub const fn available(self) -> i64 {
        self.available
    }

    pub const fn held(self) -> i64 {
        self.held
    }

    /// Reserves the price of a message. A price of zero holds nothing and is allowed.
    pub fn hold(self, price: i64) -> Result<(Self, Movement), LedgerError> {
        if price < 0 {
            return Err(LedgerError::NotPositive(price));
        }
        if price > self.available {
            return Err(LedgerError::InsufficientCredit { need: price, have: self.available });
        }
        self.moved(TransactionType::Hold, -price, price)
    }

    /// Spends a hold.
    pub fn capture(self, price: i64) -> Result<(Self, Movement), LedgerError> {
        self.check_held(price)?;
        self.moved(TransactionType::Capture, 0, -price)
    }

    /// Gives a hold back.
    pub fn release(self, price: i64) -> Result<(Self, Movement), LedgerError> {
        self.check_held(price)?;
        self.moved(TransactionType::Release, price, -price)
    }

    /// Adds prepaid credit.
    pub fn top_up(self, amount: i64) -> Result<(Self, Movement), LedgerError> {
        if amount <= 0 {
            return Err(LedgerError::NotPositive(amount));
        }
        self.moved(TransactionType::TopUp, amount, 0)
    }

    /// Corrects the available credit up or down, never below zero and never what is held.
    pub fn adjust(self, delta: i64) -> Result<(Self, Movement), LedgerError> {
        if delta == 0 {
            return Err(LedgerError::Zero);
        }
        // A sum of one that is negative and one that is not cannot overflow.
        if delta < 0 && self.available + delta < 0 {
            return Err(LedgerError::InsufficientCredit {
                need: delta.saturating_neg(),
                have: self.available,
            });
        }
        self.moved(TransactionType::Adjustment, delta, 0)
    }

    fn check_held(self, price: i64) -> Result<(), LedgerError> {
        if price < 0 {
            return Err(LedgerError::NotPositive(price));
        }
        if price > self.held {
            return Err(LedgerError::HeldTooLittle { need: price, held: self.held });
        }
        Ok(())
    }

    fn moved(
        self,
        kind: TransactionType,
        available_delta: i64,
        held_delta: i64,
    ) -> Result<(Self, Movement), LedgerError> {
        let after = self
            .available
            .checked_add(available_delta)
            .zip(self.held.checked_add(held_delta))
            .and_then(|(available, held)| Self::new(available, held))
            .ok_or(LedgerError::Overflow)?;
        Ok((after, Movement { kind, available_delta, held_delta }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hold_beyond_the_available_credit_says_need_and_have() {
        let balance = Balance::new(99, 0).unwrap();
        assert_eq!(balance.hold(100), Err(LedgerError::InsufficientCredit { need: 100, have: 99 }));
        assert_eq!(balance.hold(-1), Err(LedgerError::NotPositive(-1)));
        assert_eq!(balance.top_up(0), Err(LedgerError::NotPositive(0)));
        assert_eq!(balance.top_up(i64::MAX), Err(LedgerError::Overflow));
        assert_eq!(balance.capture(1), Err(LedgerError::HeldTooLittle { need: 1, held: 0 }));
    }

    #[test]
    fn an_adjustment_moves_available_credit_either_way_and_never_below_zero() {
        let balance = Balance::new(100, 40).unwrap();
        let moved =
            |delta| Movement { kind: TransactionType::Adjustment, available_delta: delta, held_delta: 0 };
        for delta in [1, -1, -100] {
            assert_eq!(balance.adjust(delta), Ok((Balance::new(100 + delta, 40).unwrap(), moved(delta))));
        }
        assert_eq!(balance.adjust(0), Err(LedgerError::Zero));
        assert_eq!(balance.adjust(-101), Err(LedgerError::InsufficientCredit { need: 101, have: 100 }));
        let lowest = LedgerError::InsufficientCredit { need: i64::MAX, have: 100 };
        assert_eq!(balance.adjust(i64::MIN), Err(lowest));
        assert_eq!(balance.adjust(i64::MAX), Err(LedgerError::Overflow));
        // Available and held together must fit as well.
        assert_eq!(balance.adjust(i64::MAX - 139), Err(LedgerError::Overflow));
        assert!(balance.adjust(i64::MAX - 140).is_ok());
    }

    proptest! {
        #[test]
        fn balances_are_the_sum_of_their_movements_and_never_negative(
            start in 0..1_000_000i64,
            steps in proptest::collection::vec((0..5u8, -50_000..100_000i64), 0..200),
        ) {
            let mut balance = Balance::new(start, 0).unwrap();
            let (mut available, mut held) = (start, 0);
            for (step, amount) in steps {
                let moved = match step {
                    0 => balance.hold(amount),
                    1 => balance.capture(amount),
                    2 => balance.release(amount),
                    3 => balance.top_up(amount),
                    _ => balance.adjust(amount),
                };
                if let Ok((after, movement)) = moved {
                    available += movement.available_delta;
                    held += movement.held_delta;
                    balance = after;
                }
                prop_assert_eq!((balance.available(), balance.held()), (available, held));
                prop_assert!(available >= 0 && held >= 0);
            }
        }
    }
}
