//! Comments as text: paragraphs, sentences, lists.

/// The paragraphs of a comment, the lines of each joined.
pub(crate) fn paragraphs(comment: &str) -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    for line in comment.lines().map(str::trim) {
        let last = paragraphs.last_mut().expect("there is always one");
        if !line.is_empty() {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(line);
        } else if !last.is_empty() {
            paragraphs.push(String::new());
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    paragraphs
}

/// Sentences without their full stops. One ends where the next begins with a capital, or with the text; never in
/// parentheses.
pub(crate) fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let (mut begin, mut depth) = (0, 0_usize);
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '.' if depth == 0 => {
                let rest = &text[at + 1..];
                let next = rest.trim_start().chars().next();
                let is_end =
                    next.is_none_or(|next| rest.starts_with(char::is_whitespace) && !next.is_lowercase());
                if is_end {
                    sentences.push(text[begin..at].trim());
                    begin = at + 1;
                }
            }
            _ => {}
        }
    }
    let rest = text[begin..].trim();
    if !rest.is_empty() {
        sentences.push(rest);
    }
    sentences
}

/// The items of `A, B (remark), and C`, without the remarks.
pub(crate) fn comma_list(text: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut begin, mut depth) = (0, 0_usize);
    let ends = text.char_indices().chain([(text.len(), ',')]);
    for (at, character) in ends {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                let item = text[begin..at].trim();
                let item = item.strip_prefix("and ").unwrap_or(item);
                items.push(item.split_once(" (").map_or(item, |(item, _)| item));
                begin = at + 1;
            }
            _ => {}
        }
    }
    items
}

#[test]
fn comments_are_read_as_they_are_written() {
    let comment = " One line\n and the next.\n\n Another: `a.b` holds 1.5 (as here. And here).\n Errors: A, B (why, how), and C.\n";
    let read = paragraphs(comment);
    assert_eq!(read[0], "One line and the next.");
    let said = sentences(&read[1]);
    assert_eq!(said, ["Another: `a.b` holds 1.5 (as here. And here)", "Errors: A, B (why, how), and C"]);
    assert_eq!(comma_list(said[1].strip_prefix("Errors: ").expect("it begins so")), ["A", "B", "C"]);
}
