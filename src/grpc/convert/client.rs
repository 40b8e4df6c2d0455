//! Clients and API keys.

use std::time::Duration;

use delivery::accept::prepare::{PARTS_MAX, is_printable};
use delivery::model::{ApiKey, Client, ClientState, Scope};
use ledger::Policy;
use ledger::policy::{CaptureOn, SettleUnreported};
use message::id::{ClientId, Entropy};
use message::sender::Sender;
use message::status::OnUnknown;
use message::time::Timestamp;
use tonic::Status;

use super::{duration, on_unknown, read_enum, read_on_unknown, read_span, timestamp};
use crate::grpc::faults::Faults;
use crate::proto::v1;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const REPORT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(72 * 3_600);
const RESEND_AFTER_DEFAULT: Duration = Duration::from_secs(10 * 60);
const MAX_PARTS_DEFAULT: i32 = 10;
/// Parts per second, and in a burst.
const RATE_MAX: i32 = 1_000_000;
/// Longest name of a client or key, in characters.
const NAME_MAX: usize = 128;

pub fn client(client: &Client) -> v1::Client {
    v1::Client {
        id: client.id.to_string(),
        name: client.name.clone(),
        state: match client.state {
            ClientState::Active => v1::client::State::Active,
            ClientState::Suspended => v1::client::State::Suspended,
        }
        .into(),
        currency: client.currency.clone(),
        is_sandbox: client.is_sandbox,
        capture_on: match client.policy.capture_on {
            CaptureOn::Delivered => v1::client::CaptureOn::Delivered,
            CaptureOn::Sent => v1::client::CaptureOn::Sent,
        }
        .into(),
        settle_unreported: match client.policy.settle_unreported {
            SettleUnreported::Capture => v1::client::SettleUnreported::Capture,
            SettleUnreported::Release => v1::client::SettleUnreported::Release,
        }
        .into(),
        report_timeout: Some(duration(client.report_timeout)),
        parts_per_second: client.parts_per_second,
        burst_parts: client.burst_parts,
        default_sender: client.default_sender.clone(),
        max_parts: client.max_parts,
        create_time: Some(timestamp(client.created_at)),
        on_unknown: on_unknown(client.on_unknown).into(),
        resend_after: Some(duration(client.resend_after)),
        suspend_reason: client.suspend_reason.clone(),
    }
}

/// A client to make, with the defaults filled in.
pub fn read_client(told: &v1::Client, now: Timestamp, entropy: Entropy) -> Result<Client, Status> {
    let mut faults = Faults::default();
    check_output_only(&mut faults, told);
    check_name(&mut faults, "client.name", &told.name);
    let max_parts = if told.max_parts == 0 { MAX_PARTS_DEFAULT } else { told.max_parts };
    faults.check("client.max_parts", (1..=PARTS_MAX).contains(&max_parts), "must be from 0 to 255");
    let rates = 0..=RATE_MAX;
    let limits = "must be from 0 to 1,000,000";
    faults.check("client.parts_per_second", rates.contains(&told.parts_per_second), limits);
    faults.check("client.burst_parts", rates.contains(&told.burst_parts), limits);
    if !told.default_sender.is_empty() {
        faults.take("client.default_sender", Sender::parse(&told.default_sender));
    }
    let client = Client {
        id: ClientId::new(now, entropy),
        name: told.name.clone(),
        state: ClientState::Active,
        suspend_reason: String::new(),
        currency: currency(&mut faults, &told.currency),
        is_sandbox: told.is_sandbox,
        policy: policy(&mut faults, told),
        report_timeout: read_span(
            &mut faults,
            "client.report_timeout",
            told.report_timeout,
            (SECOND, 30 * DAY),
            REPORT_TIMEOUT_DEFAULT,
        ),
        on_unknown: read_on_unknown(&mut faults, "client.on_unknown", told.on_unknown)
            .unwrap_or(OnUnknown::Wait),
        resend_after: read_span(
            &mut faults,
            "client.resend_after",
            told.resend_after,
            (SECOND, 7 * DAY),
            RESEND_AFTER_DEFAULT,
        ),
        parts_per_second: told.parts_per_second,
        burst_parts: burst(told, max_parts),
        default_sender: told.default_sender.clone(),
        max_parts,
        created_at: now,
    };
    faults.into_result()?;
    Ok(client)
}

