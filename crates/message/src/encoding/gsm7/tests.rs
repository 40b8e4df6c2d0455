//! Packing by known octets and properties; tables by texts that another implementation encoded, the Go library
//! `github.com/warthog618/sms` 0.3.0.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::encoding::NationalTable::{self, Portuguese, Spanish, Turkish};
use proptest::prelude::*;

/// Every combination of tables that exists.
fn all_shifts() -> Vec<Shifts> {
    let tables = || NationalTable::ALL.iter().copied().map(Some).chain([None]);
    tables()
        .flat_map(|locking| tables().map(move |single| Shifts { locking, single }))
        .filter(|shifts| shifts.alphabet().is_some())
        .collect()
}

fn single(table: NationalTable) -> Shifts {
    Shifts { locking: None, single: Some(table) }
}

fn locking(table: NationalTable) -> Shifts {
    Shifts { locking: Some(table), single: None }
}

fn both(table: NationalTable) -> Shifts {
    Shifts { locking: Some(table), single: Some(table) }
}

#[test]
fn packing_gives_the_known_octets() {
    // The example every SMS tutorial gives.
    assert_eq!(
        pack(&encode("hellohello", Shifts::NONE).unwrap(), 0),
        [0xE8, 0x32, 0x9B, 0xFD, 0x46, 0x97, 0xD9, 0xEC, 0x37]
    );
    assert_eq!(pack(&encode("€", Shifts::NONE).unwrap(), 0), [0x9B, 0x32]);
    assert_eq!(encode("@", Shifts::NONE).unwrap(), [0x00]);
}

#[test]
fn seven_spare_bits_hold_a_carriage_return() {
    let packed = pack(&encode("1234567", Shifts::NONE).unwrap(), 0);
    assert_eq!(packed.last().unwrap() >> 1, CARRIAGE_RETURN);
}

#[test]
fn the_default_alphabet_has_no_lookalikes() {
    for missing in ['`', 'ç', 'á', 'í', 'ó', 'ú', '“', '’', '\t', '\u{1B}', '\0', 'Α'] {
        assert_eq!(septets(missing), 0, "{missing:?}");
    }
}

#[test]
fn every_place_of_every_table_is_one_character_and_reads_back() {
    for shifts in all_shifts() {
        let alphabet = shifts.alphabet().unwrap();
        for (septet, character) in (0u8..).zip(alphabet).filter(|(septet, _)| *septet != ESCAPE) {
            assert_eq!(encode(&character.to_string(), shifts).unwrap(), [septet], "{shifts} {character:?}");
            assert_eq!(decode(&[septet], shifts), character.to_string(), "{shifts}");
        }
        for (septet, character) in shifts.extension() {
            assert_eq!(decode(&[ESCAPE, *septet], shifts), character.to_string(), "{shifts}");
            let expected = if alphabet.contains(character) { 1 } else { 2 };
            assert_eq!(septets_with(*character, shifts), expected, "{shifts} {character:?}");
        }
        // What a table without an escape would let through.
        assert_eq!(septets_with('\u{1B}', shifts), 0);
    }
}

