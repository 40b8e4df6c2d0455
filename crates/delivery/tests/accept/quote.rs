//! A quote prices each recipient by itself.

use delivery::accept::AcceptError;
use delivery::accept::prepare::Setting;
use delivery::accept::quote::{Line, LineError, QuoteRequest, quote};
use message::encoding::Encoding;
use message::parts::ReferenceBits;
use routing::rates::RateTable;
use routing::route::{ProviderEntry, ProviderKind};

use crate::given::client;

fn ask(request: &QuoteRequest) -> Result<(u16, Vec<Line>), AcceptError> {
    let rates = [("USD".into(), "1".into(), 10), ("USD".into(), "1202".into(), 7)];
    let rates = RateTable::new(rates).unwrap();
    let providers = [ProviderEntry::new("p", ProviderKind::Simulator)];
    let setting = Setting { rates: &rates, providers: &providers, reference_bits: ReferenceBits::Eight };
    quote(&client(), setting, request)
}

fn to(numbers: &[&str]) -> QuoteRequest {
    QuoteRequest { to: numbers.iter().map(|number| (*number).into()).collect(), ..QuoteRequest::default() }
}

#[test]
fn each_recipient_has_its_rate_or_its_reason() {
    let numbers = ["+1 202 555 0100", "+13125550100", "+33612345678", "12", "+12025550150"];
    let (parts, lines) = ask(&QuoteRequest { part_count: 3, ..to(&numbers) }).unwrap();
    assert_eq!((parts, lines.len()), (3, numbers.len()));
    let told = |line: &Line| {
        let priced = line.priced.as_ref().unwrap();
        let prices = (priced.part_price_micros, priced.price_micros);
        (line.to.clone(), line.region.clone(), priced.prefix.clone(), prices)
    };
    assert_eq!(told(&lines[0]), ("+12025550100".into(), "US".into(), "1202".into(), (7, 21)));
    assert_eq!(told(&lines[1]), ("+13125550100".into(), "US".into(), "1".into(), (10, 30)));
    assert!(matches!(lines[2].priced, Err(LineError::Refused(AcceptError::NoRate))));
    assert_eq!((lines[3].to.as_str(), lines[3].region.as_str()), ("12", ""));
    assert!(matches!(lines[3].priced, Err(LineError::Recipient(_))));
    assert!(matches!(lines[4].priced, Err(LineError::Refused(AcceptError::NoRoute))));
}

#[test]
fn the_parts_are_given_or_those_of_the_text() {
    let text = |text: &str| QuoteRequest { text: text.into(), ..to(&["+12025550100"]) };
    assert_eq!(ask(&text(&"a".repeat(161))).unwrap().0, 2);
    let ucs2 = QuoteRequest { encoding: Some(Encoding::Ucs2), ..text(&"a".repeat(71)) };
    assert_eq!(ask(&ucs2).unwrap().0, 2);
    let fields = |request: &QuoteRequest| -> Vec<&str> {
        let Err(AcceptError::Invalid(violations)) = ask(request) else { panic!("it has faults") };
        violations.into_iter().map(|each| each.field).collect()
    };
    assert_eq!(fields(&QuoteRequest { part_count: 256, ..text("a") }), ["part_count", "part_count"]);
    assert_eq!(fields(&to(&["+12025550100"])), ["text"]);
    assert_eq!(fields(&QuoteRequest { text: "a".repeat(2_000), ..to(&[]) }), ["to", "text"]);
    let faulty = QuoteRequest { part_count: -1, encoding: Some(Encoding::Gsm7), ..to(&["1"]) };
    assert_eq!(fields(&faulty), ["part_count", "encoding"]);
}
