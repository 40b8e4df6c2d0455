//! Reports that providers push.

use delivery::accept::prepare::is_printable;
use message::failure::{Failure, FailureReason};
use message::report::{ProviderReport, ReportState};
use tonic::Status;

use super::{read_enum, read_reason, read_timestamp};
use crate::grpc::faults::{Faults, ListFaults};
use crate::proto::v1;
use crate::status;

/// Reports of one request.
const REPORTS_MAX: usize = 1_000;
/// Longest reference of a provider, in characters.
const REFERENCE_MAX: usize = 256;
/// Longest code and longest detail of a failure, in bytes.
const CODE_MAX: usize = 32;
const DETAIL_MAX: usize = 200;
/// The largest number of a part (3GPP TS 23.040 section 9.2.3.24.1).
const PART_MAX: i32 = 255;

/// The reports, ready for the inbox.
pub fn read_reports(told: Vec<v1::ProviderReport>) -> Result<Vec<ProviderReport>, Status> {
    if told.is_empty() || told.len() > REPORTS_MAX {
        return Err(status::invalid_field("reports", "must have 1 to 1,000 entries"));
    }
    let mut faults = ListFaults::of("reports");
    let mut reports = Vec::with_capacity(told.len());
    for (index, report) in told.into_iter().enumerate() {
        let mut item = Faults::default();
        reports.extend(read_report(&mut item, report));
        faults.absorb(index, item);
    }
    faults.into_result()?;
    Ok(reports)
}

fn read_report(faults: &mut Faults, told: v1::ProviderReport) -> Option<ProviderReport> {
    let reference = &told.provider_message_id;
    let is_reference = (1..=REFERENCE_MAX).contains(&reference.chars().count()) && is_printable(reference);
    faults.check(
        "provider_message_id",
        is_reference,
        "must be 1 to 256 characters without control characters",
    );
    let is_part = (0..=PART_MAX).contains(&told.part_number);
    faults.check("part_number", is_part, "must be from 0 to 255");
    let done_at = read_timestamp(faults, "done_time", told.done_time);
    let done_date = told.done_time.filter(|_| done_at.is_some()).map(|at| at.to_string());
    let state = read_state(faults, told.status);
    let failure = read_failure(faults, &told, state);
    Some(ProviderReport {
        provider_ref: told.provider_message_id,
        attempt_ref: None,
        state: state?,
        part: u16::try_from(told.part_number).ok()?,
        done_date: done_date.unwrap_or_default(),
        failure,
    })
}

fn read_state(faults: &mut Faults, number: i32) -> Option<ReportState> {
    match read_enum(faults, "status", number)? {
        v1::message::Status::Sent => Some(ReportState::EnRoute),
        v1::message::Status::Delivered => Some(ReportState::Delivered),
        v1::message::Status::FailedPerm | v1::message::Status::Expired => Some(ReportState::Failed),
        _ => {
            faults.add("status", "must be SENT, DELIVERED, FAILED_PERM or EXPIRED");
            None
        }
    }
}

/// `None` unless it failed.
fn read_failure(
    faults: &mut Faults,
    told: &v1::ProviderReport,
    state: Option<ReportState>,
) -> Option<Failure> {
    let is_fine = told.provider_code.len() <= CODE_MAX && is_printable(&told.provider_code);
    faults.check("provider_code", is_fine, "must be at most 32 bytes without control characters");
    let is_fine = told.detail.len() <= DETAIL_MAX && is_printable(&told.detail);
    faults.check("detail", is_fine, "must be at most 200 bytes without control characters");
    let reason = read_reason(faults, "reason", told.reason);
    if state? != ReportState::Failed {
        let problem = "is for failures only";
        faults.check("provider_code", told.provider_code.is_empty(), problem);
        faults.check("detail", told.detail.is_empty(), problem);
        faults.check("reason", reason.is_none(), problem);
        return None;
    }
    let default = match told.status() {
        v1::message::Status::Expired => FailureReason::ValidityExpired,
        _ => FailureReason::ProviderRejected,
    };
    Some(Failure::new(reason.unwrap_or(default)).with(&told.detail, &told.provider_code))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tonic_types::StatusExt;
    use v1::message::Status as Told;

    use super::*;

    fn report(status: Told) -> v1::ProviderReport {
        v1::ProviderReport {
            provider_message_id: "p1".into(),
            status: status.into(),
            ..v1::ProviderReport::default()
        }
    }

    fn read(report: v1::ProviderReport) -> ProviderReport {
        read_reports(vec![report]).unwrap().remove(0)
    }

    fn refused(reports: Vec<v1::ProviderReport>) -> Vec<String> {
        let status = read_reports(reports).unwrap_err();
        let violations = status.get_details_bad_request().unwrap().field_violations;
        violations.into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn each_status_has_its_state_and_a_failure_its_reason() {
        let reason = |report: v1::ProviderReport| read(report).failure.map(|failure| failure.reason);
        for (status, state, failure) in [
            (Told::Sent, ReportState::EnRoute, None),
            (Told::Delivered, ReportState::Delivered, None),
            (Told::FailedPerm, ReportState::Failed, Some(FailureReason::ProviderRejected)),
            (Told::Expired, ReportState::Failed, Some(FailureReason::ValidityExpired)),
        ] {
            assert_eq!(read(report(status)).state, state);
            assert_eq!(reason(report(status)), failure);
        }
        let told = v1::failure::Reason::RecipientBlocked.into();
        let blocked = v1::ProviderReport { reason: told, ..report(Told::Expired) };
        assert_eq!(reason(blocked), Some(FailureReason::RecipientBlocked));
    }

    #[test]
    fn the_time_is_kept_as_text() {
        let done_time = Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5_000_000 });
        let told = v1::ProviderReport { done_time, part_number: 255, ..report(Told::Delivered) };
        let read = read(told);
        assert_eq!((read.done_date.as_str(), read.part), ("2023-11-14T22:13:20.005Z", 255));
        assert_eq!(super::tests::read(report(Told::Delivered)).done_date, "");
    }

    #[test]
    fn every_bad_field_of_every_report_is_named() {
        let bad = v1::ProviderReport {
            provider_message_id: "a\0".into(),
            status: Told::Queued.into(),
            provider_code: "x".repeat(33),
            done_time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
            part_number: 256,
            reason: 99,
            detail: "x".repeat(201),
        };
        let mut fields = refused(vec![report(Told::Delivered), bad]);
        fields.sort_unstable();
        let expected = [
            "reports[1].detail",
            "reports[1].done_time",
            "reports[1].part_number",
            "reports[1].provider_code",
            "reports[1].provider_message_id",
            "reports[1].reason",
            "reports[1].status",
        ];
        assert_eq!(fields, expected);
        let no_failure = v1::ProviderReport {
            provider_code: "000".into(),
            reason: 1,
            detail: "fine".into(),
            ..report(Told::Delivered)
        };
        let expected = ["reports[0].provider_code", "reports[0].detail", "reports[0].reason"];
        assert_eq!(refused(vec![no_failure]), expected);
        assert_eq!(refused(vec![]), ["reports"]);
        assert_eq!(refused(vec![report(Told::Sent); REPORTS_MAX + 1]), ["reports"]);
    }
}
