//! Parts are those of an independent splitter: the npm package `split-sms`, at the version and hash of
//! `parts_oracle/package-lock.json`. It packs by code point, chooses GSM-7 where the text can be written in it, and
//! knows 8-bit references only. Where Herald differs on purpose, a rule below says so and predicts how.

mod oracle;
mod texts;

use std::ops::Range;
use std::sync::LazyLock;

use message::encoding::{self, Encoding};
use message::parts::{self, Content, MessageText, PARTS_MAX, Part, PartsError, ReferenceBits, SplitBy};

use oracle::Answer;

/// Texts that must be compared for equality at the least.
const COMPARED: usize = 5_000;
/// Texts that each rule must be seen on at the least.
const PER_RULE: usize = 50;

/// How parts by grapheme cluster relate to the oracle's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClusterRule {
    /// One part: the same.
    FitsOnePart,
    /// No cluster lies across an edge of the oracle's parts: the same.
    NothingAcross,
    /// The clusters that lie across an edge are larger than a part, and are cut where the oracle cuts: the same.
    OnlyLargerThanAPart,
    /// A cluster that fits a part lies across an edge, and moves to the next part as a whole. The parts before it
    /// are the same; there may be more in all.
    Moves,
}

/// Every text with its answer: the oracle is asked once.
static ASKED: LazyLock<Vec<(String, Answer)>> = LazyLock::new(|| {
    let texts = texts::generate();
    let answers = oracle::ask(&texts);
    texts.into_iter().zip(answers).collect()
});

#[test]
fn parts_by_code_point_are_those_of_the_oracle() {
    assert!(ASKED.len() >= COMPARED, "only {} texts", ASKED.len());
    for (text, answer) in ASKED.iter() {
        let (encoding, content, parts) = split(text, SplitBy::CodePoint);
        let parts = parts.unwrap_or_else(|error| panic!("{error}: {text:?}"));
        assert_eq!(encoding, answer.encoding(), "{text:?}");
        assert_eq!(parts.len(), answer.parts.len(), "{text:?}");
        assert_eq!(texts_of(&parts, &content), answer.parts, "{text:?}");
        assert_eq!(parts.iter().map(|part| part.units).collect::<Vec<_>>(), answer.units, "{text:?}");
    }
    for encoding in [Encoding::Gsm7, Encoding::Ucs2] {
        let several = |(_, answer): &&(_, Answer)| answer.encoding() == encoding && answer.parts.len() > 1;
        assert!(ASKED.iter().filter(several).count() >= 1_000, "the texts hardly try {encoding}");
    }
}

/// The oracle makes one part of nothing, and any number of parts; a message has at least one character and at
/// most 255 parts.
#[test]
fn only_empty_texts_and_those_of_more_than_255_parts_are_refused() {
    let texts = texts::extremes();
    let answers = oracle::ask(&texts);
    for (text, answer) in texts.iter().zip(&answers) {
        let expected = match answer.parts.len() {
            _ if text.is_empty() => Err(PartsError::Empty),
            count if count > PARTS_MAX => Err(PartsError::TooManyParts { parts: count, max: PARTS_MAX }),
            count => Ok(count),
        };
        let (_, _, parts) = split(text, SplitBy::CodePoint);
        assert_eq!(parts.map(|parts| parts.len()), expected, "{} octets of text", text.len());
    }
}

#[test]
fn parts_by_cluster_differ_from_the_oracle_by_the_listed_rules_only() {
    let mut seen = Vec::new();
    for (text, answer) in ASKED.iter() {
        let (_, content, parts) = split(text, SplitBy::Grapheme);
        let parts = texts_of(&parts.unwrap_or_else(|error| panic!("{error}: {text:?}")), &content);
        let rule = rule_for(answer);
        if rule == ClusterRule::Moves {
            assert_eq!(parts, packed_by_cluster(answer), "{text:?}");
            assert!(parts.len() >= answer.parts.len(), "{text:?}");
            let first = first_moved(answer).expect("the rule says that one moves").start;
            let edge =
                edges(&parts).into_iter().zip(edges(&answer.parts)).find(|(ours, theirs)| ours != theirs);
            assert_eq!(edge.map(|(ours, _)| ours), Some(first), "{text:?}");
        } else {
            assert_eq!(parts, answer.parts, "{rule:?}: {text:?}");
        }
        seen.push(rule);
    }
    use ClusterRule::{FitsOnePart, Moves, NothingAcross, OnlyLargerThanAPart};
    for rule in [FitsOnePart, NothingAcross, OnlyLargerThanAPart, Moves] {
        let count = seen.iter().filter(|other| **other == rule).count();
        println!("{rule:?}: {count} texts");
        assert!(count >= PER_RULE, "{rule:?} is seen on {count} texts only");
    }
}

