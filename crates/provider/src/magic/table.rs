//! The rows.

use std::time::Duration;

use message::failure::FailureReason;
use message::report::ReportState;

use super::script::{Answer, Cause, Course, Parts, Report, ReportTime, Script, Step};
use super::{Magic, Refusal};

// ---- causes; codes are the `stat` words of SMPP v3.4 appendix B and the statuses of its section 5.1.3

const fn cause(reason: FailureReason, detail: &'static str, provider_code: &'static str) -> Cause {
    Cause { reason, detail, provider_code }
}

/// ESME_RINVDSTADR.
const INVALID_RECIPIENT: Cause =
    cause(FailureReason::RecipientInvalid, "invalid destination address", "0x0000000B");
/// ESME_RSYSERR.
const SYSTEM_ERROR: Cause = cause(FailureReason::ProviderRejected, "system error, try again", "0x00000008");
const UNDELIV: Cause = cause(FailureReason::RecipientUnreachable, "undeliverable", "UNDELIV");
const REJECTD: Cause = cause(FailureReason::ProviderRejected, "rejected by the carrier", "REJECTD");
const EXPIRED: Cause = cause(FailureReason::ValidityExpired, "expired at the carrier", "EXPIRED");

// ---- reports

const fn report(after_millis: u64, state: ReportState, cause: Option<Cause>) -> Report {
    let time = ReportTime::AfterAnswer(Duration::from_millis(after_millis));
    Report { time, state, cause, parts: Parts::Each, times: 1 }
}

const fn delivered(after_millis: u64) -> Report {
    report(after_millis, ReportState::Delivered, None)
}

const fn failed(after_millis: u64, cause: Cause) -> Report {
    report(after_millis, ReportState::Failed, Some(cause))
}

// ---- courses

const TEMPORARY: Step = Step::answering(Answer::Reject { cause: SYSTEM_ERROR, is_permanent: false });
const THROTTLED: Step = Step::answering(Answer::Throttle { retry_after: Duration::from_secs(1) });
const DELIVERED: Step = Step::accepting(&[delivered(1_000)]);
static TEMPORARY_FAILURES: [Step; 9] = [TEMPORARY; 9];

const fn always(step: Step) -> Course {
    Course { down: Duration::ZERO, first: &[], then: step }
}

/// `count` temporary failures, then delivered. At most 9.
const fn after_failures(count: usize) -> Course {
    Course { first: TEMPORARY_FAILURES.split_at(count).0, ..always(DELIVERED) }
}

// ---- rows

const fn row(
    nn: u8,
    describes: &'static str,
    ends_as: &'static str,
    credit: &'static str,
    course: Course,
) -> Magic {
    Magic { nn, call: None, script: Script::One(course), describes, ends_as, credit }
}

const fn accepted(
    nn: u8,
    describes: &'static str,
    ends_as: &'static str,
    credit: &'static str,
    reports: &'static [Report],
) -> Magic {
    row(nn, describes, ends_as, credit, always(Step::accepting(reports)))
}

const fn temporary(nn: u8, describes: &'static str, count: usize) -> Magic {
    row(nn, describes, "DELIVERED", "captured", after_failures(count))
}

const fn refused(nn: u8, describes: &'static str, call: Refusal) -> Magic {
    Magic { call: Some(call), ..row(nn, describes, "no message", "none", always(DELIVERED)) }
}

