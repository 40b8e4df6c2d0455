//! GSM-7: what is packed unpacks, what is written reads back, and any octets at all are read without a panic.
//!
//! Input: tables, octets of a header, then the content: tried as octets, as septets and, if it is UTF-8, as text.
#![no_main]

use fuzz::{Input, shifts};
use libfuzzer_sys::fuzz_target;
use message::encoding::gsm7::{self, ESCAPE};
use message::encoding::{Shifts, forcing_characters, transliterate};

/// Octets of user data in one short message.
const USER_DATA: usize = 140;
const CARRIAGE_RETURN: u8 = 0x0D;
/// A refusal lists so many characters at most.
const LISTED: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let shifts = shifts(input.byte());
    let header_octets = usize::from(input.byte()) % USER_DATA;
    let content = input.rest();

    what_is_packed_unpacks(content, header_octets);
    octets_unpack_and_pack_again(content, header_octets);
    septets_read_as_text_that_can_be_written(content, shifts);
    if let Ok(text) = std::str::from_utf8(content) {
        text_is_written_whole_or_refused(text, shifts);
        what_is_transliterated_can_be_written(text);
    }
});

fn what_is_packed_unpacks(octets: &[u8], header_octets: usize) {
    let septets: Vec<u8> = octets.iter().map(|octet| octet & 0x7F).collect();
    let packed = gsm7::pack(&septets, header_octets);
    assert_eq!(gsm7::pack(octets, header_octets), packed, "the eighth bit does not count");
    // Septets begin on a multiple of seven bits counted from the start of the header.
    let before = (header_octets * 8).next_multiple_of(7) - header_octets * 8;
    let bits = before + septets.len() * 7;
    assert_eq!(packed.len(), bits.div_ceil(8), "no octet more than needed");
    assert_eq!(gsm7::unpack(&packed, septets.len(), header_octets), septets);

    let more = gsm7::unpack(&packed, septets.len() + 1, header_octets);
    match packed.len() * 8 - bits {
        7 => assert_eq!(more.last(), Some(&CARRIAGE_RETURN), "seven spare bits must not read as @"),
        _ => assert_eq!(more, septets, "there is no more to unpack"),
    }
    let shorter = &packed[..packed.len().saturating_sub(1)];
    assert!(septets.starts_with(&gsm7::unpack(shorter, septets.len(), header_octets)));
}

/// Received octets: fill and spare bits aside, they are what their septets pack to.
fn octets_unpack_and_pack_again(octets: &[u8], header_octets: usize) {
    let septets = gsm7::unpack(octets, usize::from(u16::MAX), header_octets);
    assert!(septets.iter().all(|septet| *septet < 0x80));
    let packed = gsm7::pack(&septets, header_octets);
    assert!(packed.len() <= octets.len().max(1));
    let whole = 1..packed.len().saturating_sub(1);
    assert_eq!(packed.get(whole.clone()), octets.get(whole));
}

fn septets_read_as_text_that_can_be_written(octets: &[u8], shifts: Shifts) {
    let text = gsm7::decode(octets, shifts);
    // An escape and its septet are one character, and so is an escape that leads nowhere.
    assert!(text.chars().count() <= octets.len());
    assert!(!text.contains(char::from(ESCAPE)));
    let Some(septets) = gsm7::encode(&text, shifts) else {
        assert!(!can_be_written(shifts), "{text:?} was read with {shifts:?} and cannot be written");
        return;
    };
    assert!(septets.len() <= octets.len(), "{text:?} takes more septets than it was read from");
    assert_eq!(gsm7::decode(&septets, shifts), text);
}

fn text_is_written_whole_or_refused(text: &str, shifts: Shifts) {
    let units = |character| gsm7::septets_with(character, shifts);
    let missing: Vec<(usize, char)> = text.chars().enumerate().filter(|(_, c)| units(*c) == 0).collect();
    let refusal = forcing_characters(text, shifts);
    let Some(septets) = gsm7::encode(text, shifts) else {
        let refusal = refusal.expect("a refusal says why");
        assert_eq!(refusal.total, missing.len());
        assert!(refusal.listed.len() <= LISTED);
        for forcing in &refusal.listed {
            let first = missing.iter().find(|(_, missing)| *missing == forcing.character);
            assert_eq!(first, Some(&(forcing.index, forcing.character)));
            let written = forcing.replacement.as_deref().map(|written| gsm7::encode(written, Shifts::NONE));
            assert_ne!(written, Some(None), "what is offered can be written: {forcing:?}");
        }
        return;
    };
    assert_eq!((refusal, missing.len()), (None, 0), "what can be written is not refused");
    assert_eq!(septets.len(), text.chars().map(units).sum::<usize>());
    assert!(septets.iter().all(|septet| *septet < 0x80));
    assert_eq!(gsm7::decode(&septets, shifts), text);
}

fn what_is_transliterated_can_be_written(text: &str) {
    let is_plain = gsm7::encode(text, Shifts::NONE).is_some();
    let Some(written) = transliterate(text) else {
        assert!(!is_plain, "{text:?} needs no replacement");
        return;
    };
    assert!(gsm7::encode(&written, Shifts::NONE).is_some(), "{text:?} became {written:?}");
    assert_eq!(transliterate(&written).as_ref(), Some(&written), "it stays as it is");
    assert!(!is_plain || written == text, "{text:?} became {written:?}");
}

/// Not with a locking shift table that does not exist.
fn can_be_written(shifts: Shifts) -> bool {
    gsm7::encode("", shifts).is_some() && gsm7::septets_with('a', shifts) > 0
}
