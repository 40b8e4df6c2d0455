//! What accepting a message costs before and beside the store: `cargo bench -p delivery`.
#![allow(clippy::unwrap_used)]

#[path = "../tests/accept/given.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod given;

use delivery::accept::decide::{Submission, decide};
use delivery::accept::{SendRequest, prepare};
use delivery::book::Book;
use delivery::timing::Timing;
use divan::{Bencher, black_box, counter::ItemsCount};
use message::PhoneNumber;
use message::encoding::choose;
use message::id::Entropy;
use message::parts::{Content, MessageText, ReferenceBits, SplitBy, split};
use routing::rates::RateTable;

use given::{client, loaded, prepared, request};

fn main() {
    divan::main();
}

/// One part of GSM 7-bit, three parts of it, and three parts of UCS-2.
const TEXTS: [(&str, &str, usize); 3] =
    [("short", "Your code is 123456", 1), ("long", "Long text ", 40), ("ucs2", "日本語の文", 40)];

fn texts() -> impl Iterator<Item = &'static str> {
    TEXTS.iter().map(|(name, ..)| *name)
}

fn text(name: &str) -> String {
    let (_, text, times) = TEXTS.iter().find(|(known, ..)| *known == name).unwrap();
    text.repeat(*times)
}

fn keyed(text: String) -> SendRequest {
    SendRequest { text, idempotency_key: "0198e7a2-5c1e-7b90-9a41-0c6f2d3b8e55".into(), ..request() }
}

/// All checks, the number, the encoding, the parts, the price and the fingerprint of one send.
#[divan::bench(args = texts())]
fn prepare_one(bencher: Bencher, name: &str) {
    let request = keyed(text(name));
    bencher.bench_local(|| prepared(black_box(request.clone())).unwrap());
}

#[divan::bench(args = texts())]
fn fingerprint(bencher: Bencher, name: &str) {
    let (client, request) = (client(), keyed(text(name)));
    bencher.bench_local(|| prepare::fingerprint(client.id, black_box(&request)));
}

#[divan::bench(args = texts())]
fn encode_and_split(bencher: Bencher, name: &str) {
    let text = text(name);
    bencher.bench_local(|| {
        let coding = choose(black_box(&text), None, None, ReferenceBits::Sixteen).unwrap();
        let content = Content::Text(MessageText::from(text.clone()));
        split(&content, coding, ReferenceBits::Sixteen, SplitBy::Grapheme).unwrap()
    });
}

#[divan::bench]
fn parse_number() -> PhoneNumber {
    PhoneNumber::parse(black_box("+12025550100")).unwrap()
}

/// The longest prefix among a thousand rates.
#[divan::bench]
fn price(bencher: Bencher) {
    let rates = (0..1_000).map(|n| ("USD".to_owned(), format!("1{:03}", n), 7_500));
    let rates = RateTable::new(rates).unwrap();
    let to = PhoneNumber::parse("+12025550100").unwrap();
    bencher.bench_local(|| rates.price("USD", black_box(&to), 1).unwrap());
}

/// Who of a batch is accepted, and what is booked.
#[divan::bench]
fn decide_500(bencher: Bencher) {
    let client = client();
    let batch: Vec<Submission> = (0..500u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            let mut request = keyed("Hello".into());
            request.idempotency_key = number.to_string();
            let entropy = Entropy([high, low, 0, 0, 0, 0, 0, 0, 0, 0]);
            Submission { prepared: prepared(request).unwrap(), entropy, deed: None }
        })
        .collect();
    bencher.counter(ItemsCount::new(batch.len())).bench_local(|| {
        let mut loaded = loaded(&client, i64::MAX / 2);
        let mut book = Book::open(&mut loaded);
        let decisions = decide(&Timing::default(), &mut loaded, &mut book, black_box(&batch));
        (decisions, book.close())
    });
}
