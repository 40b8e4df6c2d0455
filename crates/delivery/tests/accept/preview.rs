//! A preview says what the send would come to.

use delivery::accept::SendRequest;
use delivery::accept::prepare::{Setting, prepare};
use delivery::accept::preview::{Preview, PreviewRequest, preview};
use delivery::accept::{AcceptError, ViolationKind};
use message::encoding::{Coding, Encoding, NationalTable};
use message::parts::ReferenceBits;
use proptest::prelude::*;
use routing::rates::RateTable;
use routing::route::{ProviderEntry, ProviderKind};

use crate::given::{PART_PRICE, client};

fn with_setting<T>(run: impl Fn(Setting<'_>) -> T) -> T {
    let rates = RateTable::new([("USD".into(), "1".into(), PART_PRICE)]).unwrap();
    let providers = [ProviderEntry::new("p", ProviderKind::Simulator)];
    run(Setting { rates: &rates, providers: &providers, reference_bits: ReferenceBits::Eight })
}

fn look(request: &PreviewRequest) -> Result<Preview, AcceptError> {
    with_setting(|setting| preview(&client(), setting, request))
}

fn text(text: &str) -> PreviewRequest {
    PreviewRequest { text: text.into(), ..PreviewRequest::default() }
}

proptest! {
    #[test]
    fn a_preview_is_what_the_send_freezes(
        text in "[a-z\u{20ac}\u{e7}\u{2019}\u{15f}\u{4e2d}\u{1f600}]{1,400}",
        transliterate: bool,
        national_table in proptest::option::of(proptest::sample::select(NationalTable::ALL)),
        encoding in proptest::sample::select(vec![None, Some(Encoding::Gsm7), Some(Encoding::Ucs2)]),
    ) {
        let to = "+12025550100".to_owned();
        let asked = PreviewRequest {
            to: to.clone(), text: text.clone(), transliterate, national_table, encoding, ..PreviewRequest::default()
        };
        let send = SendRequest { to, text, transliterate, national_table, encoding, ..SendRequest::default() };
        let sent = with_setting(|setting| prepare(&client(), setting, &send));
        match (look(&asked), sent) {
            (Ok(seen), Ok(sent)) => {
                prop_assert_eq!(seen.coding, Coding { encoding: sent.encoding, shifts: sent.shifts });
                prop_assert_eq!(seen.content, sent.content);
                prop_assert_eq!(seen.parts.len(), usize::from(sent.part_count));
                prop_assert_eq!(seen.price_micros, Some(sent.price_micros));
                prop_assert_eq!(seen.is_transliterated, sent.is_transliterated);
            }
            (Err(AcceptError::Invalid(seen)), Err(AcceptError::Invalid(sent))) => prop_assert_eq!(seen, sent),
            // The client's limit of parts is the send's business: a preview tells how many it would take.
            (Ok(seen), Err(AcceptError::Invalid(sent))) => {
                let count = seen.parts.len();
                let is_too_long = matches!(sent[0].kind, ViolationKind::TooManyParts { parts, .. } if parts == count);
                prop_assert!(is_too_long, "{sent:?}");
            }
            (seen, sent) => prop_assert!(false, "{seen:?} {sent:?}"),
        }
    }
}

#[test]
fn characters_that_force_ucs2_are_told_with_their_replacement_also_when_they_are_replaced() {
    for transliterate in [false, true] {
        let seen = look(&PreviewRequest { transliterate, ..text("\u{e7}a \u{4e2d}\u{e7}") }).unwrap();
        let told: Vec<_> = seen
            .forcing
            .iter()
            .map(|each| (each.character, each.index, each.replacement.as_deref()))
            .collect();
        assert_eq!(told, [('\u{e7}', 0, Some("c")), ('\u{4e2d}', 3, None)]);
        assert_eq!(seen.coding.encoding, Encoding::Ucs2);
    }
    let replaced = look(&PreviewRequest { transliterate: true, ..text("\u{e7}a") }).unwrap();
    assert!(replaced.is_transliterated && replaced.forcing.len() == 1);
    assert_eq!(replaced.price_micros, None);
}

#[test]
fn faults_are_told_all_at_once() {
    let faulty = PreviewRequest { to: "x".into(), sender: "much too long a name".into(), ..text("") };
    let Err(AcceptError::Invalid(violations)) = look(&faulty) else { panic!("it has faults") };
    let fields: Vec<_> = violations.into_iter().map(|each| each.field).collect();
    assert_eq!(fields, ["to", "sender", "text"]);
}
