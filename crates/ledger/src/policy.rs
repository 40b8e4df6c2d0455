//! When a hold becomes final. Status and money become final separately.

use message::status::{LockState, Status};
use message::words;

words! {
    /// The status at which a client pays.
    pub enum CaptureOn {
        Delivered = "DELIVERED",
        Sent = "SENT",
    }
}

words! {
    /// What becomes of the hold of a SENT or UNKNOWN message whose report never comes.
    pub enum SettleUnreported {
        /// The carrier took it, so it is paid.
        Capture = "CAPTURE",
        Release = "RELEASE",
    }
}

/// A client's money policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub capture_on: CaptureOn,
    pub settle_unreported: SettleUnreported,
}

impl Default for Policy {
    fn default() -> Self {
        Self { capture_on: CaptureOn::Delivered, settle_unreported: SettleUnreported::Capture }
    }
}

/// How a hold ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    Capture,
    Release,
}

impl Resolution {
    pub const fn lock_state(self) -> LockState {
        match self {
            Self::Capture => LockState::Captured,
            Self::Release => LockState::Released,
        }
    }
}

impl Policy {
    /// What a move to `status` does to a lock. A lock that has left HELD is never touched again, whatever
    /// the number of accepted attempts or late reports.
    pub const fn on_status(self, lock: LockState, status: Status) -> Option<Resolution> {
        if !matches!(lock, LockState::Held) {
            return None;
        }
        match (status, self.capture_on) {
            (Status::Delivered, _) | (Status::Sent, CaptureOn::Sent) => Some(Resolution::Capture),
            (Status::FailedPerm | Status::Expired | Status::Canceled, _) => Some(Resolution::Release),
            _ => None,
        }
    }

    /// What the report time limit does to a lock.
    pub const fn on_report_timeout(self, lock: LockState) -> Option<Resolution> {
        match (lock, self.settle_unreported) {
            (LockState::Held, SettleUnreported::Capture) => Some(Resolution::Capture),
            (LockState::Held, SettleUnreported::Release) => Some(Resolution::Release),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::balance::Balance;
    use proptest::prelude::*;

    #[test]
    fn a_resolved_lock_is_never_touched_again() {
        for capture_on in CaptureOn::ALL {
            let policy = Policy { capture_on: *capture_on, ..Policy::default() };
            for lock in [LockState::Captured, LockState::Released] {
                assert_eq!(policy.on_report_timeout(lock), None);
                for status in Status::ALL {
                    assert_eq!(policy.on_status(lock, *status), None, "{lock} {status}");
                }
            }
        }
    }

    #[test]
    fn every_final_status_resolves_a_held_lock() {
        let policy = Policy::default();
        for status in Status::ALL {
            let resolution = policy.on_status(LockState::Held, *status);
            assert_eq!(resolution.is_some(), status.is_final(), "{status}");
        }
        assert_eq!(policy.on_status(LockState::Held, Status::Delivered), Some(Resolution::Capture));
        let on_sent = Policy { capture_on: CaptureOn::Sent, ..policy };
        assert_eq!(on_sent.on_status(LockState::Held, Status::Sent), Some(Resolution::Capture));
    }

    fn policies() -> impl Strategy<Value = Policy> {
        (proptest::sample::select(CaptureOn::ALL), proptest::sample::select(SettleUnreported::ALL))
            .prop_map(|(capture_on, settle_unreported)| Policy { capture_on, settle_unreported })
    }

    /// What may happen to a client's credit.
    #[derive(Clone, Debug)]
    enum Step {
        TopUp(i64),
        Adjust(i64),
        Accept(i64),
        /// A status for one of the messages; it need not make sense.
        Move(prop::sample::Index, Status),
        TimeOut(prop::sample::Index),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            1 => (-5..1_000i64).prop_map(Step::TopUp),
            1 => (-500..500i64).prop_map(Step::Adjust),
            3 => (-5..400i64).prop_map(Step::Accept),
            4 => (any::<prop::sample::Index>(), proptest::sample::select(Status::ALL))
                .prop_map(|(message, status)| Step::Move(message, status)),
            1 => any::<prop::sample::Index>().prop_map(Step::TimeOut),
        ];
        proptest::collection::vec(step, 0..120)
    }

    /// One message's credit lock.
    struct Lock {
        price: i64,
        state: LockState,
    }

    proptest! {
        /// The books, kept beside the balance: its movements, and the locks.
        #[test]
        fn held_is_the_sum_of_held_locks_and_each_lock_is_resolved_once(policy in policies(), steps in steps()) {
            let mut balance = Balance::default();
            let mut locks: Vec<Lock> = Vec::new();
            let (mut available, mut held, mut put_in, mut captured) = (0, 0, 0, 0);
            for step in steps {
                let moved = match &step {
                    Step::TopUp(amount) => balance.top_up(*amount).ok(),
                    Step::Adjust(delta) => balance.adjust(*delta).ok(),
                    Step::Accept(price) => balance.hold(*price).ok(),
                    Step::Move(..) | Step::TimeOut(_) if locks.is_empty() => None,
                    Step::Move(message, _) | Step::TimeOut(message) => {
                        let lock = message.get_mut(&mut locks);
                        let resolution = match &step {
                            Step::Move(_, status) => policy.on_status(lock.state, *status),
                            _ => policy.on_report_timeout(lock.state),
                        };
                        resolution.map(|resolution| {
                            prop_assert_eq!(lock.state, LockState::Held, "a lock leaves HELD once");
                            lock.state = resolution.lock_state();
                            // What is held covers every lock, so this can never be refused.
                            Ok(match resolution {
                                Resolution::Capture => balance.capture(lock.price).unwrap(),
                                Resolution::Release => balance.release(lock.price).unwrap(),
                            })
                        }).transpose()?
                    }
                };
                if let Some((after, movement)) = moved {
                    balance = after;
                    available += movement.available_delta;
                    held += movement.held_delta;
                    match step {
                        Step::TopUp(amount) | Step::Adjust(amount) => put_in += amount,
                        Step::Accept(price) => locks.push(Lock { price, state: LockState::Held }),
                        _ => captured = locks.iter().filter(|lock| lock.state == LockState::Captured).map(|lock| lock.price).sum(),
                    }
                }
                let held_locks: i64 = locks.iter().filter(|lock| lock.state == LockState::Held).map(|lock| lock.price).sum();
                prop_assert!(balance.available() >= 0 && balance.held() >= 0);
                prop_assert_eq!((balance.available(), balance.held()), (available, held));
                prop_assert_eq!(balance.held(), held_locks);
                prop_assert_eq!(balance.available() + balance.held() + captured, put_in);
            }
        }
    }
}