#[test]
fn texts_in_national_tables_have_the_septets_that_another_implementation_gives_them() {
    let turkish = "Şu ığdır çöp İĞ € {";
    let cases = [
        (
            turkish,
            single(Turkish),
            "1B53 75 20 1B69 1B67 64 1B69 72 20 1B63 7C 70 20 1B49 1B47 20 1B65 20 1B28",
        ),
        (turkish, locking(Turkish), "1C 75 20 07 0C 64 07 72 20 60 7C 70 20 40 0B 20 04 20 1B28"),
        (turkish, both(Turkish), "1C 75 20 07 0C 64 07 72 20 60 7C 70 20 40 0B 20 04 20 1B28"),
        (
            "Qué día, único Á Í Ó Ú ç ^",
            single(Spanish),
            "51 75 05 20 64 1B69 61 2C 20 1B75 6E 69 63 6F 20 1B41 20 1B49 20 1B4F 20 1B55 20 1B09 20 1B14",
        ),
        (
            "Não há coração à sê Ô Φ",
            single(Portuguese),
            "4E 1B7B 6F 20 68 1B0F 20 63 6F 72 61 1B09 1B7B 6F 20 7F 20 73 1B05 20 1B0B 20 12",
        ),
        (
            "Não há coração à sê Ô ª º ∞ {",
            locking(Portuguese),
            "4E 7B 6F 20 68 0F 20 63 6F 72 61 09 7B 6F 20 7F 20 73 04 20 0B 20 12 20 24 20 15 20 1B28",
        ),
        (
            "Não há coração à sê Ô ª º ∞ Φ",
            both(Portuguese),
            "4E 7B 6F 20 68 0F 20 63 6F 72 61 09 7B 6F 20 7F 20 73 04 20 0B 20 12 20 24 20 15 20 1B12",
        ),
    ];
    for (text, shifts, expected) in cases {
        let septets = encode(text, shifts).unwrap();
        let hex: String = septets.iter().map(|septet| format!("{septet:02X}")).collect();
        assert_eq!(hex, expected.replace(' ', ""), "{text} {shifts}");
    }
}

#[test]
fn a_table_that_does_not_exist_writes_nothing_and_reads_as_the_default() {
    assert_eq!(encode("a", locking(Spanish)), None);
    assert_eq!(septets_with('a', locking(Spanish)), 0);
    assert_eq!(decode(&[0x61, 0x09], locking(Spanish)), "aÇ");
}

#[test]
fn an_escape_before_what_the_table_lacks_reads_as_the_basic_character() {
    assert_eq!(decode(&[ESCAPE, 0x61], Shifts::NONE), "a");
    assert_eq!(decode(&[ESCAPE, 0x61], single(Spanish)), "á");
    assert_eq!(decode(&[ESCAPE, 0x07], both(Turkish)), "ı");
    assert_eq!(decode(&[ESCAPE, ESCAPE, 0x61, ESCAPE], Shifts::NONE), " a ");
}

/// Tables, and a text that can be written with them.
fn written() -> impl Strategy<Value = (Shifts, String)> {
    proptest::sample::select(all_shifts()).prop_flat_map(|shifts| {
        let alphabet = shifts.alphabet().unwrap().iter().copied();
        let extension = shifts.extension().iter().map(|(_, character)| *character);
        let characters: Vec<char> = alphabet.chain(extension).filter(|c| *c != '\u{1B}').collect();
        let text = proptest::collection::vec(proptest::sample::select(characters), 0..200);
        (Just(shifts), text.prop_map(String::from_iter))
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back((shifts, text) in written(), header in 0..14usize) {
        let septets = encode(&text, shifts).unwrap();
        let count: usize = text.chars().map(|character| septets_with(character, shifts)).sum();
        prop_assert_eq!(septets.len(), count);
        let unpacked = unpack(&pack(&septets, header), septets.len(), header);
        prop_assert_eq!(decode(&unpacked, shifts), text);
    }

    #[test]
    fn any_text_reads_back_or_is_refused(text: String, shifts in proptest::sample::select(all_shifts())) {
        let is_writable = text.chars().all(|character| septets_with(character, shifts) > 0);
        let read = encode(&text, shifts).map(|septets| decode(&septets, shifts));
        prop_assert_eq!(read, is_writable.then_some(text));
    }

    #[test]
    fn packing_loses_nothing(septets in proptest::collection::vec(0..128u8, 0..200), header in 0..14usize) {
        let packed = pack(&septets, header);
        prop_assert!(packed.len() * 8 < fill_bits(header) + septets.len() * 7 + 8);
        prop_assert_eq!(unpack(&packed, septets.len(), header), septets);
    }

    #[test]
    fn decoding_and_unpacking_never_panic(
        octets: Vec<u8>,
        count in 0..300usize,
        header in 0..140usize,
        shifts in proptest::sample::select(all_shifts()),
    ) {
        let _ = decode(&unpack(&octets, count, header), shifts);
    }
}
