//! Limits and edges by table, packing by properties; `tests/it/parts_oracle.rs` compares with another splitter.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::encoding::{self, room::USER_DATA};
use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

mod shifts;

fn text(text: &str) -> Content {
    Content::Text(MessageText::from(text.to_owned()))
}

/// The encoding without national tables.
fn chosen(body: &str) -> Encoding {
    encoding::choose(body, None, None, ReferenceBits::Eight).unwrap().encoding
}

fn count(body: &str, by: SplitBy) -> usize {
    let encoding = chosen(body);
    split(&text(body), encoding, ReferenceBits::Eight, by).unwrap().len()
}

#[test]
fn limits_are_those_of_the_standard() {
    let cases = [
        (Encoding::Gsm7, [160, 153, 152]),
        (Encoding::Ucs2, [70, 67, 66]),
        (Encoding::Binary, [140, 134, 133]),
    ];
    for (encoding, expected) in cases {
        assert_eq!([0, 6, 7].map(|header| unit_limit(encoding, header)), expected);
    }
}

#[test]
fn counts_at_the_edges() {
    let cases = [
        ("a".repeat(160), 1),
        ("a".repeat(161), 2),
        ("a".repeat(306), 2),
        ("a".repeat(307), 3),
        ("€".repeat(80), 1),
        ("€".repeat(81), 2),
        // 76 escape pairs fit a part of 153 septets, not 76 and a half.
        ("€".repeat(153), 3),
        ("я".repeat(70), 1),
        ("я".repeat(71), 2),
        ("😀".repeat(35), 1),
        ("😀".repeat(36), 2),
        ("😀".repeat(67), 3),
    ];
    for (body, expected) in cases {
        assert_eq!(count(&body, SplitBy::CodePoint), expected, "{} characters", body.chars().count());
    }
}

#[test]
fn a_cluster_larger_than_a_part_is_split_and_a_smaller_one_is_not() {
    let family = "👨\u{200D}👩\u{200D}👧\u{200D}👦";
    let body = format!("{}{family}", "я".repeat(63));
    let parts = split(&text(&body), Encoding::Ucs2, ReferenceBits::Eight, SplitBy::Grapheme).unwrap();
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[1].text(&text(&body)), Some(family));
    let monster = format!("a{}", "\u{301}".repeat(200));
    let parts = split(&text(&monster), Encoding::Ucs2, ReferenceBits::Eight, SplitBy::Grapheme).unwrap();
    assert_eq!(parts.len(), 3);
}

#[test]
fn too_much_and_nothing_are_refused() {
    let split =
        |content: &Content, encoding| split(content, encoding, ReferenceBits::Eight, SplitBy::Grapheme);
    assert_eq!(split(&text(""), Encoding::Gsm7), Err(PartsError::Empty));
    assert_eq!(split(&Content::Binary(Vec::new()), Encoding::Binary), Err(PartsError::Empty));
    let error = PartsError::TooManyParts { parts: 256, max: 255 };
    assert_eq!(split(&text(&"a".repeat(153 * 255 + 1)), Encoding::Gsm7), Err(error));
    assert_eq!(split(&Content::Binary(vec![0; 134 * 255 + 1]), Encoding::Binary), Err(error));
    assert_eq!(split(&text("ç"), Encoding::Gsm7), Err(PartsError::WrongEncoding(Encoding::Gsm7)));
    assert_eq!(split(&text("a"), Encoding::Binary), Err(PartsError::WrongEncoding(Encoding::Binary)));
}

#[test]
fn user_data_carries_the_header_and_the_packed_content() {
    let body = text(&"a".repeat(161));
    let parts = split(&body, Encoding::Gsm7, ReferenceBits::Eight, SplitBy::Grapheme).unwrap();
    let first = parts[0].user_data(&body, Encoding::Gsm7, ReferenceBits::Eight, 0x1234, 2).unwrap();
    assert_eq!(first[..6], [0x05, 0x00, 0x03, 0x34, 0x02, 0x01]);
    assert_eq!(first.len(), 140);
    // One fill bit after a header of 48 bits, then 'a' (0x61).
    assert_eq!(first[6] >> 1, 0x61);
    let second = parts[1].user_data(&body, Encoding::Gsm7, ReferenceBits::Sixteen, 0x1234, 2).unwrap();
    assert_eq!(second[..7], [0x06, 0x08, 0x04, 0x12, 0x34, 0x02, 0x02]);
    let short = text("я");
    let parts = split(&short, Encoding::Ucs2, ReferenceBits::Eight, SplitBy::Grapheme).unwrap();
    let data = parts[0].user_data(&short, Encoding::Ucs2, ReferenceBits::Eight, 0, 1).unwrap();
    assert_eq!(data, [0x04, 0x4F]);
}

