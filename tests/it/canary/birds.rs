//! What is sent to be looked for: values that nobody else would write.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use super::fields::{Field, Place};

/// A recipient's number, of the range for fiction; NN decides what happens.
pub(super) fn number(nn: u8) -> String {
    format!("{NUMBER}{nn:02}")
}

const NUMBER: &str = "+191755501";
pub(super) const TEXT: &str = "Xylophones quiz my fog";
const OCTETS: &str = "octets-of-canary-q7";
/// An idempotency key, as careless callers make them.
pub(super) const KEY: &str = "hk_test_0canary0_secretofcanaryq7_0";
/// Whatever a caller names things by.
pub(super) const LABEL: &str = "labelofcanaryq7";
/// As a sender.
const SENDER: &str = "CanaryQ7";

/// A number, a text and a key in a field that is for something else.
const STRAYS: [&str; 3] =
    ["+14695550100", "Jackdaws love my big sphinx", "hk_test_0canary0_strayofcanaryq7_0"];

/// The values to try in a field: first one that is good where it can be, then others.
pub(super) fn tries(field: &Field, method: &str) -> Vec<Value> {
    let broken = |text: &str| [format!("{text}\0"), format!("{text}\u{feff}").repeat(4_000 / text.len())];
    let texts = |good: String| {
        let [control, long] = broken(&good);
        vec![json!(good), json!(control), json!(long)]
    };
    match (field.place, field.name()) {
        (Place::Octets, _) => {
            vec![json!(STANDARD_NO_PAD.encode(OCTETS)), json!(STANDARD_NO_PAD.encode(OCTETS.repeat(9_000)))]
        }
        (_, "to") => {
            vec![json!(number(0)), json!(format!("{}99", number(0))), json!(format!("x{}", number(0)))]
        }
        (_, "text") => [texts(TEXT.to_owned()), vec![json!(format!("{TEXT} 日本"))]].concat(),
        // Other words are none in JSON.
        (_, "update_mask") => vec![json!(LABEL)],
        // Each call its own, or they would be repetitions.
        (_, "idempotency_key") => {
            [texts(format!("{KEY}{}", method.replace('/', "."))), texts(LABEL.to_owned())].concat()
        }
        (_, "sender" | "default_sender") => texts(SENDER.to_owned()),
        // And what was meant for another field.
        _ => [texts(LABEL.to_owned()), STRAYS.map(|stray| json!(stray)).into()].concat(),
    }
}

/// What may be told to nobody but the client itself, in an answer. The number comes first.
pub(super) fn content() -> Vec<Bird> {
    [NUMBER.trim_start_matches('+'), TEXT, OCTETS, "secretofcanaryq7"].map(Bird::new).into()
}

/// What callers name things by, and what they put into wrong fields. It may be in answers and in the audit trail, but
/// belongs into no log.
pub(super) fn labels() -> Vec<Bird> {
    [LABEL, SENDER, "14695550100", STRAYS[1], "strayofcanaryq7"].map(Bird::new).into()
}

/// A value, in each form in which it could be printed.
#[derive(Clone, Debug)]
pub(super) struct Bird {
    forms: [String; 5],
}

impl Bird {
    pub(super) fn new(value: &str) -> Self {
        let mut hex = String::new();
        for octet in value.bytes() {
            write!(hex, "{octet:02x}").expect("a string takes all");
        }
        let octets = format!("{:?}", value.as_bytes()).trim_matches(['[', ']']).to_owned();
        let mut encoded = STANDARD_NO_PAD.encode(value);
        // The last letters depend on what follows.
        encoded.truncate(value.len() / 3 * 4);
        Self { forms: [value.to_owned(), hex.to_uppercase(), hex, octets, encoded] }
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| text.contains(form))
    }
}

#[test]
fn a_bird_is_found_however_it_is_printed() {
    let bird = Bird::new("secret");
    for printed in ["a secret", "736563726574", "[115, 101, 99, 114, 101, 116]", "c2VjcmV0"] {
        assert!(bird.is_in(printed), "{printed}");
    }
    assert!(!bird.is_in("a secre t"));
}
