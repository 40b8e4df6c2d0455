//! Clients.

use std::time::Duration;

use delivery::accept::prepare::{PARTS_MAX, is_printable};
use delivery::model::{Client, ClientState};
use ledger::Policy;
use ledger::policy::{CaptureOn, SettleUnreported};
use message::fingerprint::Fingerprint;
use message::id::{ClientId, Entropy};
use message::sender::Sender;
use message::status::OnUnknown;
use message::time::Timestamp;

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
        low_balance_micros: client.low_balance_micros,
        create_time: Some(timestamp(client.created_at)),
        on_unknown: on_unknown(client.on_unknown).into(),
        resend_after: Some(duration(client.resend_after)),
        suspend_reason: client.suspend_reason.clone(),
    }
}

/// Reads one setting of what was told into the client.
type Read = fn(&mut Faults, &v1::Client, &mut Client);

/// The settings that may be changed, as an update mask names them. `burst_parts` comes after what its default follows.
const SETTINGS: [(&str, Read); 11] = [
    ("name", |faults, told, client| {
        check_name(faults, "client.name", &told.name);
        client.name.clone_from(&told.name);
    }),
    ("capture_on", |faults, told, client| client.policy.capture_on = capture_on(faults, told)),
    ("settle_unreported", |faults, told, client| {
        client.policy.settle_unreported = settle_unreported(faults, told);
    }),
    ("report_timeout", |faults, told, client| {
        let (field, asked) = ("client.report_timeout", told.report_timeout);
        client.report_timeout = read_span(faults, field, asked, (SECOND, 30 * DAY), REPORT_TIMEOUT_DEFAULT);
    }),
    ("parts_per_second", |faults, told, client| {
        check_rate(faults, "client.parts_per_second", told.parts_per_second);
        client.parts_per_second = told.parts_per_second;
    }),
    ("default_sender", |faults, told, client| {
        if !told.default_sender.is_empty() {
            faults.take("client.default_sender", Sender::parse(&told.default_sender));
        }
        client.default_sender.clone_from(&told.default_sender);
    }),
    ("max_parts", |faults, told, client| {
        let max_parts = if told.max_parts == 0 { MAX_PARTS_DEFAULT } else { told.max_parts };
        faults.check("client.max_parts", (1..=PARTS_MAX).contains(&max_parts), "must be from 0 to 255");
        client.max_parts = max_parts;
    }),
    ("burst_parts", |faults, told, client| {
        check_rate(faults, "client.burst_parts", told.burst_parts);
        client.burst_parts = if told.burst_parts == 0 { burst_default(client) } else { told.burst_parts };
    }),
    ("low_balance_micros", |faults, told, client| {
        let is_fine = told.low_balance_micros >= 0;
        faults.check("client.low_balance_micros", is_fine, "must not be negative");
        client.low_balance_micros = told.low_balance_micros;
    }),
    ("on_unknown", |faults, told, client| {
        let asked = read_on_unknown(faults, "client.on_unknown", told.on_unknown);
        client.on_unknown = asked.unwrap_or(OnUnknown::Wait);
    }),
    ("resend_after", |faults, told, client| {
        let (field, asked) = ("client.resend_after", told.resend_after);
        client.resend_after = read_span(faults, field, asked, (SECOND, 7 * DAY), RESEND_AFTER_DEFAULT);
    }),
];

/// A client to make, with the defaults filled in.
pub fn read_client(faults: &mut Faults, told: &v1::Client, now: Timestamp, entropy: Entropy) -> Client {
    check_output_only(faults, told);
    let mut client = Client {
        id: ClientId::new(now, entropy),
        name: String::new(),
        state: ClientState::Active,
        suspend_reason: String::new(),
        currency: currency(faults, &told.currency),
        is_sandbox: told.is_sandbox,
        policy: Policy::default(),
        report_timeout: REPORT_TIMEOUT_DEFAULT,
        on_unknown: OnUnknown::Wait,
        resend_after: RESEND_AFTER_DEFAULT,
        parts_per_second: 0,
        burst_parts: 0,
        default_sender: String::new(),
        max_parts: MAX_PARTS_DEFAULT,
        low_balance_micros: 0,
        created_at: now,
        revision: 1,
    };
    for (_, read) in SETTINGS {
        read(faults, told, &mut client);
    }
    client
}

