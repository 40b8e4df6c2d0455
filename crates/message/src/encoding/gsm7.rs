//! The GSM 7-bit default alphabet (3GPP TS 23.038 section 6.2.1) and its packing (section 6.1.2.1).

/// Escapes to the extension table.
pub const ESCAPE: u8 = 0x1B;
/// Carriage return, which also fills seven spare bits so that they do not read as `@`.
const CARRIAGE_RETURN: u8 = 0x0D;

/// The basic table. The place of a character is its septet; 0x1B holds U+001B, which no text may use.
#[rustfmt::skip]
const BASIC: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å',
    'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', '\u{1B}', 'Æ', 'æ', 'ß', 'É',
    ' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/',
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?',
    '¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O',
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§',
    '¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o',
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à',
];

/// The extension table: septet after the escape, character.
const EXTENSION: [(u8, char); 10] = [
    (0x0A, '\u{C}'),
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2F, '\\'),
    (0x3C, '['),
    (0x3D, '~'),
    (0x3E, ']'),
    (0x40, '|'),
    (0x65, '€'),
];

/// The septets of a character: one, an escape and one, or none if the alphabet lacks it.
fn code(character: char) -> Option<(Option<u8>, u8)> {
    if let Some((septet, _)) = EXTENSION.iter().find(|(_, extended)| *extended == character) {
        return Some((Some(ESCAPE), *septet));
    }
    basic(character).map(|septet| (None, septet))
}

fn basic(character: char) -> Option<u8> {
    // Most text is letters, digits and punctuation whose septet is their ASCII code.
    let ascii = u8::try_from(character).ok().filter(u8::is_ascii);
    if let Some(septet) = ascii.filter(|septet| BASIC[usize::from(*septet)] == character) {
        return (septet != ESCAPE).then_some(septet);
    }
    let place = BASIC.iter().position(|listed| *listed == character)?;
    u8::try_from(place).ok().filter(|septet| *septet != ESCAPE)
}

/// Whether the basic table has the character.
pub fn is_basic(character: char) -> bool {
    basic(character).is_some()
}

/// How many septets the character takes: 1 or 2; 0 if the alphabet lacks it.
pub fn septets(character: char) -> usize {
    match code(character) {
        Some((Some(_), _)) => 2,
        Some((None, _)) => 1,
        None => 0,
    }
}

/// The septets of a text, one an octet; `None` if the alphabet lacks a character.
pub fn encode(text: &str) -> Option<Vec<u8>> {
    let mut septets = Vec::with_capacity(text.len());
    for character in text.chars() {
        let (escape, septet) = code(character)?;
        septets.extend(escape);
        septets.push(septet);
    }
    Some(septets)
}

/// The text of septets. An escape before a septet that the extension table lacks reads as the basic character
/// (section 6.2.1.1); an escape at the end reads as a space.
pub fn decode(septets: &[u8]) -> String {
    let mut text = String::with_capacity(septets.len());
    let mut septets = septets.iter().map(|septet| septet & 0x7F);
    while let Some(septet) = septets.next() {
        if septet != ESCAPE {
            text.push(BASIC[usize::from(septet)]);
            continue;
        }
        match septets.next() {
            None | Some(ESCAPE) => text.push(' '),
            Some(septet) => {
                let extended = EXTENSION.iter().find(|(listed, _)| *listed == septet);
                text.push(extended.map_or(BASIC[usize::from(septet)], |(_, character)| *character));
            }
        }
    }
    text
}

/// Packs septets into octets after a header of `header_octets`, with fill bits so that the first septet starts
/// on a septet boundary (3GPP TS 23.040 section 9.2.3.24). Seven bits left over hold a carriage return, as section
/// 6.1.2.3.1 asks for USSD: a phone is told the number of septets and does not look at them, but to a peer that counts
/// octets only, seven zeros would read as `@`.
pub fn pack(septets: &[u8], header_octets: usize) -> Vec<u8> {
    let fill = fill_bits(header_octets);
    let bits = fill + septets.len() * 7;
    let mut octets = vec![0u8; bits.div_ceil(8)];
    let mut put = |start: usize, septet: u8| {
        let wide = u16::from(septet & 0x7F) << (start % 8);
        let [low, high] = wide.to_le_bytes();
        octets[start / 8] |= low;
        if let Some(next) = octets.get_mut(start / 8 + 1) {
            *next |= high;
        }
    };
    for (index, septet) in septets.iter().enumerate() {
        put(fill + index * 7, *septet);
    }
    if bits % 8 == 1 {
        put(bits, CARRIAGE_RETURN);
    }
    octets
}

/// Unpacks `count` septets that follow a header of `header_octets`.
pub fn unpack(octets: &[u8], count: usize, header_octets: usize) -> Vec<u8> {
    let fill = fill_bits(header_octets);
    (0..count)
        .map_while(|index| {
            let start = fill + index * 7;
            let low = u16::from(*octets.get(start / 8)?);
            let high = octets.get(start / 8 + 1).copied().map_or(0, u16::from);
            if start % 8 > 1 && octets.len() <= start / 8 + 1 {
                return None;
            }
            Some((((high << 8 | low) >> (start % 8)) & 0x7F) as u8)
        })
        .collect()
}

fn fill_bits(header_octets: usize) -> usize {
    (7 - (header_octets * 8) % 7) % 7
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packing_gives_the_known_octets() {
        // The example every SMS tutorial gives.
        assert_eq!(
            pack(&encode("hellohello").unwrap(), 0),
            [0xE8, 0x32, 0x9B, 0xFD, 0x46, 0x97, 0xD9, 0xEC, 0x37]
        );
        assert_eq!(pack(&encode("€").unwrap(), 0), [0x9B, 0x32]);
        assert_eq!(encode("@").unwrap(), [0x00]);
    }

    #[test]
    fn seven_spare_bits_hold_a_carriage_return() {
        let packed = pack(&encode("1234567").unwrap(), 0);
        assert_eq!(packed.last().unwrap() >> 1, CARRIAGE_RETURN);
    }

    #[test]
    fn the_alphabet_is_a_bijection_without_the_lookalikes() {
        for (septet, character) in BASIC.iter().enumerate() {
            if septet != usize::from(ESCAPE) {
                assert_eq!(encode(&character.to_string()).unwrap(), [u8::try_from(septet).unwrap()]);
                assert_eq!(decode(&[u8::try_from(septet).unwrap()]), character.to_string());
            }
        }
        for (septet, character) in EXTENSION {
            assert_eq!(encode(&character.to_string()).unwrap(), [ESCAPE, septet]);
            assert_eq!(decode(&[ESCAPE, septet]), character.to_string());
        }
        for missing in ['`', 'ç', 'á', 'í', 'ó', 'ú', '“', '’', '\t', '\u{1B}', '\0', 'Α'] {
            assert_eq!(septets(missing), 0, "{missing:?}");
        }
    }

    proptest! {
        #[test]
        fn packing_loses_nothing(septets in proptest::collection::vec(0..128u8, 0..200), header in 0..13usize) {
            let packed = pack(&septets, header);
            prop_assert!(packed.len() * 8 < fill_bits(header) + septets.len() * 7 + 8);
            prop_assert_eq!(unpack(&packed, septets.len(), header), septets);
        }

        #[test]
        fn decoding_and_unpacking_never_panic(octets: Vec<u8>, count in 0..300usize, header in 0..140usize) {
            let _ = decode(&unpack(&octets, count, header));
        }
    }
}
