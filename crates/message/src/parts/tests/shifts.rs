//! Parts of texts in national tables.

use super::*;
use crate::encoding::NationalTable::{self, Portuguese, Turkish};

fn coding(shifts: &str) -> Coding {
    Coding { encoding: Encoding::Gsm7, shifts: shifts.parse().unwrap() }
}

#[test]
fn every_header_leaves_the_room_of_the_standard() {
    use ReferenceBits::{Eight, Sixteen};
    let cases = [
        (Encoding::Gsm7.into(), None, 0, 160),
        (Encoding::Gsm7.into(), Some(Eight), 6, 153),
        (Encoding::Gsm7.into(), Some(Sixteen), 7, 152),
        (coding("S:TURKISH"), None, 4, 155),
        (coding("L:TURKISH"), None, 4, 155),
        (coding("L:TURKISH,S:TURKISH"), None, 7, 152),
        (coding("S:SPANISH"), Some(Eight), 9, 149),
        (coding("L:PORTUGUESE,S:PORTUGUESE"), Some(Eight), 12, 146),
        (coding("S:SPANISH"), Some(Sixteen), 10, 148),
        (coding("L:PORTUGUESE,S:PORTUGUESE"), Some(Sixteen), 13, 145),
        (Encoding::Ucs2.into(), None, 0, 70),
        (Encoding::Ucs2.into(), Some(Eight), 6, 67),
        (Encoding::Ucs2.into(), Some(Sixteen), 7, 66),
        (Encoding::Binary.into(), None, 0, 140),
        (Encoding::Binary.into(), Some(Eight), 6, 134),
        (Encoding::Binary.into(), Some(Sixteen), 7, 133),
    ];
    for (coding, concatenation, header, units) in cases {
        assert_eq!(coding.header_octets(concatenation), header, "{coding:?} {concatenation:?}");
        assert_eq!(coding.unit_limit(concatenation), units, "{coding:?} {concatenation:?}");
    }
}

#[test]
fn counts_at_the_edges_with_tables() {
    use ReferenceBits::{Eight, Sixteen};
    let cases = [
        ("S:TURKISH", Eight, [(155, 1), (156, 2), (298, 2), (299, 3)]),
        ("L:TURKISH", Sixteen, [(155, 1), (156, 2), (296, 2), (297, 3)]),
        ("L:TURKISH,S:TURKISH", Eight, [(152, 1), (153, 2), (292, 2), (293, 3)]),
        ("L:TURKISH,S:TURKISH", Sixteen, [(152, 1), (153, 2), (290, 2), (291, 3)]),
    ];
    for (shifts, bits, counts) in cases {
        for (units, expected) in counts {
            let parts = split(&text(&"a".repeat(units)), coding(shifts), bits, SplitBy::Grapheme).unwrap();
            assert_eq!(parts.len(), expected, "{units} units, {shifts}, {bits:?}");
        }
    }
    // A pair is not cut: 74 pairs and one septet to spare in a part of 149.
    let parts = split(&text(&"ş".repeat(78)), coding("S:TURKISH"), Eight, SplitBy::Grapheme).unwrap();
    assert_eq!(parts.iter().map(|part| part.units).collect::<Vec<_>>(), [148, 8]);
}

#[test]
fn the_header_names_the_tables_in_every_part() {
    let short = text("ş");
    let parts = split(&short, coding("S:TURKISH"), ReferenceBits::Eight, SplitBy::Grapheme).unwrap();
    let data = parts[0].user_data(&short, coding("S:TURKISH"), ReferenceBits::Eight, 9, 1).unwrap();
    // Three fill bits after a header of 32 bits, an escape (0x1B), 0x73, and a carriage return in the seven spare bits.
    assert_eq!(data, [0x03, 0x24, 0x01, 0x01, 0xD8, 0xCC, 0x1B]);

    let both = coding("L:PORTUGUESE,S:PORTUGUESE");
    let long = text(&"ã".repeat(153));
    let parts = split(&long, both, ReferenceBits::Eight, SplitBy::Grapheme).unwrap();
    for (number, part) in (1..).zip(&parts) {
        let data = part.user_data(&long, both, ReferenceBits::Eight, 0x1234, 2).unwrap();
        let header = [0x0B, 0x00, 0x03, 0x34, 0x02, number, 0x24, 0x01, 0x03, 0x25, 0x01, 0x03];
        assert_eq!(data[..12], header);
    }
    let data = parts[1].user_data(&long, both, ReferenceBits::Sixteen, 0x1234, 2).unwrap();
    assert_eq!(data[..8], [0x0C, 0x08, 0x04, 0x12, 0x34, 0x02, 0x02, 0x24]);
}

#[test]
fn tables_go_with_gsm7_texts_only() {
    let shifts = coding("S:TURKISH").shifts;
    let body = text("a");
    let data = Content::Binary(vec![1]);
    for (content, encoding) in [(&body, Encoding::Ucs2), (&data, Encoding::Binary)] {
        let wrong = Coding { encoding, shifts };
        let split = |coding: Coding| split(content, coding, ReferenceBits::Eight, SplitBy::Grapheme);
        assert_eq!(split(wrong), Err(PartsError::WrongEncoding(encoding)));
        let part = &split(encoding.into()).unwrap()[0];
        assert_eq!(part.user_data(content, wrong, ReferenceBits::Eight, 0, 1), None);
    }
    let missing = Shifts { locking: Some(NationalTable::Spanish), single: None };
    let missing = Coding { encoding: Encoding::Gsm7, shifts: missing };
    let refused = split(&body, missing, ReferenceBits::Eight, SplitBy::Grapheme);
    assert_eq!(refused, Err(PartsError::WrongEncoding(Encoding::Gsm7)));
}

proptest! {
    /// A handset's view: reads the header, unpacks what follows, and joins the parts.
    #[test]
    fn a_handset_reads_the_text_that_was_split(
        body in "[a-zA-Zışğçãõ€ ]{1,400}",
        table in proptest::sample::select(&[Turkish, Portuguese][..]),
        which in 1..4usize,
        sixteen: bool,
    ) {
        let shifts = Shifts::of(Some(table)).nth(which).unwrap();
        let (coding, content) = (Coding { encoding: Encoding::Gsm7, shifts }, text(&body));
        let bits = if sixteen { ReferenceBits::Sixteen } else { ReferenceBits::Eight };
        let Ok(parts) = split(&content, coding, bits, SplitBy::Grapheme) else {
            prop_assert!(body.chars().any(|character| gsm7::septets_with(character, shifts) == 0));
            return Ok(());
        };
        let total = u8::try_from(parts.len()).unwrap();
        let mut read = String::new();
        for part in &parts {
            let data = part.user_data(&content, coding, bits, 7, total).unwrap();
            prop_assert!(data.len() <= USER_DATA);
            prop_assert!(part.units <= part.unit_limit);
            let header = usize::from(data[0]) + 1;
            read += &gsm7::decode(&gsm7::unpack(&data[header..], part.units, header), shifts);
        }
        prop_assert_eq!(read, body);
    }
}