fn check_output_only(faults: &mut Faults, told: &v1::Client) {
    let problem = "is set by the server; leave it out";
    faults.check("client.id", told.id.is_empty(), problem);
    faults.check("client.state", told.state == 0, problem);
    faults.check("client.create_time", told.create_time.is_none(), problem);
    faults.check("client.suspend_reason", told.suspend_reason.is_empty(), problem);
}

/// A name for people: 1 to 128 characters without control characters.
pub fn check_name(faults: &mut Faults, field: &'static str, name: &str) {
    let is_fine = (1..=NAME_MAX).contains(&name.chars().count()) && is_printable(name);
    faults.check(field, is_fine, "must be 1 to 128 characters without control characters");
}

fn currency(faults: &mut Faults, told: &str) -> String {
    if told.is_empty() {
        return "USD".to_owned();
    }
    faults.check("client.currency", ledger::is_currency(told), "must be three upper-case letters (ISO 4217)");
    told.to_owned()
}

/// A bucket holds at least the largest message, or that message could only pass when nothing else does.
fn burst(told: &v1::Client, max_parts: i32) -> i32 {
    match (told.parts_per_second, told.burst_parts) {
        (0, asked) => asked,
        (rate, 0) => rate.max(max_parts),
        (_, asked) => asked,
    }
}

fn policy(faults: &mut Faults, told: &v1::Client) -> Policy {
    let default = Policy::default();
    let capture_on = match read_enum(faults, "client.capture_on", told.capture_on) {
        Some(v1::client::CaptureOn::Delivered) => CaptureOn::Delivered,
        Some(v1::client::CaptureOn::Sent) => CaptureOn::Sent,
        Some(v1::client::CaptureOn::Unspecified) | None => default.capture_on,
    };
    let settle_unreported = match read_enum(faults, "client.settle_unreported", told.settle_unreported) {
        Some(v1::client::SettleUnreported::Capture) => SettleUnreported::Capture,
        Some(v1::client::SettleUnreported::Release) => SettleUnreported::Release,
        Some(v1::client::SettleUnreported::Unspecified) | None => default.settle_unreported,
    };
    Policy { capture_on, settle_unreported }
}

pub fn api_key(key: &ApiKey) -> v1::ApiKey {
    v1::ApiKey {
        id: key.id.clone(),
        client_id: key.client.map(|client| client.to_string()).unwrap_or_default(),
        name: key.name.clone(),
        scopes: key.scopes.iter().map(|scope| scope_told(*scope).into()).collect(),
        create_time: Some(timestamp(key.created_at)),
        expire_time: key.expire_at.map(timestamp),
    }
}

fn scope_told(scope: Scope) -> v1::Scope {
    match scope {
        Scope::Send => v1::Scope::Send,
        Scope::Read => v1::Scope::Read,
        Scope::Billing => v1::Scope::Billing,
        Scope::Admin => v1::Scope::Admin,
    }
}

