//! The characters that keep a text out of GSM-7.

use std::fmt;

use super::{NationalTable, Shifts, gsm7, transliterate};

/// Characters listed in an error at most.
const LISTED: usize = 16;

/// Characters of a text that the encoding asked for does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct NotEncodable {
    /// Each once; at most 16.
    pub listed: Vec<Forcing>,
    /// How many characters of the text are concerned, repetitions included.
    pub total: usize,
}

/// A character that cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forcing {
    pub character: char,
    /// Its first position in the text, in characters from 0.
    pub index: usize,
    /// What [`transliterate`](super::transliterate()) would put in its place, which may be nothing at all; `None` = it has
    /// no usual writing.
    pub replacement: Option<String>,
}

impl NotEncodable {
    /// The characters themselves, joined.
    pub fn characters(&self) -> String {
        self.listed.iter().map(|forcing| forcing.character).collect()
    }
}

impl fmt::Display for NotEncodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} characters are not in the GSM-7 alphabet:", self.total)?;
        for (index, forcing) in self.listed.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator} U+{:04X} at {}", u32::from(forcing.character), forcing.index)?;
        }
        Ok(())
    }
}

/// The characters that keep a text out of GSM-7 as `shifts` write it; `None` = it fits.
pub fn forcing_characters(text: &str, shifts: Shifts) -> Option<NotEncodable> {
    let mut error = NotEncodable { listed: Vec::new(), total: 0 };
    for (index, character) in text.chars().enumerate() {
        if gsm7::septets_with(character, shifts) > 0 {
            continue;
        }
        error.total += 1;
        let is_new = error.listed.iter().all(|listed| listed.character != character);
        if is_new && error.listed.len() < LISTED {
            let replacement = transliterate::replacement(character);
            error.listed.push(Forcing { character, index, replacement });
        }
    }
    (error.total > 0).then_some(error)
}

/// The characters that keep a text out of GSM-7 if it may use `table`: of its tables, by those that lack the fewest.
/// `None` = it fits.
pub fn forcing_characters_of(text: &str, table: Option<NationalTable>) -> Option<NotEncodable> {
    let lacking = Shifts::of(table).map(|shifts| forcing_characters(text, shifts));
    lacking.min_by_key(|error| error.as_ref().map_or(0, |error| error.total)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(error: &NotEncodable) -> Vec<(char, usize, Option<&str>)> {
        error.listed.iter().map(|one| (one.character, one.index, one.replacement.as_deref())).collect()
    }

    #[test]
    fn each_character_is_listed_once_with_its_place_and_its_replacement() {
        let error = forcing_characters("açbçc`я\u{200B}", Shifts::NONE).expect("ç is not GSM-7");
        let expected = [('ç', 1, Some("c")), ('`', 5, Some("'")), ('я', 6, None), ('\u{200B}', 7, Some(""))];
        assert_eq!(listed(&error), expected);
        assert_eq!((error.total, error.characters().as_str()), (5, "ç`я\u{200B}"));
        let starts = "5 characters are not in the GSM-7 alphabet: U+00E7 at 1, U+0060 at 5,";
        assert!(error.to_string().starts_with(starts), "{error}");
        assert_eq!(forcing_characters("{€} Ça va", Shifts::NONE), None);
    }

    #[test]
    fn sixteen_characters_are_listed_and_all_are_counted() {
        let text: String = ('а'..='я').chain('а'..='я').collect();
        let error = forcing_characters(&text, Shifts::NONE).expect("it is Cyrillic");
        assert_eq!((error.listed.len(), error.total), (16, 64));
    }

    #[test]
    fn with_a_language_the_tables_that_lack_the_fewest_say_what_is_missing() {
        let table = Some(NationalTable::Turkish);
        let cases = [
            // Plain lacks two, locking shift (which has no è) two, single shift one.
            ("şèя", table, vec![('я', 2, None)]),
            ("şèя", None, vec![('ş', 0, Some("s")), ('я', 2, None)]),
            ("áя", table, vec![('á', 0, Some("a")), ('я', 1, None)]),
        ];
        for (text, table, expected) in cases {
            let error = forcing_characters_of(text, table).expect("я is in no table");
            assert_eq!(listed(&error), expected, "{text} {table:?}");
        }
        assert_eq!(forcing_characters_of("şè", table), None);
    }
}
