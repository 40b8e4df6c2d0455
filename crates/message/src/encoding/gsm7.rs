//! The GSM 7-bit alphabets (3GPP TS 23.038 section 6.2.1) and their packing (section 6.1.2.1). Which tables a text uses is
//! said by [`Shifts`].

use super::national::Shifts;
use super::tables::{self, Alphabet};

/// Escapes to the extension table.
pub const ESCAPE: u8 = 0x1B;
/// Carriage return, which also fills seven spare bits so that they do not read as `@`.
const CARRIAGE_RETURN: u8 = 0x0D;

/// The septets of a character: one, an escape and one, or none if the tables lack it. Locking shift tables have
/// characters that extension tables have too; the shorter writing is taken.
fn code(character: char, shifts: Shifts) -> Option<(Option<u8>, u8)> {
    let alphabet = shifts.alphabet()?;
    basic(character, alphabet).map(|septet| (None, septet)).or_else(|| {
        let extended = shifts.extension().iter().find(|(_, extended)| *extended == character);
        extended.map(|(septet, _)| (Some(ESCAPE), *septet))
    })
}

fn basic(character: char, alphabet: &Alphabet) -> Option<u8> {
    // Most text is letters, digits and punctuation whose septet is their ASCII code.
    let ascii = u8::try_from(character).ok().filter(u8::is_ascii);
    if let Some(septet) = ascii.filter(|septet| alphabet[usize::from(*septet)] == character) {
        return (septet != ESCAPE).then_some(septet);
    }
    let place = alphabet.iter().position(|listed| *listed == character)?;
    u8::try_from(place).ok().filter(|septet| *septet != ESCAPE)
}

/// Whether the default alphabet has the character, without its extension.
pub fn is_basic(character: char) -> bool {
    basic(character, &tables::DEFAULT).is_some()
}

/// How many septets the character takes without national tables: 1 or 2; 0 if it cannot be written.
pub fn septets(character: char) -> usize {
    septets_with(character, Shifts::NONE)
}

/// How many septets the character takes with these tables: 1 or 2; 0 if it cannot be written.
pub fn septets_with(character: char, shifts: Shifts) -> usize {
    match code(character, shifts) {
        Some((Some(_), _)) => 2,
        Some((None, _)) => 1,
        None => 0,
    }
}

/// The septets of a text, one an octet; `None` if the tables lack a character.
pub fn encode(text: &str, shifts: Shifts) -> Option<Vec<u8>> {
    let mut septets = Vec::with_capacity(text.len());
    for character in text.chars() {
        let (escape, septet) = code(character, shifts)?;
        septets.extend(escape);
        septets.push(septet);
    }
    Some(septets)
}

/// The text of septets: gives back what [`encode`] was given. An escape before a septet that the extension table lacks
/// reads as the basic character (section 6.2.1.1); an escape at the end reads as a space; a locking shift table that
/// does not exist reads as the default alphabet.
pub fn decode(septets: &[u8], shifts: Shifts) -> String {
    let (alphabet, extension) = (shifts.alphabet().unwrap_or(&tables::DEFAULT), shifts.extension());
    let mut text = String::with_capacity(septets.len());
    let mut septets = septets.iter().map(|septet| septet & 0x7F);
    while let Some(septet) = septets.next() {
        if septet != ESCAPE {
            text.push(alphabet[usize::from(septet)]);
            continue;
        }
        match septets.next() {
            None | Some(ESCAPE) => text.push(' '),
            Some(septet) => {
                let extended = extension.iter().find(|(listed, _)| *listed == septet);
                text.push(extended.map_or(alphabet[usize::from(septet)], |(_, character)| *character));
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
mod tests;
