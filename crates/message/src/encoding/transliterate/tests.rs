//! What is replaced, what is refused, and that nothing else is touched.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::encoding::{Shifts, forcing_characters};
use proptest::prelude::*;

#[test]
fn each_character_has_its_usual_writing() {
    let cases = [
        ("“Don’t” – she said…", "\"Don't\" - she said..."),
        ("«Où?» ‹ici›", "\"Où?\" 'ici'"),
        ("10\u{A0}000\u{202F}km\tfar", "10 000 km far"),
        ("• one\u{2028}• two", "- one\n- two"),
        ("Žluťoučký kůň", "Zlutoucky kun"),
        ("Łódź, København, Đà Nẵng", "Lodz, København, Dà Nang"),
        ("Île, œuvre, Þór, ığdır", "Ile, oeuvre, Thor, igdir"),
        ("ﬁn, ŉ, ǆ, ẞ, ß", "fin, 'n, dz, SS, ß"),
        // As macOS writes them: a letter, then its mark.
        ("cafe\u{301}, n\u{303}, s\u{327}", "café, ñ, s"),
        // A letter that keeps the mark that the alphabet has.
        ("ǖ ǻ ǿ ǽ ǟ Ḉ", "ü å ø æ ä Ç"),
        ("\u{212B} \u{2126} \u{212A}", "Å Ω K"),
        ("x\u{301}y\u{328}", "xy"),
        ("a\u{200B}b\u{AD}c\u{FEFF}d\u{2060}e", "abcde"),
        ("\u{202A}+1 555\u{202C} ©\u{FE0F}", "+1 555 (C)"),
    ];
    for (text, expected) in cases {
        assert_eq!(transliterate(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn a_text_with_a_character_that_has_no_usual_writing_stays_as_it_is() {
    let cases = [
        ("“Привет”", "another script"),
        ("Ώρα", "Greek beyond the capitals of the alphabet"),
        ("ok 👍", "emoji"),
        ("a ≠ b", "the plain writing would say the opposite"),
        ("a =\u{338} b", "the same in two characters"),
        ("10² m, ½ l", "the plain writing would be another number"),
        ("s\u{336}old", "crossed out"),
        ("1\u{301}", "a mark on what is no letter"),
        ("\u{301}a", "a mark on nothing"),
        ("abc\u{202E}def", "an override of the direction"),
        ("a\u{200D}b", "a joiner"),
        ("a\0b", "a control character"),
    ];
    for (text, why) in cases {
        assert_eq!(transliterate(text), None, "{why}");
    }
}

#[test]
fn every_replacement_can_be_written() {
    let mut count = 0;
    // Beyond are ideographs, tags and private use.
    for character in ('\0'..'\u{20000}').filter(|character| !is_plain(*character)) {
        if let Some(written) = replacement(character) {
            count += 1;
            assert!(written.chars().all(is_plain), "{character:?} becomes {written:?}");
            assert_ne!(written, character.to_string());
        }
    }
    assert!(count > 600, "only {count} characters are replaced");
}

/// Latin letters, marks, punctuation and a few of what has no writing.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9 @{}€Δ]{1,8}",
        4 => "[À-ɏ]{1,4}",
        2 => "[Ḁ-ỹ]{1,4}",
        2 => "[\u{2000}-\u{206F}]{1,2}",
        2 => "[\u{300}-\u{345}]{1,2}",
        1 => "\\PC",
    ];
    proptest::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn the_result_is_plain_and_stays_so(text in texts()) {
        if let Some(plain) = transliterate(&text) {
            prop_assert!(plain.chars().all(is_plain), "{plain:?}");
            prop_assert_eq!(transliterate(&plain), Some(plain.clone()));
            // What the text was refused for has a replacement, each of them.
            let listed = forcing_characters(&text, Shifts::NONE).map_or(vec![], |error| error.listed);
            prop_assert!(listed.iter().all(|forcing| forcing.replacement.is_some()), "{listed:?}");
        }
    }

    #[test]
    fn a_plain_text_is_unchanged(text in "[a-zA-Z0-9@£$¥èéùìòÇ\n\rØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà\\^{}~|€\\[\\]]{0,200}") {
        prop_assert_eq!(transliterate(&text), Some(text.clone()));
    }
}
