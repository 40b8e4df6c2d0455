//! What is refused before a balance is looked at, and what a fine request becomes.

use std::time::Duration;

use delivery::accept::{AcceptError, FieldViolation, Prepared, SendRequest, ViolationKind};
use delivery::model::Client;
use message::encoding::{Encoding, NationalTable};
use message::parts::{Content, ReferenceBits};
use message::status::OnUnknown;
use routing::route::ProviderKind;

use crate::given::{PART_PRICE, client, prepare_with, prepared, request, violations};

fn fields(result: Result<delivery::accept::Prepared, AcceptError>) -> Vec<&'static str> {
    violations(result).into_iter().map(|violation| violation.field).collect()
}

#[test]
fn a_plain_request_is_filled_in_from_the_settings() {
    let plain = prepared(request()).unwrap();
    assert_eq!(plain.to.as_str(), "+12025550100");
    assert_eq!((plain.sender.as_str(), plain.encoding, plain.part_count), ("Herald", Encoding::Gsm7, 1));
    assert_eq!((plain.price_micros, plain.currency.as_str()), (PART_PRICE, "USD"));
    assert_eq!((plain.on_unknown, plain.validity), (OnUnknown::Wait, Duration::from_secs(48 * 3_600)));
    assert_eq!((plain.reference_bits, plain.key()), (ReferenceBits::Sixteen, None));
}

#[test]
fn a_price_is_that_of_the_parts_with_the_installations_reference_size() {
    // 152 septets a part with a 16-bit reference, 66 units of UCS-2.
    for (text, parts) in
        [("a".repeat(160), 1), ("a".repeat(304), 2), ("a".repeat(305), 3), ("я".repeat(133), 3)]
    {
        let message = prepared(SendRequest { text, ..request() }).unwrap();
        assert_eq!((message.part_count, message.price_micros), (parts, i64::from(parts) * PART_PRICE));
    }
}

#[test]
fn limits_are_where_the_documentation_says() {
    let reference = |count: usize| SendRequest { reference: "é".repeat(count), ..request() };
    let key = |key: String| SendRequest { idempotency_key: key, ..request() };
    let entries = |count: usize| SendRequest {
        metadata: (0..count).map(|n| (format!("k{n}"), String::new())).collect(),
        ..request()
    };
    let entry = |name: String, value: String| SendRequest { metadata: [(name, value)].into(), ..request() };
    let validity = |validity: Duration| SendRequest { validity: Some(validity), ..request() };
    let week = Duration::from_secs(7 * 24 * 3_600);
    let max_parts = |max_parts: i32| SendRequest { max_parts, ..request() };
    let cases = [
        ("reference", reference(128), reference(129)),
        ("reference", reference(0), SendRequest { reference: "a\u{7}".into(), ..request() }),
        ("idempotency_key", key("~".repeat(128)), key("~".repeat(129))),
        ("idempotency_key", key("!".into()), key("a b".into())),
        ("idempotency_key", key(String::new()), key("é".into())),
        ("metadata", entries(20), entries(21)),
        ("metadata", entry("a.b-c_9".into(), "é".repeat(256)), entry("a".into(), "é".repeat(257))),
        ("metadata", entry("a".repeat(64), String::new()), entry("a".repeat(65), String::new())),
        ("metadata", entry("a".into(), String::new()), entry(String::new(), String::new())),
        ("metadata", entry("a".into(), "\n".into()), entry("a".into(), "\0".into())),
        ("metadata", entry("a".into(), "B".into()), entry("A".into(), "b".into())),
        ("validity_period", validity(Duration::from_secs(1)), validity(Duration::from_millis(999))),
        ("validity_period", validity(week), validity(week + Duration::from_micros(1))),
        ("max_parts", max_parts(255), max_parts(256)),
        ("max_parts", max_parts(0), max_parts(-1)),
        ("max_price_micros", request(), SendRequest { max_price_micros: -1, ..request() }),
        (
            "sender",
            SendRequest { sender: "Straße".into(), ..request() },
            SendRequest { sender: "12".into(), ..request() },
        ),
        ("to", request(), SendRequest { to: "2025550100".into(), ..request() }),
    ];
    for (field, fine, broken) in cases {
        assert!(prepared(fine.clone()).is_ok(), "{field}: {fine:?}");
        assert_eq!(fields(prepared(broken.clone())), [field], "{broken:?}");
    }
}

