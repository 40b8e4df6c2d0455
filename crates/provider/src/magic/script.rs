//! What a provider does with one message, described and not done.

use std::time::Duration;

use message::failure::{Failure, FailureReason};
use message::report::ReportState;

/// What happens to a message: one course, or one of several.
#[derive(Debug)]
pub enum Script {
    One(Course),
    /// Shares in percent, adding up to 100.
    Mix(&'static [(u8, Course)]),
}

impl Script {
    /// The course for a message whose draw is `roll`, which is taken modulo 100.
    pub fn course(&self, roll: u64) -> &Course {
        match self {
            Self::One(course) => course,
            Self::Mix(courses) => {
                let mut left = roll % 100;
                for (share, course) in *courses {
                    match left.checked_sub(u64::from(*share)) {
                        None => return course,
                        Some(rest) => left = rest,
                    }
                }
                &courses[courses.len() - 1].1
            }
        }
    }
}

/// How the submits of one message are answered, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// For this long after the message's first submit the provider cannot be reached.
    pub down: Duration,
    /// The first submits, in order.
    pub first: &'static [Step],
    /// Every submit after those.
    pub then: Step,
}

impl Course {
    /// The step for a submit that `submits_before` others of this message preceded, the first of them
    /// `since_first` ago.
    pub fn step(&self, submits_before: u32, since_first: Duration) -> &Step {
        if since_first < self.down {
            return &Step::DOWN;
        }
        let index = usize::try_from(submits_before).unwrap_or(usize::MAX);
        self.first.get(index).unwrap_or(&self.then)
    }

    /// Whether the answer to a submit depends on the ones before it.
    pub const fn has_history(&self) -> bool {
        !self.first.is_empty() || !self.down.is_zero()
    }
}

/// One submit: its answer and the reports that follow.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub answer: Answer,
    /// From the submit to its answer, about.
    pub answer_after: Duration,
    /// In order of their times. Empty unless the message is taken.
    pub reports: &'static [Report],
    /// The reports echo our reference even where the account is set not to: no answer gave them another.
    pub must_echo: bool,
}

impl Step {
    pub(super) const DOWN: Self = Self::answering(Answer::Unavailable);

    pub(super) const fn answering(answer: Answer) -> Self {
        Self { answer, answer_after: Duration::from_millis(50), reports: &[], must_echo: false }
    }

    pub(super) const fn accepting(reports: &'static [Report]) -> Self {
        Self { reports, ..Self::answering(Answer::Accept) }
    }

    pub(super) const fn withholding(reports: &'static [Report]) -> Self {
        Self { reports, must_echo: true, ..Self::answering(Answer::Withhold) }
    }
}

/// What a submit is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Accept,
    Reject {
        cause: Cause,
        is_permanent: bool,
    },
    Throttle {
        retry_after: Duration,
    },
    /// As though no connection could be made.
    Unavailable,
    /// The message is taken and nothing is said.
    Withhold,
}

/// A failure in a form that a constant can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    pub reason: FailureReason,
    pub detail: &'static str,
    pub provider_code: &'static str,
}

impl Cause {
    pub fn failure(&self) -> Failure {
        Failure::new(self.reason).with(self.detail, self.provider_code)
    }
}

/// One report, or one for each part that it is about.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub time: ReportTime,
    pub state: ReportState,
    /// Set when `state` is FAILED.
    pub cause: Option<Cause>,
    pub parts: Parts,
    /// How often the very same report comes, a short time apart; at least 1.
    pub times: u8,
}

/// When a report comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportTime {
    /// At the submit, ahead of its answer.
    BeforeAnswer,
    /// This long after the answer, about; of a withheld answer, after the submitter gave up.
    AfterAnswer(Duration),
}

/// Which parts a report is about. The only part of a short message is not its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    Each,
    AllButLast,
    Last,
}

impl Parts {
    /// Whether part `number` (from 1) of `count` is meant.
    pub const fn includes(self, number: u16, count: u16) -> bool {
        let is_last = count > 1 && number == count;
        match self {
            Self::Each => true,
            Self::AllButLast => !is_last,
            Self::Last => is_last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_message_has_no_last_part() {
        let included = |parts: Parts, count: u16| -> Vec<u16> {
            (1..=count).filter(|number| parts.includes(*number, count)).collect()
        };
        assert_eq!(included(Parts::Each, 3), [1, 2, 3]);
        assert_eq!(included(Parts::AllButLast, 3), [1, 2]);
        assert_eq!(included(Parts::Last, 3), [3]);
        assert_eq!(included(Parts::AllButLast, 1), [1]);
        assert!(included(Parts::Last, 1).is_empty());
    }

    #[test]
    fn a_provider_that_is_down_answers_no_step_yet() {
        static FIRST: [Step; 1] = [Step::withholding(&[])];
        let course =
            Course { down: Duration::from_secs(10), first: &FIRST, then: Step::answering(Answer::Accept) };
        assert_eq!(course.step(0, Duration::ZERO).answer, Answer::Unavailable);
        assert_eq!(course.step(0, Duration::from_secs(10)).answer, Answer::Withhold);
        assert_eq!(course.step(1, Duration::from_secs(10)).answer, Answer::Accept);
        assert_eq!(course.step(u32::MAX, Duration::from_secs(10)).answer, Answer::Accept);
    }
}
