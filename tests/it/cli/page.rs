//! `docs/cli.md` has every verb, and no other.

use super::verbs;

#[tokio::test]
async fn the_page_has_each_verb_that_the_program_has_and_no_other() {
    let page = std::fs::read_to_string("docs/cli.md").expect("the page is there");
    let mut named: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("### herald ")).collect();
    named.sort_unstable();
    assert_eq!(named, verbs().await);
}

#[tokio::test]
async fn each_verb_of_the_page_has_an_example_that_begins_with_it() {
    let page = std::fs::read_to_string("docs/cli.md").expect("the page is there");
    for section in page.split("\n### ").skip(1) {
        let verb = section.lines().next().expect("a heading");
        let example = section.split("```").nth(1).unwrap_or_default();
        let begins = example.lines().any(|line| line == verb || line.starts_with(&format!("{verb} ")));
        assert!(begins, "{verb} has no example");
    }
}
