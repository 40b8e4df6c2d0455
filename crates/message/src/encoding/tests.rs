//! Which encoding a text gets.
#![allow(clippy::unwrap_used)]

use super::NationalTable::{Portuguese, Spanish, Turkish};
use super::*;
use proptest::prelude::*;

fn gsm7(shifts: &str) -> Result<Coding, NotEncodable> {
    Ok(Coding { encoding: Encoding::Gsm7, shifts: shifts.parse().unwrap() })
}

fn ucs2() -> Result<Coding, NotEncodable> {
    Ok(Encoding::Ucs2.into())
}

#[test]
fn the_smallest_encoding_is_chosen_unless_one_is_asked_for() {
    let choose = |text, asked| choose(text, asked, None, ReferenceBits::Eight);
    assert_eq!(choose("Hello {€}", None), gsm7(""));
    assert_eq!(choose("Ça va", None), gsm7(""));
    assert_eq!(choose("ça va", None), ucs2());
    assert_eq!(choose("", None), gsm7(""));
    assert_eq!(choose("Hello", Some(Encoding::Ucs2)), ucs2());
    assert_eq!(choose("Hello", Some(Encoding::Binary)), gsm7(""));
    let error = choose("aя", Some(Encoding::Gsm7)).unwrap_err();
    assert_eq!((error.characters().as_str(), error.total), ("я", 1));
}

#[test]
fn a_table_is_used_where_it_needs_the_fewest_parts() {
    let cases = [
        // Plain writes it in one part, and is preferred.
        ("Merhaba".to_owned(), Turkish, gsm7("")),
        ("ığdır".to_owned(), Turkish, gsm7("S:TURKISH")),
        ("canción".to_owned(), Spanish, gsm7("S:SPANISH")),
        // 155 septets with one table in the header: 77 pairs fit, 78 do not, and the locking shift halves them.
        ("ş".repeat(77), Turkish, gsm7("S:TURKISH")),
        ("ş".repeat(78), Turkish, gsm7("L:TURKISH")),
        // 155 fit beside one table; both tables leave room for 152.
        ("ş".repeat(155), Turkish, gsm7("L:TURKISH")),
        // Euro signs are plain too, but take one septet where the locking shift has them.
        ("€".repeat(80), Portuguese, gsm7("")),
        ("€".repeat(81), Portuguese, gsm7("L:PORTUGUESE")),
        // 160 fit a plain part; a table would need its header.
        ("a".repeat(160), Portuguese, gsm7("")),
        // Only the pair of tables writes both: ∞ is in the locking shift, Φ in the single shift.
        ("∞Φ".to_owned(), Portuguese, gsm7("L:PORTUGUESE,S:PORTUGUESE")),
        // è is not in the locking shift.
        (format!("è{}", "ş".repeat(78)), Turkish, gsm7("S:TURKISH")),
        ("ığdır я".to_owned(), Turkish, ucs2()),
        // Portuguese has ª and è, but no combination of its tables has both.
        ("ªè".to_owned(), Portuguese, ucs2()),
        ("".to_owned(), Turkish, gsm7("")),
    ];
    for (text, table, expected) in cases {
        let chosen = choose(&text, None, Some(table), ReferenceBits::Eight);
        assert_eq!(chosen, expected, "{} characters, {table}", text.chars().count());
    }
}

#[test]
fn a_table_leaves_what_was_asked_for_alone() {
    let choose = |text, asked| choose(text, Some(asked), Some(Turkish), ReferenceBits::Eight);
    assert_eq!(choose("ığdır", Encoding::Ucs2), ucs2());
    assert_eq!(choose("ığdır", Encoding::Gsm7), gsm7("S:TURKISH"));
    let error = choose("ığdır я", Encoding::Gsm7).unwrap_err();
    assert_eq!((error.characters().as_str(), error.total), ("я", 1));
}

proptest! {
    /// Compared with: the parts of every combination, really laid out.
    #[test]
    fn no_other_combination_needs_fewer_parts(
        pieces in proptest::collection::vec("[a-z ]{1,60}|[ışğçãõáúΦ]{1,40}|[€^~\\\\]{1,40}|[ªè∞я]", 0..8),
        table in proptest::sample::select(NationalTable::ALL),
        sixteen: bool,
    ) {
        let text = pieces.concat();
        let bits = if sixteen { ReferenceBits::Sixteen } else { ReferenceBits::Eight };
        let parts = |coding| Some(room::lay_out_text(&text, coding, bits, SplitBy::Grapheme)?.loads.len());
        let of = |shifts| parts(Coding { encoding: Encoding::Gsm7, shifts });
        let chosen = choose(&text, None, Some(table), bits).unwrap();
        let fewest = Shifts::of(Some(table)).filter_map(of).min();
        match chosen.encoding {
            Encoding::Gsm7 => prop_assert_eq!(of(chosen.shifts), fewest),
            _ => prop_assert_eq!(fewest, None),
        }
        // UCS-2 is never smaller than what was chosen.
        prop_assert!(parts(chosen) <= parts(Encoding::Ucs2.into()));
        let refused = choose(&text, Some(Encoding::Gsm7), Some(table), bits).err();
        prop_assert_eq!(refused.is_some(), fewest.is_none());
        prop_assert_eq!(refused, forcing_characters_of(&text, Some(table)));
    }
}
