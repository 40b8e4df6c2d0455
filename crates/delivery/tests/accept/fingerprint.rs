//! The fingerprint of a send: equal for the same request, and for no other.

use std::time::Duration;

use delivery::accept::SendRequest;
use delivery::model::Client;
use message::Timestamp;
use message::class::{MessageClass, Priority};
use message::encoding::{Encoding, NationalTable};
use message::fingerprint::Fingerprint;
use message::id::{ClientId, Entropy};
use message::status::OnUnknown;
use proptest::prelude::*;
use routing::route::ProviderKind;

use crate::given::{NOW, client, prepare_with, prepared, request};

fn fingerprint(request: &SendRequest) -> Fingerprint {
    prepared(request.clone()).unwrap().fingerprint
}

#[test]
fn a_request_that_is_refused_by_now_has_the_one_it_would_have() {
    for asked in
        [request(), SendRequest { sender: "Herald".into(), to: " +1 202-555-0100".into(), ..request() }]
    {
        let refused = prepare_with(&client(), &[], 1, asked.clone()).unwrap_err();
        assert!(matches!(refused, delivery::accept::AcceptError::NoRoute));
        assert_eq!(delivery::accept::prepare::fingerprint(client().id, &asked), fingerprint(&asked));
    }
}

/// Valid requests, of few values, so that two are often alike in most fields.
fn requests() -> impl Strategy<Value = SendRequest> {
    let select = |values: &'static [&'static str]| proptest::sample::select(values).prop_map(str::to_owned);
    let body = prop_oneof![
        4 => select(&["a", "b", "ab", "é"]).prop_map(|text| (text, Vec::new())),
        1 => select(&["a", "b", "ab"]).prop_map(|data| (String::new(), data.into_bytes())),
    ];
    let labels = (
        select(&["", "a", "b"]),
        proptest::collection::btree_map("[ab]{1,2}", "[ab]{0,2}", 0..3),
        select(&["", "Herald", "Herold", "72345"]),
    );
    let limits =
        (0..3i32, proptest::sample::select(vec![0, 50_000, 60_000i64]), proptest::option::of(1..3u64));
    let choices = (any::<bool>(), proptest::option::of(proptest::sample::select(OnUnknown::ALL)));
    let extras = (
        any::<bool>(),
        proptest::option::of(proptest::sample::select(NationalTable::ALL)),
        proptest::option::of((-2..3i64).prop_map(Timestamp::from_micros)),
        proptest::option::of(proptest::sample::select(Priority::ALL)),
        any::<bool>(),
        proptest::option::of(proptest::sample::select(MessageClass::ALL)),
    );
    (select(&["+12025550100", "+12025550101"]), body, labels, limits, choices, extras).prop_map(
        |(
            to,
            (text, data),
            (reference, metadata, sender),
            (max_parts, max_price_micros, hours),
            (ucs2, on_unknown),
            (transliterate, national_table, schedule_at, priority, is_flash, class),
        )| {
            let is_text = !text.is_empty();
            SendRequest {
                to,
                encoding: (ucs2 && is_text).then_some(Encoding::Ucs2),
                transliterate: transliterate && is_text,
                national_table: national_table.filter(|_| is_text),
                schedule_at,
                priority,
                is_flash,
                class,
                unread: Vec::new(),
                text,
                data,
                sender,
                idempotency_key: String::new(),
                reference,
                metadata,
                max_parts,
                max_price_micros,
                validity: hours.map(|hours| Duration::from_secs(hours * 3_600)),
                on_unknown,
            }
        },
    )
}

/// All that the fingerprint speaks of.
fn fields(request: &SendRequest) -> impl PartialEq + use<> {
    let SendRequest {
        to,
        text,
        data,
        sender,
        idempotency_key: _,
        reference,
        metadata,
        encoding,
        max_parts,
        max_price_micros,
        validity,
        on_unknown,
        transliterate,
        national_table,
        schedule_at,
        priority,
        is_flash,
        class,
        unread: _,
    } = request.clone();
    (
        (to, text, data, sender, reference, metadata),
        (encoding, max_parts, max_price_micros, validity, on_unknown),
        (transliterate, national_table, schedule_at, priority, is_flash, class),
    )
}

proptest! {
    #[test]
    fn two_requests_have_one_fingerprint_exactly_if_all_their_fields_are_equal(
        (one, other) in (requests(), requests()).prop_flat_map(|(a, b)| (Just(a.clone()), prop_oneof![Just(a), Just(b)])),
    ) {
        prop_assert_eq!(fingerprint(&one) == fingerprint(&other), fields(&one) == fields(&other));
    }
}

#[test]
fn each_field_that_changes_makes_another_request() {
    let change: [fn(&mut SendRequest); 19] = [
        |request| request.to = "+12025550101".into(),
        |request| request.text = "Hello ".into(),
        |request| (request.text, request.data) = (String::new(), b"Hello".to_vec()),
        |request| (request.text, request.data) = (String::new(), b"Hello ".to_vec()),
        |request| request.sender = "Herald".into(),
        |request| request.reference = "order 1".into(),
        |request| request.metadata = [("a".into(), String::new())].into(),
        |request| request.metadata = [("a".into(), "b".into())].into(),
        |request| request.encoding = Some(Encoding::Ucs2),
        |request| request.max_parts = 2,
        |request| request.max_price_micros = 1_000_000,
        |request| request.validity = Some(Duration::from_secs(60)),
        |request| request.on_unknown = Some(OnUnknown::Wait),
        |request| request.transliterate = true,
        |request| request.national_table = Some(NationalTable::Turkish),
        |request| request.schedule_at = Some(NOW),
        |request| request.priority = Some(Priority::Normal),
        |request| request.is_flash = true,
        |request| request.class = Some(MessageClass::Transactional),
    ];
    let mut seen = vec![fingerprint(&request())];
    for change in change {
        let mut request = request();
        change(&mut request);
        let changed = fingerprint(&request);
        assert!(!seen.contains(&changed), "{request:?}");
        seen.push(changed);
    }
}

#[test]
fn spelling_the_key_and_the_settings_do_not_change_it() {
    let first = fingerprint(&request());
    let spelled = SendRequest { to: " +1 (202) 555-0100".into(), idempotency_key: "k".into(), ..request() };
    assert_eq!(fingerprint(&spelled), first);
    let changed = Client {
        default_sender: "Other".into(),
        on_unknown: OnUnknown::Resend,
        max_parts: 3,
        is_sandbox: false,
        ..client()
    };
    let again = prepare_with(&changed, &[ProviderKind::Simulator], 1, request()).unwrap();
    assert_eq!(again.fingerprint, first);
    assert_eq!(again.sender, "Other");
}

#[test]
fn two_clients_never_share_one() {
    let other = Client { id: ClientId::new(NOW, Entropy([9; 10])), ..client() };
    let theirs = prepare_with(&other, &[ProviderKind::Simulator], 1, request()).unwrap();
    assert_ne!(theirs.fingerprint, fingerprint(&request()));
}
