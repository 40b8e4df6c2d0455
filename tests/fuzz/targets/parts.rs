//! Parts: together they carry the whole content, each fits a short message, and none cuts an escape pair, a surrogate
//! pair or a character that a person sees.
//!
//! Input: options, a language's tables, an encoding and tables to try beside the chosen one, repetitions, the
//! reference, then the content: text if it is UTF-8, else septets that are read as text.
#![no_main]

use fuzz::{Input, shifts, table};
use libfuzzer_sys::fuzz_target;
use message::encoding::gsm7::{self, ESCAPE};
use message::encoding::{Coding, Encoding, NationalTable, ReferenceBits, Shifts, SplitBy, choose};
use message::parts::{Content, MessageText, PARTS_MAX, Part, PartsError, split};
use unicode_segmentation::UnicodeSegmentation;

/// Octets of user data in one short message.
const USER_DATA: usize = 140;
/// Longer contents have nothing new: 255 parts hold 40,800 septets.
const CONTENT_MAX: usize = 50_000;

/// How a message is split.
#[derive(Clone, Copy, Debug)]
struct Way {
    coding: Coding,
    bits: ReferenceBits,
    by: SplitBy,
    reference: u16,
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let options = input.byte();
    let bits = if options & 1 == 0 { ReferenceBits::Eight } else { ReferenceBits::Sixteen };
    let by = if options & 2 == 0 { SplitBy::Grapheme } else { SplitBy::CodePoint };
    let is_data = options & 4 != 0;
    let asked = [None, None, Some(Encoding::Gsm7), Some(Encoding::Ucs2)][usize::from(options >> 3 & 3)];
    let table = table(input.byte());
    let tried =
        Coding { encoding: Encoding::ALL[usize::from(input.byte() % 3)], shifts: shifts(input.byte()) };
    let repetitions = usize::from(input.byte());
    // Most contents stay as they are: long ones are slow.
    let times = if options >= 0xC0 { repetitions } else { 1 };
    let reference = u16::from_be_bytes(input.array());
    let content = content(input.rest(), is_data, times);

    let way = |coding| Way { coding, bits, by, reference };
    check(&content, way(tried));
    match &content {
        Content::Binary(_) => check(&content, way(Encoding::Binary.into())),
        Content::Text(text) => {
            if let Some(coding) = chosen(text.as_str(), asked, table, bits) {
                check(&content, way(coding));
            }
        }
    }
});

fn content(bytes: &[u8], is_data: bool, times: usize) -> Content {
    let times = times.min(CONTENT_MAX / bytes.len().max(1)).max(1);
    if is_data {
        return Content::Binary(bytes.repeat(times));
    }
    let text = std::str::from_utf8(bytes).map_or_else(|_| gsm7::decode(bytes, Shifts::NONE), str::to_owned);
    Content::Text(MessageText::from(text.repeat(times)))
}

/// The coding that Herald chooses, which can write the text and needs no more parts than another would.
fn chosen(
    text: &str,
    asked: Option<Encoding>,
    table: Option<NationalTable>,
    bits: ReferenceBits,
) -> Option<Coding> {
    let in_gsm7 = |shifts| Coding { encoding: Encoding::Gsm7, shifts };
    let able = Shifts::of(table).map(in_gsm7).filter(|coding| can_write(text, *coding));
    let Ok(coding) = choose(text, asked, table, bits) else {
        assert_eq!((asked, able.count()), (Some(Encoding::Gsm7), 0), "refused only if it was asked for");
        return None;
    };
    assert!(can_write(text, coding));
    match coding.encoding {
        Encoding::Gsm7 => {
            assert_ne!(asked, Some(Encoding::Ucs2));
            let count = |coding| parts_needed(text, coding, bits);
            assert_eq!(Some(count(coding)), able.map(count).min(), "{coding:?} is not the smallest");
        }
        Encoding::Ucs2 => assert!(asked == Some(Encoding::Ucs2) || able.count() == 0, "GSM-7 is smaller"),
        Encoding::Binary => panic!("a text is not data"),
    }
    Some(coding)
}

fn can_write(text: &str, coding: Coding) -> bool {
    match coding.encoding {
        Encoding::Gsm7 => gsm7::encode(text, coding.shifts).is_some(),
        Encoding::Ucs2 => coding.shifts == Shifts::NONE,
        Encoding::Binary => false,
    }
}

fn parts_needed(text: &str, coding: Coding, bits: ReferenceBits) -> usize {
    let content = Content::Text(MessageText::from(text.to_owned()));
    match split(&content, coding, bits, SplitBy::Grapheme) {
        Ok(parts) => parts.len(),
        Err(PartsError::TooManyParts { parts, .. }) => parts,
        Err(PartsError::Empty) => 0,
        Err(error @ PartsError::WrongEncoding(_)) => panic!("{coding:?}: {error}"),
    }
}

