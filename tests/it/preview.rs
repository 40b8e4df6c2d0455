//! A preview tells what a send then does.

use herald_sdk::tonic::Code;
use herald_sdk::v1::{self, ErrorReason};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::support::{Herald, Mode, NewAccount, PART_PRICE, Setup, in_both_modes, refusal, sms};

in_both_modes! {
    a_preview_is_what_the_send_then_freezes,
    a_preview_shows_what_forces_an_encoding_and_changes_nothing,
}

/// What texts are drawn from: each word keeps another table, or none, in play.
const WORDS: &[&str] = &[
    "hello ",
    "Zürich ",
    "{brackets} ",
    "€5 ",
    "ğüşiöç ",
    "ñandú ",
    "ação ",
    "“quoted” ",
    "naïve ",
    "ﬁne ",
    "日本 ",
    "👍🏽 ",
    "e\u{301}t\u{301} ",
    "`",
    "\u{200B}",
    "мир ",
    "\u{a0}",
    "…",
];

/// What texts of a language are written with, by the number of its table.
const NATIONAL: [&[&str]; 4] = [
    WORDS,
    &["hello ", "ğüşiöç ", "İstanbul "],
    &["hello ", "ñandú ", "sí ", "ó "],
    &["hello ", "ação ", "você ", "{ê} "],
];

async fn a_preview_is_what_the_send_then_freezes(mode: Mode) {
    const TEXTS: usize = 120;
    let mut herald = Herald::start(mode, Setup::default()).await;
    let many_parts = v1::Client { max_parts: 255, ..NewAccount::default().client };
    let account = herald.account(NewAccount { client: many_parts, ..NewAccount::default() }).await;
    let client = herald.impatient_client(&account.key);
    let mut random = StdRng::seed_from_u64(3);
    let (mut accepted, mut transliterated, mut national, mut refused) = (0, 0, 0, 0);
    for _ in 0..TEXTS {
        let words = random.random_range(1..60);
        // Few words at a time, or no text would be GSM-7.
        let kinds = random.random_range(1..4);
        let table = random.random_range(0..4);
        let words_of = if random.random() { NATIONAL[table] } else { WORDS };
        let few: Vec<&&str> = words_of.choose_multiple(&mut random, kinds).collect();
        let text: String = (0..words).map(|_| **few.choose(&mut random).expect("at least one")).collect();
        let request = v1::PreviewMessageRequest {
            to: "+12025550100".into(),
            text: text.clone(),
            sender: "Herald".into(),
            encoding: if random.random_bool(0.2) { random.random_range(1..3) } else { 0 },
            transliterate: random.random(),
            national_table: i32::try_from(table).expect("small"),
            data: Vec::new(),
        };
        let send = v1::SendMessageRequest {
            encoding: request.encoding,
            transliterate: request.transliterate,
            national_table: request.national_table,
            sender: request.sender.clone(),
            ..sms(&request.to, &text)
        };
        let preview = client.raw().messaging().preview_message(request.clone()).await;
        let sent = client.send(send).await;
        match (preview, sent) {
            (Ok(preview), Ok(sent)) => {
                let (preview, message) = (preview.into_inner(), sent.message);
                assert_eq!(told_by(&preview), frozen_in(&message), "{text:?} by {request:?}");
                assert_eq!(preview.units, preview.parts.iter().map(|part| part.units).sum::<i32>());
                assert_eq!(preview.is_transliterated, preview.text != text);
                accepted += 1;
                transliterated += usize::from(preview.is_transliterated);
                national += usize::from(preview.national_table != 0);
            }
            (Err(preview), Err(sent)) => {
                let preview = herald_sdk::Error::from(preview);
                assert_eq!((preview.code(), preview.reason()), (sent.code(), sent.reason()));
                assert_eq!(preview.field_violations(), sent.field_violations(), "{text:?}");
                refused += 1;
            }
            (preview, sent) => panic!("{text:?} by {request:?}: {preview:?}, but {sent:?}"),
        }
    }
    // The texts try every branch.
    let seen = [accepted, transliterated, national, refused];
    assert!(seen.iter().all(|count| *count >= 5), "{seen:?}");
    herald.finish().await;
}

