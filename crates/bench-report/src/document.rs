//! The part of a document that is generated.

use anyhow::Context;

/// The line before it.
pub const BEGIN: &str = "<!-- bench:begin -->";
/// The line after it.
pub const END: &str = "<!-- bench:end -->";

/// The text with `told` between the markers; all else stays.
pub(crate) fn replace(text: &str, told: &str) -> anyhow::Result<String> {
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("there is no {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("there is no {END} after {BEGIN}"))?;
    Ok(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", told.trim()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let text = "# Title\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nThe end.\n";
        let once = replace(text, "new").unwrap();
        assert_eq!(once, "# Title\n<!-- bench:begin -->\n\nnew\n\n<!-- bench:end -->\nThe end.\n");
        assert_eq!(replace(&once, "new").unwrap(), once);
    }

    #[test]
    fn a_document_without_both_markers_in_order_is_an_error() {
        for text in ["", BEGIN, END, "<!-- bench:end -->\n<!-- bench:begin -->\n"] {
            assert!(replace(text, "new").is_err(), "{text}");
        }
    }
}