/// Every row, by ascending NN.
pub static TABLE: &[Magic] = &[
    row(0, "SENT after about 50 ms, report after about 1 s", "DELIVERED", "captured", always(DELIVERED)),
    accepted(1, "report after 30 s", "DELIVERED", "captured", &[delivered(30_000)]),
    row(
        2,
        "report before the submit's answer",
        "DELIVERED",
        "captured",
        always(Step {
            // Long enough for the report to be stored first.
            answer_after: Duration::from_millis(500),
            ..Step::accepting(&[Report { time: ReportTime::BeforeAnswer, ..delivered(0) }])
        }),
    ),
    accepted(
        3,
        "the same report three times",
        "DELIVERED, no extra event",
        "captured once",
        &[Report { times: 3, ..delivered(1_000) }],
    ),
    accepted(
        4,
        "DELIVRD, then UNDELIV, which is marked ignored",
        "DELIVERED",
        "captured",
        &[delivered(1_000), failed(1_500, UNDELIV)],
    ),
    accepted(
        5,
        "ENROUTE, ACCEPTD, then DELIVRD",
        "DELIVERED",
        "captured",
        &[
            report(400, ReportState::EnRoute, None),
            report(700, ReportState::Accepted, None),
            delivered(1_000),
        ],
    ),
    accepted(
        6,
        "the last part of a long message fails",
        "FAILED_PERM, RECIPIENT_UNREACHABLE (one part: as 00)",
        "released (one part: captured)",
        &[
            Report { parts: Parts::AllButLast, ..delivered(1_000) },
            Report { parts: Parts::Last, ..failed(1_200, UNDELIV) },
        ],
    ),
    row(
        10,
        "refused at submit",
        "FAILED_PERM, RECIPIENT_INVALID",
        "released",
        always(Step::answering(Answer::Reject { cause: INVALID_RECIPIENT, is_permanent: true })),
    ),
    accepted(
        11,
        "report UNDELIV",
        "FAILED_PERM, RECIPIENT_UNREACHABLE",
        "released",
        &[failed(1_000, UNDELIV)],
    ),
    accepted(12, "report REJECTD", "FAILED_PERM, PROVIDER_REJECTED", "released", &[failed(1_000, REJECTD)]),
    accepted(13, "report EXPIRED", "FAILED_PERM, VALIDITY_EXPIRED", "released", &[failed(1_000, EXPIRED)]),
    accepted(
        14,
        "UNDELIV, then DELIVRD, which is marked ignored",
        "FAILED_PERM, RECIPIENT_UNREACHABLE",
        "released",
        &[failed(1_000, UNDELIV), delivered(1_500)],
    ),
    row(
        20,
        "temporary failure at every submit",
        "FAILED_PERM, RETRIES_EXHAUSTED; a dead letter",
        "released",
        always(TEMPORARY),
    ),
    temporary(21, "one temporary failure, then accepted", 1),
    temporary(22, "two temporary failures, then accepted", 2),
    temporary(23, "three temporary failures, then accepted", 3),
    temporary(24, "four temporary failures, then accepted", 4),
    temporary(25, "five temporary failures, then accepted", 5),
    temporary(26, "six temporary failures, then accepted", 6),
    temporary(27, "seven temporary failures, then accepted", 7),
    temporary(28, "eight temporary failures, then accepted", 8),
    temporary(29, "nine temporary failures, then accepted", 9),
    row(
        30,
        "throttled three times, which spends no attempt, then accepted",
        "DELIVERED",
        "captured",
        Course { first: &[THROTTLED; 3], ..always(DELIVERED) },
    ),
    row(
        31,
        "provider down for 10 s from the first submit, then accepted",
        "DELIVERED",
        "captured",
        Course { down: Duration::from_secs(10), ..always(DELIVERED) },
    ),
    accepted(
        40,
        "accepted, no report ever",
        "stays SENT; settled at the limit with REPORT_TIMEOUT",
        "by `settle_unreported`",
        &[],
    ),
    row(
        41,
        "taken without an answer: UNKNOWN, then a late DELIVRD",
        "DELIVERED",
        "captured",
        always(Step::withholding(&[delivered(2_000)])),
    ),
    row(
        42,
        "first submit taken without an answer and never reported: UNKNOWN",
        "WAIT: stays UNKNOWN, settled at the limit; RESEND: DELIVERED on attempt 2",
        "WAIT: by `settle_unreported`; RESEND: captured",
        Course { first: &[Step::withholding(&[])], ..always(DELIVERED) },
    ),
    row(
        43,
        "taken without an answer: UNKNOWN, then a late UNDELIV",
        "FAILED_PERM, RECIPIENT_UNREACHABLE",
        "released",
        always(Step::withholding(&[failed(2_000, UNDELIV)])),
    ),
    refused(50, "call refused: NO_ROUTE", Refusal::NoRoute),
    refused(51, "call refused: NO_RATE", Refusal::NoRate),
    refused(52, "call refused: INSUFFICIENT_CREDIT", Refusal::InsufficientCredit),
    refused(
        53,
        "call refused: RATE_LIMITED, retry after 1 s",
        Refusal::RateLimited { retry_after: Duration::from_secs(1) },
    ),
    refused(54, "call refused: RECIPIENT_OPTED_OUT", Refusal::RecipientOptedOut),
    Magic {
        ends_as: "DELIVERED, one message",
        credit: "captured once",
        ..refused(
            55,
            "commits, but the first call with each idempotency key answers OUTCOME_UNCERTAIN",
            Refusal::OutcomeUncertainOnce,
        )
    },
    Magic {
        nn: 90,
        call: None,
        script: Script::Mix(&[
            (96, always(DELIVERED)),
            (2, always(Step::accepting(&[failed(1_000, UNDELIV)]))),
            (1, after_failures(1)),
            (1, always(Step::accepting(&[]))),
        ]),
        describes: "seeded mix: 96 % delivered, 2 % UNDELIV, 1 % one temporary failure and then delivered, \
                    1 % no report",
        ends_as: "varies",
        credit: "by outcome",
    },
];
