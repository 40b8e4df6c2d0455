//! Writes a text in GSM-7 where each of its characters has a usual writing there.
//!
//! Replaced are typographic punctuation and spaces, Latin letters with diacritics, ligatures, and Latin letters beyond
//! the alphabet. Letters of other scripts, emoji, and signs whose plain writing would say something else (`≠`, `²`, `½`)
//! have none.
//!
//! Dropped are invisible characters that mean nothing in a text of Latin letters: soft hyphen, zero width space, word
//! joiner, byte order mark, variation selectors 15 and 16, and the marks that say "left to right" (U+200E, U+202A,
//! U+202C, U+2066, U+2068, U+2069), which copied phone numbers bring along. Kept, and so refused, are those that may
//! change what is read: joiners, marks of right-to-left text and of override.

use unicode_normalization::UnicodeNormalization;

use super::gsm7;

/// The text with every character outside GSM-7 replaced by its usual writing; `None` if one has none, since half a
/// transliteration saves nothing. What comes back can be written in plain GSM-7; a text that already can is unchanged.
pub fn transliterate(text: &str) -> Option<String> {
    if text.chars().all(is_plain) {
        return Some(text.to_owned());
    }
    let mut plain = String::with_capacity(text.len());
    let mut carries_marks = false;
    // Composed first: a letter with a mark of its own (as macOS writes é) may be a letter of the alphabet.
    for character in text.nfc() {
        if is_mark(character) {
            carries_marks.then_some(())?;
        } else {
            carries_marks = is_latin(character);
            plain.push_str(&written(character)?);
        }
    }
    Some(plain)
}

/// The usual GSM-7 writing of a character: its own if it is in the alphabet, nothing at all if it is dropped; `None` if
/// there is none. A mark that combines with a letter is dropped.
pub fn replacement(character: char) -> Option<String> {
    // A sign that stands for another character (that for ångström, that for ohm) is that one.
    std::iter::once(character).nfc().map(written).collect()
}

/// [`replacement`] of a composed character.
fn written(character: char) -> Option<String> {
    if is_plain(character) {
        return Some(character.into());
    }
    if is_mark(character) {
        return Some(String::new());
    }
    punctuation(character).or_else(|| letters(character)).map(str::to_owned).or_else(|| unmarked(character))
}

fn is_plain(character: char) -> bool {
    gsm7::septets(character) > 0
}

/// A mark above or below a letter. Not those laid over it (from U+0334), which cross it out.
fn is_mark(character: char) -> bool {
    ('\u{300}'..='\u{333}').contains(&character)
}

fn is_latin(character: char) -> bool {
    let is_extended = |character| matches!(character, 'À'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}');
    character.is_ascii_alphabetic() || (is_extended(character) && character.is_alphabetic())
}

/// A Latin letter without its marks, or without the last of them if that leaves a letter of the alphabet: `ǖ` is `ü`,
/// `ế` is `e`.
fn unmarked(character: char) -> Option<String> {
    let mut pieces: Vec<char> = std::iter::once(character).nfd().collect();
    is_latin(*pieces.first()?).then_some(())?;
    while pieces.pop().is_some_and(is_mark) {
        let composed: Vec<char> = pieces.iter().copied().nfc().collect();
        if let [letter] = composed[..]
            && (is_plain(letter) || letters(letter).is_some())
        {
            return written(letter);
        }
    }
    None
}

/// Punctuation, spaces, and what is dropped.
#[rustfmt::skip]
fn punctuation(character: char) -> Option<&'static str> {
    Some(match character {
        // Quotes, and what is typed for them.
        '‘' | '’' | '‚' | '‛' | '‹' | '›' | '′' | '´' | '`' | 'ʹ' | 'ʻ' | 'ʼ' | 'ʽ' => "'",
        '“' | '”' | '„' | '‟' | '«' | '»' | '″' => "\"",
        // Hyphens, dashes, minus, bullets.
        '\u{2010}'..='\u{2015}' | '−' | '⁃' | '•' | '‣' | '▪' | '●' | '◦' | '∙' => "-",
        '·' => ".",
        '…' => "...",
        '⁄' => "/",
        '¦' => "|",
        '×' => "x",
        'ª' => "a",
        'º' => "o",
        '©' => "(C)",
        '®' => "(R)",
        '™' => "TM",
        // Spaces of every width.
        '\t' | '\u{A0}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}' => " ",
        '\u{B}' | '\u{85}' | '\u{2028}' | '\u{2029}' => "\n",
        '\u{AD}' | '\u{200B}' | '\u{2060}' | '\u{FEFF}' | '\u{FE0E}' | '\u{FE0F}' => "",
        '\u{200E}' | '\u{202A}' | '\u{202C}' | '\u{2066}' | '\u{2068}' | '\u{2069}' => "",
        _ => return None,
    })
}

/// Letters that are no letter with a mark: ligatures, digraphs, and letters of their own.
#[rustfmt::skip]
fn letters(character: char) -> Option<&'static str> {
    Some(match character {
        'Œ' => "OE", 'œ' => "oe", 'Ĳ' => "IJ", 'ĳ' => "ij",
        'ﬀ' => "ff", 'ﬁ' => "fi", 'ﬂ' => "fl", 'ﬃ' => "ffi", 'ﬄ' => "ffl", 'ﬅ' | 'ﬆ' => "st",
        'Ǆ' | 'Ǳ' => "DZ", 'ǅ' | 'ǲ' => "Dz", 'ǆ' | 'ǳ' => "dz",
        'Ǉ' => "LJ", 'ǈ' => "Lj", 'ǉ' => "lj", 'Ǌ' => "NJ", 'ǋ' => "Nj", 'ǌ' => "nj",
        'ẞ' => "SS", 'ſ' => "s", 'ŉ' => "'n", 'Ŀ' => "L.", 'ŀ' => "l.",
        'Þ' => "Th", 'þ' => "th", 'Ð' | 'Đ' | 'Ɖ' => "D", 'ð' | 'đ' | 'ɖ' => "d",
        'Ł' => "L", 'ł' => "l", 'ı' => "i", 'ĸ' => "k", 'Ŋ' => "N", 'ŋ' => "n",
        'Ħ' => "H", 'ħ' => "h", 'Ŧ' => "T", 'ŧ' => "t", 'Ǥ' => "G", 'ǥ' => "g", 'Ƶ' => "Z", 'ƶ' => "z",
        'Ə' => "E", 'ə' => "e", 'Ɨ' => "I", 'ɨ' => "i", 'Ʉ' => "U", 'ʉ' => "u",
        'Ɓ' => "B", 'ɓ' => "b", 'Ɗ' => "D", 'ɗ' => "d", 'Ƙ' => "K", 'ƙ' => "k", 'Ƴ' => "Y", 'ƴ' => "y",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