/// Checks an update mask: the names of settings, at least one.
pub fn check_mask(faults: &mut Faults, mask: &[String]) {
    let is_setting = |path: &String| SETTINGS.iter().any(|(name, _)| name == path);
    if mask.is_empty() || !mask.iter().all(is_setting) {
        let names = SETTINGS.map(|(name, _)| name).join(", ");
        faults.add("update_mask", format!("must name one or more of {names}"));
    }
}

/// The client with the settings that the mask names as they were told.
pub fn changed(faults: &mut Faults, client: &Client, told: &v1::Client, mask: &[String]) -> Client {
    let mut changed = client.clone();
    for (_, read) in SETTINGS.iter().filter(|(name, _)| mask.iter().any(|path| path == name)) {
        read(faults, told, &mut changed);
    }
    // A burst that nobody chose goes on to follow the rate.
    let was_default = client.burst_parts == burst_default(client);
    if was_default && !mask.iter().any(|path| path == "burst_parts") {
        changed.burst_parts = burst_default(&changed);
    }
    changed
}

/// Of a call that makes a client, over what it asks for.
pub fn fingerprint(told: &v1::Client) -> Fingerprint {
    let span = |span: Option<prost_types::Duration>| {
        span.map(|span| [span.seconds.to_be_bytes(), i64::from(span.nanos).to_be_bytes()].concat())
    };
    Fingerprint::builder("create_client.v1")
        .field("name", told.name.as_bytes())
        .field("currency", told.currency.as_bytes())
        .int("is_sandbox", i64::from(told.is_sandbox))
        .int("capture_on", i64::from(told.capture_on))
        .int("settle_unreported", i64::from(told.settle_unreported))
        .opt("report_timeout", span(told.report_timeout).as_deref())
        .int("parts_per_second", i64::from(told.parts_per_second))
        .int("burst_parts", i64::from(told.burst_parts))
        .field("default_sender", told.default_sender.as_bytes())
        .int("max_parts", i64::from(told.max_parts))
        .int("low_balance_micros", told.low_balance_micros)
        .int("on_unknown", i64::from(told.on_unknown))
        .opt("resend_after", span(told.resend_after).as_deref())
        .finish()
}