fn check(content: &Content, way: Way) {
    let length = match content {
        Content::Text(text) => text.as_str().len(),
        Content::Binary(data) => data.len(),
    };
    let fits = match content {
        Content::Text(text) => can_write(text.as_str(), way.coding),
        Content::Binary(_) => way.coding == Encoding::Binary.into(),
    };
    match split(content, way.coding, way.bits, way.by) {
        Err(PartsError::WrongEncoding(encoding)) => assert!(!fits && encoding == way.coding.encoding),
        Err(PartsError::Empty) => assert_eq!(length, 0),
        Err(PartsError::TooManyParts { parts, max }) => {
            assert!(fits && max == PARTS_MAX && parts > max && length > max * unit_limit(way, true) / 4);
        }
        Ok(parts) => {
            assert!(fits && !parts.is_empty() && parts.len() <= PARTS_MAX);
            let carried: Vec<u8> =
                parts.iter().flat_map(|part| carried(content, part, way, parts.len())).collect();
            match content {
                Content::Text(text) => {
                    assert!(carried == text.as_str().as_bytes(), "the parts do not join to the text");
                    no_visible_character_is_cut(text.as_str(), &parts, way);
                }
                Content::Binary(data) => assert!(carried == *data, "the parts do not join to the data"),
            }
        }
    }
}

/// What a handset makes of one part, after checking it.
fn carried(content: &Content, part: &Part, way: Way, total: usize) -> Vec<u8> {
    let count = u8::try_from(total).expect("at most 255 parts");
    assert_eq!(part.unit_limit, unit_limit(way, total > 1));
    assert!(part.units > 0 && part.units <= part.unit_limit, "{part:?}");
    let data = part.user_data(content, way.coding, way.bits, way.reference, count).expect("it was split so");
    assert!(data.len() <= USER_DATA);
    let expected = header(way, count, part.number);
    assert!(data.starts_with(&expected), "the header of {part:?} is not {expected:x?}");
    let body = &data[expected.len()..];
    match way.coding.encoding {
        Encoding::Gsm7 => {
            let septets = septets(&data, expected.len(), part.units);
            assert!(escapes_are_paired(&septets), "{part:?} cuts an escape pair");
            let bits = (expected.len() * 8).next_multiple_of(7) + part.units * 7;
            assert_eq!(data.len(), bits.div_ceil(8), "no octet more than needed");
            gsm7::decode(&septets, way.coding.shifts).into_bytes()
        }
        Encoding::Ucs2 => {
            let units: Vec<u16> = body.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            assert_eq!(units.len(), part.units);
            String::from_utf16(&units).expect("no surrogate pair is cut").into_bytes()
        }
        Encoding::Binary => {
            assert_eq!(body.len(), part.units);
            body.to_vec()
        }
    }
}

/// Octets of the header: nothing if there is nothing to say.
fn header(way: Way, total: u8, number: u16) -> Vec<u8> {
    let number = u8::try_from(number).expect("at most 255 parts");
    let [high, low] = way.reference.to_be_bytes();
    let mut elements = match way.bits {
        _ if total == 1 => vec![],
        ReferenceBits::Eight => vec![0x00, 3, low, total, number],
        ReferenceBits::Sixteen => vec![0x08, 4, high, low, total, number],
    };
    for (kind, table) in [(0x24, way.coding.shifts.single), (0x25, way.coding.shifts.locking)] {
        let identifier = table.map(|table| match table {
            NationalTable::Turkish => 1,
            NationalTable::Spanish => 2,
            NationalTable::Portuguese => 3,
        });
        elements.extend(identifier.into_iter().flat_map(|identifier| [kind, 1, identifier]));
    }
    let length = u8::try_from(elements.len()).ok().filter(|length| *length > 0);
    length.into_iter().chain(elements).collect()
}

fn unit_limit(way: Way, is_concatenated: bool) -> usize {
    let room = USER_DATA - header(way, if is_concatenated { 2 } else { 1 }, 1).len();
    match way.coding.encoding {
        Encoding::Gsm7 => room * 8 / 7,
        Encoding::Ucs2 => room / 2,
        Encoding::Binary => room,
    }
}

/// Septets counted over the whole user data, header included: the first after it begins on a multiple of seven bits.
fn septets(data: &[u8], header_octets: usize, count: usize) -> Vec<u8> {
    let bit = |at: usize| data[at / 8] >> (at % 8) & 1;
    let first = (header_octets * 8).next_multiple_of(7);
    (0..count).map(|at| (0..7).fold(0, |septet, low| septet | bit(first + at * 7 + low) << low)).collect()
}

fn escapes_are_paired(septets: &[u8]) -> bool {
    let mut septets = septets.iter();
    while let Some(septet) = septets.next() {
        if *septet == ESCAPE && septets.next().is_none_or(|next| *next == ESCAPE) {
            return false;
        }
    }
    true
}

/// Only what is larger than a part is cut inside; by code point, nothing is promised.
fn no_visible_character_is_cut(text: &str, parts: &[Part], way: Way) {
    if way.by == SplitBy::CodePoint || parts.len() == 1 {
        return;
    }
    let units = |cluster: &str| match way.coding.encoding {
        Encoding::Gsm7 => gsm7::encode(cluster, way.coding.shifts).map_or(0, |septets| septets.len()),
        _ => cluster.encode_utf16().count(),
    };
    let mut cuts = parts[1..].iter().map(|part| part.range.start).peekable();
    for (start, cluster) in text.grapheme_indices(true) {
        while let Some(cut) = cuts.next_if(|cut| *cut < start + cluster.len()) {
            let is_inside = cut > start;
            assert!(!is_inside || units(cluster) > parts[0].unit_limit, "{cluster:?} is cut");
        }
    }
}