async fn a_preview_shows_what_forces_an_encoding_and_changes_nothing(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let client = herald.impatient_client(&account.key);
    let preview = async |request: v1::PreviewMessageRequest| {
        client.raw().messaging().preview_message(request).await.map(|answer| answer.into_inner())
    };
    let text = |text: &str| v1::PreviewMessageRequest { text: text.into(), ..Default::default() };
    let told = preview(text("aç日ç")).await.expect("a preview");
    let forcing: Vec<_> = told
        .forcing_characters
        .iter()
        .map(|one| (one.character.as_str(), one.code_point.as_str(), one.index, one.replacement.as_str()))
        .collect();
    assert_eq!(forcing, [("ç", "U+00E7", 1, "c"), ("日", "U+65E5", 2, "")]);
    assert_eq!((told.encoding(), told.part_count, told.units), (v1::Encoding::Ucs2, 1, 4));
    // Without a recipient there is no price; the currency is the client's all the same.
    assert_eq!((told.price_micros, told.currency.as_str()), (0, "USD"));
    // The client's own limit of ten parts refuses sends, not looks.
    let long = text(&"a".repeat(153 * 12));
    let long =
        preview(v1::PreviewMessageRequest { to: "+12025550100".into(), ..long }).await.expect("a preview");
    assert_eq!((long.part_count, long.price_micros), (12, 12 * PART_PRICE));
    let data = v1::PreviewMessageRequest { data: vec![7; 200], ..Default::default() };
    let data = preview(data).await.expect("a preview");
    assert_eq!((data.encoding(), data.part_count, data.units), (v1::Encoding::Binary, 2, 200));

    let refused = async |request, code, reason: ErrorReason, fields: &[&str]| {
        let error = refusal(preview(request).await, code, reason);
        let named: Vec<&str> =
            error.field_violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, fields, "{error}");
    };
    let invalid = Code::InvalidArgument;
    let several = v1::PreviewMessageRequest {
        to: "nobody".into(),
        sender: "TwelveLetter".into(),
        encoding: 9,
        national_table: 9,
        ..text("Hello")
    };
    let fields = ["encoding", "national_table", "to", "sender"];
    refused(several, invalid, ErrorReason::InvalidField, &fields).await;
    let gsm7 = v1::PreviewMessageRequest { encoding: v1::Encoding::Gsm7.into(), ..text("日") };
    refused(gsm7, invalid, ErrorReason::TextNotEncodable, &["text"]).await;
    refused(text(&"a".repeat(40_000)), invalid, ErrorReason::TooManyParts, &["text"]).await;
    let nowhere = v1::PreviewMessageRequest { to: "+12025550150".into(), ..text("Hello") };
    refused(nowhere, Code::FailedPrecondition, ErrorReason::NoRoute, &[]).await;
    let balance = client.balance().await.expect("the balance");
    assert_eq!((balance.seq, balance.held_micros), (1, 0), "a preview left a trace");
    herald.finish().await;
}

type Facts = (i32, i32, Vec<(i32, String, i32, i32)>, String, i64, String, bool, i32);

fn told_by(preview: &v1::PreviewMessageResponse) -> Facts {
    (
        preview.encoding,
        preview.part_count,
        parts(&preview.parts),
        preview.text.clone(),
        preview.price_micros,
        preview.currency.clone(),
        preview.is_transliterated,
        preview.national_table,
    )
}

fn frozen_in(message: &v1::Message) -> Facts {
    (
        message.encoding,
        message.part_count,
        parts(&message.parts),
        message.text.clone(),
        message.price_micros,
        message.currency.clone(),
        message.is_transliterated,
        message.national_table,
    )
}

fn parts(parts: &[v1::Part]) -> Vec<(i32, String, i32, i32)> {
    parts.iter().map(|part| (part.number, part.text.clone(), part.units, part.unit_limit)).collect()
}