/// The scopes of a new key, sorted, each once. Client keys have any but ADMIN, operator keys have ADMIN.
pub fn read_scopes(faults: &mut Faults, is_operator: bool, numbers: &[i32]) -> Vec<Scope> {
    let field = "scopes";
    if numbers.is_empty() || numbers.len() > 16 {
        faults.add(field, "must name 1 to 16 scopes");
        return Vec::new();
    }
    let mut scopes = Vec::new();
    for number in numbers {
        match read_enum(faults, field, *number) {
            None => {}
            Some(v1::Scope::Unspecified) => faults.add(field, "must not hold SCOPE_UNSPECIFIED"),
            Some(v1::Scope::Send) => scopes.push(Scope::Send),
            Some(v1::Scope::Read) => scopes.push(Scope::Read),
            Some(v1::Scope::Billing) => scopes.push(Scope::Billing),
            Some(v1::Scope::Admin) => scopes.push(Scope::Admin),
        }
    }
    match (is_operator, scopes.contains(&Scope::Admin)) {
        (true, false) => faults.add(field, "an operator key (without a client) needs ADMIN"),
        (false, true) => faults.add(field, "ADMIN is for operator keys (without a client) only"),
        _ => {}
    }
    scopes.sort_unstable();
    scopes.dedup();
    scopes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tonic_types::StatusExt;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn read(told: &v1::Client) -> Result<Client, Status> {
        read_client(told, NOW, Entropy([1; 10]))
    }

    fn refused_fields(told: &v1::Client) -> Vec<String> {
        let status = read(told).unwrap_err();
        let violations = status.get_details_bad_request().unwrap().field_violations;
        violations.into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn a_name_is_enough_and_the_rest_has_documented_defaults() {
        let client = read(&v1::Client { name: "acme".into(), ..v1::Client::default() }).unwrap();
        assert_eq!(client.currency, "USD");
        assert_eq!(client.policy, Policy::default());
        assert_eq!(client.report_timeout, Duration::from_secs(72 * 3_600));
        assert_eq!(client.resend_after, Duration::from_secs(600));
        assert_eq!((client.max_parts, client.parts_per_second, client.burst_parts), (10, 0, 0));
        assert_eq!(client.on_unknown, OnUnknown::Wait);
        let told = super::client(&client);
        assert_eq!(told.state(), v1::client::State::Active);
        assert_eq!(told.id, client.id.to_string());
    }

    #[test]
    fn a_burst_holds_the_rate_and_the_largest_message() {
        let burst = |parts_per_second, burst_parts| {
            let told =
                v1::Client { name: "a".into(), parts_per_second, burst_parts, ..v1::Client::default() };
            read(&told).unwrap().burst_parts
        };
        assert_eq!([burst(1, 0), burst(100, 0), burst(100, 300)], [10, 100, 300]);
    }

    #[test]
    fn every_bad_field_is_named_at_once() {
        let told = v1::Client {
            id: "x".into(),
            name: "a\n".into(),
            state: 1,
            currency: "usd".into(),
            capture_on: 9,
            settle_unreported: 9,
            report_timeout: Some(prost_types::Duration { seconds: 31 * 24 * 3_600, nanos: 0 }),
            parts_per_second: -1,
            burst_parts: 1_000_001,
            default_sender: "much too long a name".into(),
            max_parts: 256,
            create_time: Some(prost_types::Timestamp::default()),
            on_unknown: 9,
            resend_after: Some(prost_types::Duration { seconds: 0, nanos: 0 }),
            suspend_reason: "x".into(),
            ..v1::Client::default()
        };
        let mut fields = refused_fields(&told);
        fields.sort_unstable();
        let expected = [
            "client.burst_parts",
            "client.capture_on",
            "client.create_time",
            "client.currency",
            "client.default_sender",
            "client.id",
            "client.max_parts",
            "client.name",
            "client.on_unknown",
            "client.parts_per_second",
            "client.report_timeout",
            "client.resend_after",
            "client.settle_unreported",
            "client.state",
            "client.suspend_reason",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn admin_is_for_operator_keys_and_they_need_it() {
        let read = |is_operator, numbers: &[i32]| {
            let mut faults = Faults::default();
            let scopes = read_scopes(&mut faults, is_operator, numbers);
            faults.fields().is_empty().then_some(scopes)
        };
        assert_eq!(read(false, &[2, 1, 2]), Some(vec![Scope::Send, Scope::Read]));
        assert_eq!(read(true, &[4]), Some(vec![Scope::Admin]));
        for (is_operator, numbers) in
            [(false, &[4][..]), (true, &[1][..]), (false, &[][..]), (false, &[0][..]), (false, &[7][..])]
        {
            assert_eq!(read(is_operator, numbers), None, "{numbers:?}");
        }
    }
}
