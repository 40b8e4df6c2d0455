//! The little Markdown that the pages need.

use std::fmt::Write as _;

/// Where a page comes from, for who would edit it.
pub(crate) fn origin(files: &str) -> String {
    format!(
        "<!-- Written from the comments of {files} by\n     {}\n     Do not edit. -->\n\n",
        super::COMMAND
    )
}

/// A table.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = String::new();
    line(&mut table, head.iter().map(|cell| (*cell).to_owned()));
    line(&mut table, head.iter().map(|_| "---".to_owned()));
    for row in rows {
        line(&mut table, row.into_iter());
    }
    table.push('\n');
    table
}

fn line(table: &mut String, cells: impl Iterator<Item = String>) {
    table.push('|');
    for cell in cells {
        // Paragraphs of a cell are lines of it.
        let cell = cell.replace('|', "\\|").replace("\n\n", "<br>").replace('\n', " ");
        write!(table, " {cell} |").expect("a string takes all");
    }
    table.push('\n');
}

/// Text as it was written in a comment: code stays code, and nothing else has a meaning.
pub(crate) fn text(comment: &str) -> String {
    let parts = comment.split('`').enumerate();
    let escaped = parts.map(|(at, part)| {
        let is_code = at % 2 == 1;
        if is_code { format!("`{part}`") } else { part.replace('<', "&lt;").replace('*', "\\*") }
    });
    escaped.collect()
}

pub(super) fn link(text: &str, to: &str) -> String {
    format!("[{text}]({to})")
}

/// The anchor of a heading, as GitHub makes it.
pub(super) fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || "_- ".contains(*letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The anchors of a page's headings.
pub(super) fn anchors(page: &str) -> impl Iterator<Item = String> {
    page.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches(['#', ' '])))
}

/// What a page links to.
pub(super) fn links(page: &str) -> impl Iterator<Item = &str> {
    page.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}