/// Contents of 1 unit a character, around every edge of the standard: (units, parts).
#[test]
fn counts_with_each_reference_size_and_encoding() {
    use ReferenceBits::{Eight, Sixteen};
    let cases = [
        (Encoding::Gsm7, Eight, [(1, 1), (160, 1), (161, 2), (306, 2), (307, 3), (459, 3), (460, 4)]),
        (Encoding::Gsm7, Sixteen, [(1, 1), (160, 1), (161, 2), (304, 2), (305, 3), (456, 3), (457, 4)]),
        (Encoding::Ucs2, Eight, [(1, 1), (70, 1), (71, 2), (134, 2), (135, 3), (201, 3), (202, 4)]),
        (Encoding::Ucs2, Sixteen, [(1, 1), (70, 1), (71, 2), (132, 2), (133, 3), (198, 3), (199, 4)]),
        (Encoding::Binary, Eight, [(1, 1), (140, 1), (141, 2), (268, 2), (269, 3), (402, 3), (403, 4)]),
        (Encoding::Binary, Sixteen, [(1, 1), (140, 1), (141, 2), (266, 2), (267, 3), (399, 3), (400, 4)]),
    ];
    for (encoding, bits, counts) in cases {
        for (units, expected) in counts {
            let content = match encoding {
                Encoding::Gsm7 => text(&"a".repeat(units)),
                Encoding::Ucs2 => text(&"я".repeat(units)),
                Encoding::Binary => Content::Binary(vec![7; units]),
            };
            for by in [SplitBy::Grapheme, SplitBy::CodePoint] {
                let parts = split(&content, encoding, bits, by).unwrap();
                assert_eq!(parts.len(), expected, "{units} units of {encoding}, {bits:?}");
                assert_eq!(parts.iter().map(|part| part.units).sum::<usize>(), units);
            }
        }
    }
}

/// Mixed texts of every kind of character, in runs, so that edges fall everywhere.
fn bodies() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9 @£èéÇ]{1,40}",
        2 => "[\\^{}\\[\\]~|€\\\\]{1,20}",
        2 => "[яжшä]{1,20}",
        1 => "[😀𝒳𠀀]{1,9}",
        1 => Just("👨\u{200D}👩\u{200D}👧\u{200D}👦".to_owned()),
        1 => Just("👍🏽".to_owned()),
        1 => "[🇩🇪🇺🇸]{1,9}",
        1 => "[\u{1100}-\u{1112}][\u{1161}-\u{1175}][\u{11A8}-\u{11C2}]",
        1 => "e[\u{300}-\u{310}]{1,80}",
        1 => Just("\r\n".to_owned()),
    ];
    proptest::collection::vec(piece, 1..40).prop_map(|pieces| pieces.concat())
}

/// Texts that GSM-7 can write, which [`bodies`] seldom makes.
fn gsm7_bodies() -> impl Strategy<Value = String> {
    let piece = prop_oneof![2 => "[a-z @£Δ\n\r]{1,60}", 1 => "[\\^{}\\[\\]~|€\\\\]{1,40}", 1 => Just("\r\n".to_owned())];
    proptest::collection::vec(piece, 1..20).prop_map(|pieces| pieces.concat())
}

fn units_of(piece: &str, encoding: Encoding) -> usize {
    match encoding {
        Encoding::Gsm7 => gsm7::encode(piece, Shifts::NONE).unwrap().len(),
        _ => piece.encode_utf16().count(),
    }
}

/// The fewest parts that pieces of these sizes fit, in order: tries every place for every edge.
fn fewest_parts(sizes: &[usize], limit: usize) -> usize {
    // best[n] = fewest parts for the first n pieces.
    let mut best = vec![0];
    for end in 1..=sizes.len() {
        let fewest = (0..end)
            .rev()
            .take_while(|start| sizes[*start..end].iter().sum::<usize>() <= limit)
            .map(|start| best[start] + 1)
            .min();
        best.push(fewest.unwrap());
    }
    best[sizes.len()]
}