fn split(text: &str, by: SplitBy) -> (Encoding, Content, Result<Vec<Part>, PartsError>) {
    let coding = encoding::choose(text, None, None, ReferenceBits::Eight).expect("no encoding is asked for");
    let content = Content::Text(MessageText::from(text.to_owned()));
    let parts = parts::split(&content, coding, ReferenceBits::Eight, by);
    (coding.encoding, content, parts)
}

fn texts_of<'a>(parts: &[Part], content: &'a Content) -> Vec<&'a str> {
    parts.iter().map(|part| part.text(content).expect("it is text")).collect()
}

fn rule_for(answer: &Answer) -> ClusterRule {
    let limit = several_limit(answer.encoding());
    let mut across = clusters_across(answer).peekable();
    if answer.parts.len() == 1 {
        ClusterRule::FitsOnePart
    } else if across.peek().is_none() {
        ClusterRule::NothingAcross
    } else if across.all(|(cluster, _)| units(cluster, answer.encoding()) > limit) {
        ClusterRule::OnlyLargerThanAPart
    } else {
        ClusterRule::Moves
    }
}

fn first_moved(answer: &Answer) -> Option<Range<usize>> {
    let limit = several_limit(answer.encoding());
    clusters_across(answer)
        .find(|(cluster, _)| units(cluster, answer.encoding()) <= limit)
        .map(|(_, range)| range)
}

/// The clusters that the oracle cuts, each with its octets of the text.
fn clusters_across(answer: &Answer) -> impl Iterator<Item = (&str, Range<usize>)> {
    let edges = edges(&answer.parts);
    let mut end = 0;
    let ranges = answer.clusters.iter().map(move |cluster| {
        let start = end;
        end += cluster.len();
        (cluster.as_str(), start..end)
    });
    ranges.filter(move |(_, range)| edges.iter().any(|edge| range.start < *edge && *edge < range.end))
}

/// The ends of the parts, in octets of the text.
fn edges(parts: &[impl AsRef<str>]) -> Vec<usize> {
    let mut end = 0;
    parts
        .iter()
        .map(|part| {
            end += part.as_ref().len();
            end
        })
        .collect()
}

/// Takes the oracle's clusters one after the other; one larger than a part is taken code point by code point.
fn packed_by_cluster(answer: &Answer) -> Vec<String> {
    let (encoding, limit) = (answer.encoding(), several_limit(answer.encoding()));
    let pieces = answer.clusters.iter().flat_map(|cluster| match units(cluster, encoding) {
        units if units <= limit => vec![cluster.clone()],
        _ => cluster.chars().map(String::from).collect(),
    });
    let mut parts = vec![String::new()];
    let mut room = limit;
    for piece in pieces {
        let size = units(&piece, encoding);
        if size > room {
            parts.push(String::new());
            room = limit;
        }
        room -= size;
        parts.last_mut().expect("there is one from the start").push_str(&piece);
    }
    parts
}

/// Units that a part of several holds (3GPP TS 23.040 section 9.2.3.24.1).
fn several_limit(encoding: Encoding) -> usize {
    if encoding == Encoding::Gsm7 { 153 } else { 67 }
}

fn units(text: &str, encoding: Encoding) -> usize {
    match encoding {
        Encoding::Gsm7 => text.chars().map(|c| if "\u{C}^{}\\[~]|€".contains(c) { 2 } else { 1 }).sum(),
        _ => text.encode_utf16().count(),
    }
}
