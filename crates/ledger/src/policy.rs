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
    use super::*;

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
}