proptest! {
    #[test]
    fn parts_join_back_fit_and_say_their_sizes(
        body in prop_oneof![bodies(), gsm7_bodies()],
        force_ucs2: bool,
        sixteen: bool,
        code_points: bool,
    ) {
        let encoding = if force_ucs2 { Encoding::Ucs2 } else { chosen(&body) };
        let bits = if sixteen { ReferenceBits::Sixteen } else { ReferenceBits::Eight };
        let by = if code_points { SplitBy::CodePoint } else { SplitBy::Grapheme };
        let content = text(&body);
        let parts = split(&content, encoding, bits, by).unwrap();
        let limit = unit_limit(encoding, if parts.len() > 1 { bits.header_octets() } else { 0 });
        let total = u8::try_from(parts.len()).unwrap();
        let mut end = 0;
        for (index, part) in parts.iter().enumerate() {
            prop_assert_eq!(usize::from(part.number), index + 1);
            // One after the other without a gap, each of whole characters: no surrogate pair and no escape pair
            // is cut, since both are one character.
            prop_assert_eq!(part.range.start, end);
            end = part.range.end;
            let piece = part.text(&content).unwrap();
            prop_assert!(!piece.is_empty());
            prop_assert_eq!(part.units, units_of(piece, encoding));
            prop_assert_eq!(part.unit_limit, limit);
            prop_assert!(part.units <= limit);
            let data = part.user_data(&content, encoding, bits, 7, total).unwrap();
            prop_assert!(data.len() <= USER_DATA);
        }
        prop_assert_eq!(end, body.len());
    }

    #[test]
    fn no_cluster_that_fits_a_part_is_cut(body in prop_oneof![bodies(), gsm7_bodies()], sixteen: bool) {
        let encoding = chosen(&body);
        let bits = if sixteen { ReferenceBits::Sixteen } else { ReferenceBits::Eight };
        let parts = split(&text(&body), encoding, bits, SplitBy::Grapheme).unwrap();
        for (start, cluster) in body.grapheme_indices(true) {
            let end = start + cluster.len();
            let is_cut = parts.iter().any(|part| part.range.start > start && part.range.start < end);
            prop_assert!(!is_cut || units_of(cluster, encoding) > parts[0].unit_limit, "{cluster:?} was cut");
        }
        // What is kept together may cost parts, and never saves any.
        let by_code_point = split(&text(&body), encoding, bits, SplitBy::CodePoint).unwrap();
        prop_assert!(parts.len() >= by_code_point.len());
    }

    #[test]
    fn there_are_no_more_parts_than_needed(body in prop_oneof![bodies(), gsm7_bodies()], sixteen: bool) {
        let encoding = chosen(&body);
        let bits = if sixteen { ReferenceBits::Sixteen } else { ReferenceBits::Eight };
        let (single, limit) = (unit_limit(encoding, 0), unit_limit(encoding, bits.header_octets()));
        let expected = |pieces: Vec<&str>| {
            let sizes: Vec<usize> = pieces.iter().map(|piece| units_of(piece, encoding)).collect();
            if sizes.iter().sum::<usize>() <= single { 1 } else { fewest_parts(&sizes, limit) }
        };
        let count = |by| split(&text(&body), encoding, bits, by).unwrap().len();
        let characters: Vec<&str> =
            body.char_indices().map(|(at, character)| &body[at..at + character.len_utf8()]).collect();
        prop_assert_eq!(count(SplitBy::CodePoint), expected(characters));
        let clusters: Vec<&str> = body.graphemes(true).collect();
        if clusters.iter().all(|cluster| units_of(cluster, encoding) <= limit) {
            prop_assert_eq!(count(SplitBy::Grapheme), expected(clusters));
        }
    }

    #[test]
    fn data_is_cut_where_a_part_is_full(length in 1..3_000usize, sixteen: bool) {
        let bits = if sixteen { ReferenceBits::Sixteen } else { ReferenceBits::Eight };
        let content = Content::Binary((0..length).map(|at| (at % 251) as u8).collect());
        let parts = split(&content, Encoding::Binary, bits, SplitBy::Grapheme).unwrap();
        let total = u8::try_from(parts.len()).unwrap();
        let header = if total > 1 { bits.header_octets() } else { 0 };
        let sent: Vec<Vec<u8>> = parts
            .iter()
            .map(|part| part.user_data(&content, Encoding::Binary, bits, 7, total).unwrap())
            .collect();
        let joined: Vec<u8> = sent.iter().flat_map(|data| data[header..].to_vec()).collect();
        prop_assert_eq!(Content::Binary(joined), content);
        prop_assert!(sent.iter().rev().skip(1).all(|data| data.len() == USER_DATA));
    }
}
