//! Many calls with bad keys, at a steady rate.

use std::time::Duration;

use herald_sdk::tonic::{Code, Status};
use herald_sdk::v1::ErrorReason;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::keys::{malformed, unknown_id, wrong_secret};
use crate::support::raw::Caller;
use crate::support::{Herald, assert_refused};

/// Connections, so that none of them is over its own limit of new calls.
const CONNECTIONS: usize = 5;
pub(super) const PATH: &str = "/herald.v1.BillingService/GetBalance";

/// A stranger who knows the id of a good key.
pub(super) struct Flood {
    callers: Vec<Caller>,
    good_key: String,
}

/// How many calls were answered how. Another answer fails the test.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answers {
    pub(super) api_key_invalid: u32,
    pub(super) rate_limited: u32,
}

impl Answers {
    pub(super) fn calls(self) -> u32 {
        self.api_key_invalid + self.rate_limited
    }

    fn count(&mut self, refused: &Status) {
        if refused.code() == Code::Unauthenticated {
            assert_refused(refused, Code::Unauthenticated, ErrorReason::ApiKeyInvalid);
            self.api_key_invalid += 1;
        } else {
            assert_refused(refused, Code::ResourceExhausted, ErrorReason::RateLimited);
            self.rate_limited += 1;
        }
    }
}

impl Flood {
    pub(super) fn new(herald: &Herald, good_key: &str) -> Self {
        let callers = (0..CONNECTIONS).map(|_| Caller::new(herald)).collect();
        Self { callers, good_key: good_key.to_owned() }
    }

    pub(super) async fn run(self, calls_a_second: u32, length: Duration) -> Answers {
        let mut pace = interval(Duration::from_secs(1) / calls_a_second);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (end, mut calls, mut answers) = (Instant::now() + length, JoinSet::new(), Answers::default());
        let mut number = 0;
        while pace.tick().await < end {
            let key = match number % 3 {
                0 => unknown_id(),
                1 => wrong_secret(&self.good_key),
                _ => malformed(&self.good_key),
            };
            let caller = self.callers[number % CONNECTIONS].clone().with_key(&key);
            calls.spawn(async move { caller.call(PATH, Default::default()).await });
            number += 1;
            while let Some(answered) = calls.try_join_next() {
                answers.count(&answered.expect("no panic").expect_err("a bad key was let in"));
            }
        }
        while let Some(answered) = calls.join_next().await {
            answers.count(&answered.expect("no panic").expect_err("a bad key was let in"));
        }
        answers
    }
}
