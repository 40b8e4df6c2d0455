//! From a script, a seed and the past of a message to an answer and a schedule. Pure.

use std::time::Duration;

use message::failure::Failure;
use message::id::MessageId;
use message::report::ReportState;
use provider::magic::{self, Answer, Course, ReportTime, Step};
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::order::Order;

/// The time between repetitions of one report.
const REPETITION: Duration = Duration::from_millis(200);

/// What happened to the message before this submit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    pub submits: u32,
    /// Since the first of them.
    pub since_first: Duration,
}

/// What will happen because of one submit. Times count from the submit.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub answer: Answer,
    /// When the answer is given; of a withheld one, when the submitter gives up.
    pub answer_after: Duration,
    /// In order of their times.
    pub reports: Vec<PlannedReport>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PlannedReport {
    pub after: Duration,
    /// The time that the report names: repetitions name that of the first.
    pub done_after: Duration,
    /// From 1.
    pub part: u16,
    pub state: ReportState,
    pub failure: Option<Failure>,
    /// Echoes our reference.
    pub echo: bool,
}

/// The course that the message will take.
pub fn course(seed: u64, to: &str, message: MessageId) -> &'static Course {
    magic::script(to).course(draw(seed, message, 0, "course"))
}

/// Plans one submit; `give_up` is how long the submitter waits for an answer.
pub fn plan(config: &Config, order: &Order, past: Past, give_up: Duration) -> Plan {
    let message = order.attempt_ref.message;
    // The step counts what the script says in unscaled time.
    let since_first = past.since_first.mul_f64(config.time_scale);
    let step = *course(config.seed, order.to.as_str(), message).step(past.submits, since_first);
    let share = |purpose| unit(draw(config.seed, message, order.attempt_ref.attempt, purpose));

    let mut factor = 1.0 + config.jitter.spread * (2.0 * share("spread") - 1.0);
    if share("slow") < config.jitter.slow_share {
        factor *= config.jitter.slow_factor;
    }
    let strayed = |delay: Duration| config.scaled(delay.mul_f64(factor));
    let is_lost = step.answer == Answer::Accept && share("loss") < config.loss;

    let answered = match step.answer {
        Answer::Withhold => give_up,
        _ => strayed(step.answer_after),
    };
    Plan {
        answer: if is_lost { Answer::Withhold } else { scale_answer(config, step.answer) },
        answer_after: if is_lost { give_up } else { answered },
        reports: reports(config, &step, order.part_count, config.echo || step.must_echo || is_lost, |time| {
            match time {
                ReportTime::BeforeAnswer => Duration::ZERO,
                ReportTime::AfterAnswer(delay) => answered + strayed(delay),
            }
        }),
    }
}

fn scale_answer(config: &Config, answer: Answer) -> Answer {
    match answer {
        Answer::Throttle { retry_after } => Answer::Throttle { retry_after: config.scaled(retry_after) },
        other => other,
    }
}

fn reports(
    config: &Config,
    step: &Step,
    part_count: u16,
    echo: bool,
    at: impl Fn(ReportTime) -> Duration,
) -> Vec<PlannedReport> {
    let mut planned = Vec::new();
    for report in step.reports {
        let done_after = at(report.time);
        for repetition in 0..u32::from(report.times) {
            let after = done_after + config.scaled(REPETITION * repetition);
            for part in (1..=part_count).filter(|part| report.parts.includes(*part, part_count)) {
                planned.push(PlannedReport {
                    after,
                    done_after,
                    part,
                    state: report.state,
                    failure: report.cause.map(|cause| cause.failure()),
                    echo,
                });
            }
        }
    }
    planned
}

/// A draw that depends on its arguments alone, so that no order of events can change it.
fn draw(seed: u64, message: MessageId, attempt: i32, purpose: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    hash.update(message.as_uuid().as_bytes());
    hash.update(attempt.to_be_bytes());
    hash.update(purpose.as_bytes());
    hash.finalize().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// From 0 up to, not including, 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit a f64 exactly")]
fn unit(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1_u64 << 53) as f64
}