#[test]
fn all_violations_are_told_at_once() {
    let request = SendRequest {
        to: "nonsense".into(),
        text: String::new(),
        sender: "x ".into(),
        reference: "\n".into(),
        max_price_micros: -1,
        max_parts: 999,
        validity: Some(Duration::ZERO),
        ..request()
    };
    let expected = ["to", "sender", "reference", "validity_period", "max_parts", "max_price_micros", "text"];
    assert_eq!(fields(prepared(request)), expected);
}

#[test]
fn a_faulty_request_is_refused_as_such_even_where_it_could_not_be_sent() {
    let faulty = SendRequest { max_parts: -1, to: "+4915123456789".into(), ..request() };
    assert_eq!(fields(prepared(faulty.clone())), ["max_parts"]);
    assert!(matches!(prepared(SendRequest { max_parts: 0, ..faulty }), Err(AcceptError::NoRate)));
}

#[test]
fn a_body_is_text_or_data_in_an_encoding_that_has_it() {
    let body = |text: &str, data: &[u8], encoding| SendRequest {
        text: text.into(),
        data: data.into(),
        encoding,
        ..request()
    };
    let cases = [
        (body("", b"", None), "text"),
        (body("a", b"a", None), "text"),
        (body("a\0", b"", None), "text"),
        (body("a", b"", Some(Encoding::Binary)), "encoding"),
        (body("", b"a", Some(Encoding::Ucs2)), "encoding"),
    ];
    for (request, field) in cases {
        assert_eq!(fields(prepared(request.clone())), [field], "{request:?}");
    }
    let refused = violations(prepared(body("ça va?", b"", Some(Encoding::Gsm7))));
    assert_eq!(refused[0].kind, ViolationKind::NotEncodable { characters: "ç".into() });
    for (text, data, asked, expected) in [
        ("Ça va {€}", &b""[..], None, Encoding::Gsm7),
        ("ça va", b"", None, Encoding::Ucs2),
        ("a", b"", Some(Encoding::Ucs2), Encoding::Ucs2),
        ("", b"\0\xFF", None, Encoding::Binary),
    ] {
        assert_eq!(prepared(body(text, data, asked)).unwrap().encoding, expected);
    }
}

#[test]
fn more_parts_than_the_caller_or_the_client_allows_are_refused_with_both_figures() {
    let long = SendRequest { text: "a".repeat(305), ..request() };
    let strict = Client { max_parts: 2, ..client() };
    let by_client = prepare_with(
        &strict,
        &[ProviderKind::Simulator],
        PART_PRICE,
        SendRequest { max_parts: 200, ..long.clone() },
    );
    for refused in [by_client, prepared(SendRequest { max_parts: 2, ..long.clone() })] {
        assert_eq!(violations(refused)[0].kind, ViolationKind::TooManyParts { parts: 3, max_parts: 2 });
    }
    assert!(prepared(SendRequest { max_parts: 3, ..long }).is_ok());
    let huge =
        violations(prepared(SendRequest { data: vec![0; 133 * 255 + 1], text: String::new(), ..request() }));
    assert_eq!(huge[0].kind, ViolationKind::TooManyParts { parts: 256, max_parts: 10 });
    assert_eq!(huge[0].field, "data");
}

#[test]
fn a_price_above_the_callers_limit_is_refused_with_both_figures() {
    let limit = |max_price_micros| SendRequest { max_price_micros, ..request() };
    assert!(prepared(limit(PART_PRICE)).is_ok());
    let kind = ViolationKind::PriceAboveMax { price_micros: PART_PRICE, max_price_micros: PART_PRICE - 1 };
    assert_eq!(violations(prepared(limit(PART_PRICE - 1)))[0].kind, kind);
}

