//! Texts on which two splitters could disagree: the same in every run.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Units of the first part alone, then of each part of several: GSM-7 septets, UTF-16 units.
const GSM7_LIMITS: (usize, usize) = (160, 153);
const UCS2_LIMITS: (usize, usize) = (70, 67);
const RANDOM_TEXTS: usize = 2_500;
const SEED: u64 = 0x5E97_1E75;

#[rustfmt::skip]
const GSM7_BASIC: &[&str] = &[
    "@", "£", "$", "¥", "è", "é", "ù", "ì", "ò", "Ç", "\n", "Ø", "ø", "\r", "Å", "å", "Δ", "_", "Φ", "Γ", "Λ", "Ω", "Π",
    "Ψ", "Σ", "Θ", "Ξ", "Æ", "æ", "ß", "É", " ", "!", "\"", "#", "¤", "%", "&", "'", "(", ")", "*", "+", ",", "-", ".",
    "/", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", ":", ";", "<", "=", ">", "?", "¡", "A", "B", "C", "D", "E",
    "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P", "Q", "R", "S", "T", "U", "V", "W", "X", "Y", "Z", "Ä", "Ö",
    "Ñ", "Ü", "§", "¿", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s",
    "t", "u", "v", "w", "x", "y", "z", "ä", "ö", "ñ", "ü", "à",
];

const GSM7_EXTENSION: &[&str] = &["\u{C}", "^", "{", "}", "\\", "[", "~", "]", "|", "€"];

/// Not in GSM-7, one UTF-16 unit each; the first are easily taken for GSM-7.
const UCS2_LETTERS: &[&str] = &[
    "`", "ç", "á", "\t", "\u{1B}", "’", "“", "Α", "я", "ж", "ا", "中", "각", "\u{A0}", "\u{FEFF}", "\u{FFFD}",
];

/// Several code points or several units that a person sees as one character, and what joins such.
#[rustfmt::skip]
const CLUSTERS: &[&str] = &[
    "\r\n",
    "😀", "𝒳", "𠀀", "\u{10FFFD}",
    "👍🏽", "🤦🏿\u{200D}♂\u{FE0F}", "❤\u{FE0F}", "1\u{FE0F}\u{20E3}",
    "👨\u{200D}👩\u{200D}👧\u{200D}👦", "👩🏾\u{200D}❤\u{FE0F}\u{200D}💋\u{200D}👨🏻", "🏳\u{FE0F}\u{200D}🌈",
    "🇩🇪", "🇩", "🏴\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}",
    "e\u{301}", "a\u{300}\u{316}\u{35C}", "я\u{306}", "กำ",
    "ᄀ\u{1161}", "ᄀ\u{1161}\u{11A8}", "각\u{11A8}",
];

/// At least 6,000 texts: every edge met by every kind of character, each kind repeated, and random mixtures.
pub(super) fn generate() -> Vec<String> {
    let mut texts = Vec::new();
    let gsm7: Vec<&str> = [GSM7_EXTENSION, &["a", "@", "\n", "\r", "\r\n"]].concat();
    at_edges(&mut texts, "a", &gsm7, GSM7_LIMITS);
    let ucs2: Vec<&str> = [&["€", "я", "`"], CLUSTERS].concat();
    at_edges(&mut texts, "я", &ucs2, UCS2_LIMITS);
    repeated(&mut texts);
    oversized_clusters(&mut texts);
    let mut random = StdRng::seed_from_u64(SEED);
    texts.extend((0..RANDOM_TEXTS).map(|_| mixture(&mut random)));
    texts
}

/// Texts without a single answer: no part at all, or more than a message may have.
pub(super) fn extremes() -> Vec<String> {
    let mut texts = vec![String::new()];
    for (piece, in_a_part) in [("€", 76), ("я", 67), ("😀", 33)] {
        texts.extend([255 * in_a_part, 255 * in_a_part + 1].map(|count| piece.repeat(count)));
    }
    texts
}

/// Each piece so that it starts from just after an edge to its whole length before it, with nothing, little and
/// more than a part behind it.
fn at_edges(texts: &mut Vec<String>, filler: &str, pieces: &[&str], (single, several): (usize, usize)) {
    for edge in [single, several, 2 * several, 3 * several] {
        for piece in pieces {
            for back in 0..=piece.encode_utf16().count() + 2 {
                let Some(before) = (edge + 1).checked_sub(back) else { continue };
                for after in [0, 1, several + 1] {
                    texts.push(format!("{}{piece}{}", filler.repeat(before), filler.repeat(after)));
                }
            }
        }
    }
}

/// Each character alone, as often as fills one part, two and three, and one more.
fn repeated(texts: &mut Vec<String>) {
    for piece in [GSM7_BASIC, GSM7_EXTENSION].concat() {
        texts.extend([1, 76, 77, 80, 81, 153, 154, 160, 161, 229, 306, 307].map(|count| piece.repeat(count)));
    }
    for piece in [UCS2_LETTERS, CLUSTERS].concat() {
        texts.extend([1, 11, 33, 34, 35, 36, 67, 68, 70, 71, 134, 135].map(|count| piece.repeat(count)));
    }
}

/// Clusters of nearly a part, of a part, and of more.
fn oversized_clusters(texts: &mut Vec<String>) {
    for before in [0, 1, 30, 66, 67, 68] {
        for marks in [60, 65, 66, 67, 68, 69, 70, 100, 133, 134, 135, 150, 200, 201] {
            texts.push(format!("{}e{}я", "я".repeat(before), "\u{301}".repeat(marks)));
        }
    }
}

fn mixture(random: &mut StdRng) -> String {
    let kinds: &[&[&str]] = match random.random_range(0..4) {
        0 => &[GSM7_BASIC],
        1 => &[GSM7_BASIC, GSM7_EXTENSION, GSM7_EXTENSION, &["\r\n"]],
        2 => &[GSM7_BASIC, UCS2_LETTERS, CLUSTERS],
        _ => &[GSM7_EXTENSION, CLUSTERS, &["\u{200D}", "\u{301}", "\u{FE0F}", "🇩"]],
    };
    let mut room: usize = random.random_range(1..=500);
    let mut text = String::new();
    while room > 0 {
        let kind = kinds.choose(random).expect("there is a kind");
        // Runs make edges fall between equals as well as between different kinds.
        let piece = kind.choose(random).expect("a kind has pieces");
        let run = piece.repeat(random.random_range(1..=6));
        room = room.saturating_sub(run.encode_utf16().count());
        text.push_str(&run);
    }
    text
}