/// A state of a filter; unspecified = all.
pub fn read_state(faults: &mut Faults, field: &'static str, number: i32) -> Option<ClientState> {
    match read_enum(faults, field, number)? {
        v1::client::State::Unspecified => None,
        v1::client::State::Active => Some(ClientState::Active),
        v1::client::State::Suspended => Some(ClientState::Suspended),
    }
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

fn check_rate(faults: &mut Faults, field: &'static str, parts: i32) {
    faults.check(field, (0..=RATE_MAX).contains(&parts), "must be from 0 to 1,000,000");
}

/// A bucket holds at least the largest message, or that message could only pass when nothing else does.
fn burst_default(client: &Client) -> i32 {
    if client.parts_per_second == 0 { 0 } else { client.parts_per_second.max(client.max_parts) }
}

fn capture_on(faults: &mut Faults, told: &v1::Client) -> CaptureOn {
    match read_enum(faults, "client.capture_on", told.capture_on) {
        Some(v1::client::CaptureOn::Delivered) => CaptureOn::Delivered,
        Some(v1::client::CaptureOn::Sent) => CaptureOn::Sent,
        Some(v1::client::CaptureOn::Unspecified) | None => Policy::default().capture_on,
    }
}

fn settle_unreported(faults: &mut Faults, told: &v1::Client) -> SettleUnreported {
    match read_enum(faults, "client.settle_unreported", told.settle_unreported) {
        Some(v1::client::SettleUnreported::Capture) => SettleUnreported::Capture,
        Some(v1::client::SettleUnreported::Release) => SettleUnreported::Release,
        Some(v1::client::SettleUnreported::Unspecified) | None => Policy::default().settle_unreported,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tonic::Status;
    use tonic_types::StatusExt;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn read(told: &v1::Client) -> Result<Client, Status> {
        let mut faults = Faults::default();
        let client = read_client(&mut faults, told, NOW, Entropy([1; 10]));
        faults.into_result().map(|()| client)
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
            low_balance_micros: -1,
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
            "client.low_balance_micros",
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

    fn mask(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_mask_names_settings_and_nothing_else() {
        let is_fine = |names: &[&str]| {
            let mut faults = Faults::default();
            check_mask(&mut faults, &mask(names));
            faults.fields().is_empty()
        };
        assert!(is_fine(&SETTINGS.map(|(name, _)| name)));
        for refused in [
            &[][..],
            &["*"][..],
            &["name", "id"][..],
            &["state"][..],
            &["currency"][..],
            &["is_sandbox"][..],
            &["create_time"][..],
            &["suspend_reason"][..],
            &["maxParts"][..],
            &["client.name"][..],
        ] {
            assert!(!is_fine(refused), "{refused:?}");
        }
    }

    #[test]
    fn every_field_of_a_client_is_a_setting_or_cannot_be_set() {
        let fixed = ["id", "state", "currency", "is_sandbox", "create_time", "suspend_reason"];
        let pool = prost_reflect::DescriptorPool::decode(crate::proto::DESCRIPTORS).unwrap();
        let described = pool.get_message_by_name("herald.v1.Client").unwrap();
        let mut described: Vec<String> = described.fields().map(|field| field.name().to_owned()).collect();
        let mut known: Vec<String> =
            SETTINGS.iter().map(|(name, _)| *name).chain(fixed).map(str::to_owned).collect();
        described.sort_unstable();
        known.sort_unstable();
        assert_eq!(described, known);
    }

    #[test]
    fn only_what_the_mask_names_is_looked_at_and_changed() {
        let before = read(&v1::Client { name: "a".into(), max_parts: 3, ..v1::Client::default() }).unwrap();
        let told = v1::Client { name: "b".into(), max_parts: 999, state: 7, ..v1::Client::default() };
        let mut faults = Faults::default();
        let after = changed(&mut faults, &before, &told, &mask(&["name", "report_timeout"]));
        assert!(faults.fields().is_empty());
        assert_eq!(after, Client { name: "b".into(), ..before.clone() });
        changed(&mut faults, &before, &told, &mask(&["max_parts"]));
        assert_eq!(faults.fields(), ["client.max_parts"]);
        // Named and empty: the default.
        let after = changed(&mut faults, &before, &v1::Client::default(), &mask(&["max_parts"]));
        assert_eq!(after.max_parts, MAX_PARTS_DEFAULT);
    }

    #[test]
    fn a_burst_that_nobody_chose_follows_the_rate_and_one_that_was_chosen_stays() {
        let client = |parts_per_second, burst_parts| {
            let told =
                v1::Client { name: "a".into(), parts_per_second, burst_parts, ..v1::Client::default() };
            read(&told).unwrap()
        };
        let told = v1::Client { parts_per_second: 500, ..v1::Client::default() };
        let burst = |before: &Client, names: &[&str]| {
            changed(&mut Faults::default(), before, &told, &mask(names)).burst_parts
        };
        assert_eq!(burst(&client(0, 0), &["parts_per_second"]), 500);
        assert_eq!(burst(&client(20, 0), &["parts_per_second"]), 500);
        assert_eq!(burst(&client(20, 70), &["parts_per_second"]), 70);
        assert_eq!(burst(&client(20, 70), &["burst_parts", "parts_per_second"]), 500);
    }

    #[test]
    fn another_client_is_another_request() {
        let told = v1::Client { name: "a".into(), ..v1::Client::default() };
        let others = [
            v1::Client { name: "b".into(), ..told.clone() },
            v1::Client { currency: "EUR".into(), ..told.clone() },
            v1::Client { is_sandbox: true, ..told.clone() },
            v1::Client { capture_on: 2, ..told.clone() },
            v1::Client { settle_unreported: 2, ..told.clone() },
            v1::Client { report_timeout: Some(prost_types::Duration::default()), ..told.clone() },
            v1::Client { parts_per_second: 1, ..told.clone() },
            v1::Client { burst_parts: 1, ..told.clone() },
            v1::Client { default_sender: "a".into(), ..told.clone() },
            v1::Client { max_parts: 1, ..told.clone() },
            v1::Client { low_balance_micros: 1, ..told.clone() },
            v1::Client { on_unknown: 1, ..told.clone() },
            v1::Client { resend_after: Some(prost_types::Duration::default()), ..told.clone() },
        ];
        assert_eq!(fingerprint(&told), fingerprint(&told.clone()));
        for other in others {
            assert_ne!(fingerprint(&told), fingerprint(&other), "{other:?}");
        }
    }
}