#[test]
fn magic_recipients_refuse_the_calls_of_sandbox_clients_only() {
    let to = |nn: &str| SendRequest { to: format!("+120255501{nn}"), ..request() };
    assert!(matches!(prepared(to("50")), Err(AcceptError::NoRoute)));
    assert!(matches!(prepared(to("51")), Err(AcceptError::NoRate)));
    assert!(matches!(prepared(to("54")), Err(AcceptError::RecipientOptedOut)));
    // Credit and rate are refused by later steps.
    assert!(prepared(to("52")).is_ok() && prepared(to("53")).is_ok());
    let live = Client { is_sandbox: false, ..client() };
    assert!(prepare_with(&live, &[ProviderKind::Simulator], 1, to("51")).is_ok());
    let with_carrier = prepare_with(&live, &[ProviderKind::Simulator, ProviderKind::Carrier], 1, to("00"));
    assert!(matches!(with_carrier, Err(AcceptError::NoRoute)));
}

#[test]
fn debug_shows_no_number_and_no_content() {
    let request = SendRequest {
        text: "a secret".into(),
        data: b"bytes".to_vec(),
        sender: "+12025550199".into(),
        ..request()
    };
    let shown = format!("{request:?}");
    for secret in ["2025550100", "secret", "98, 121", "2025550199"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let prepared = format!("{:?}", prepared(SendRequest { data: Vec::new(), ..request }).unwrap());
    assert!(!prepared.contains("2025550100") && !prepared.contains("secret"), "{prepared}");
}

#[test]
fn a_text_is_transliterated_only_if_that_was_asked_and_makes_it_gsm7() {
    let send = |text: &str, transliterate: bool, encoding: Option<Encoding>| {
        prepared(SendRequest { text: text.into(), transliterate, encoding, ..request() })
    };
    let text_of = |prepared: &Prepared| match &prepared.content {
        Content::Text(text) => text.as_str().to_owned(),
        Content::Binary(_) => panic!("a text was sent"),
    };
    let told = |prepared: &Prepared| (text_of(prepared), prepared.encoding, prepared.is_transliterated);
    let curly = "It\u{2019}s \u{e7}a";
    assert_eq!(told(&send(curly, true, None).unwrap()), ("It's ca".into(), Encoding::Gsm7, true));
    assert_eq!(told(&send(curly, false, None).unwrap()), (curly.into(), Encoding::Ucs2, false));
    // One character that has no other writing keeps the whole as it is.
    let half = format!("{curly} \u{6f22}");
    assert_eq!(told(&send(&half, true, None).unwrap()), (half.clone(), Encoding::Ucs2, false));
    assert_eq!(fields(send(&half, true, Some(Encoding::Gsm7))), ["text"]);
    assert_eq!(
        told(&send(curly, true, Some(Encoding::Ucs2)).unwrap()),
        (curly.into(), Encoding::Ucs2, false)
    );
    assert_eq!(told(&send("It's", true, None).unwrap()), ("It's".into(), Encoding::Gsm7, false));
}

#[test]
fn a_national_table_is_used_where_it_saves_parts() {
    let text = "\u{15f}".repeat(100);
    let plain = prepared(SendRequest { text: text.clone(), ..request() }).unwrap();
    assert_eq!((plain.encoding, plain.part_count, plain.shifts.table()), (Encoding::Ucs2, 2, None));
    let asked = SendRequest { text, national_table: Some(NationalTable::Turkish), ..request() };
    let turkish = prepared(asked).unwrap();
    assert_eq!((turkish.encoding, turkish.part_count), (Encoding::Gsm7, 1));
    assert_eq!(turkish.shifts.table(), Some(NationalTable::Turkish));
    let needless = SendRequest { national_table: Some(NationalTable::Turkish), ..request() };
    assert_eq!(prepared(needless).unwrap().shifts.table(), None);
}

#[test]
fn what_the_edge_could_not_read_is_told_with_the_rest() {
    let problem = "has no value 9".to_owned();
    let unread = vec![FieldViolation { field: "priority", problem, kind: ViolationKind::Field }];
    let faulty = SendRequest { to: "x".into(), unread, ..request() };
    assert_eq!(fields(prepared(faulty)), ["priority", "to"]);
}
