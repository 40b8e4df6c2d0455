//! The pages that are written from the comments of the API and of the settings, and say what they say.

pub(crate) mod described;
mod errors;
pub(crate) mod markdown;
mod prose;
mod reference;

use std::path::Path;

use crate::configuration;

/// Set to write the pages instead of comparing them.
const UPDATE: &str = "HERALD_UPDATE_DOCS";
/// How to write them.
const COMMAND: &str = "HERALD_UPDATE_DOCS=1 cargo test -p herald --test it docs";

fn pages() -> [(&'static str, String); 3] {
    [
        ("configuration.md", configuration::page()),
        ("errors.md", errors::page()),
        ("reference.md", reference::page()),
    ]
}

#[test]
fn the_pages_say_what_the_comments_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for (name, page) in pages() {
        let file = folder.join(name);
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&file, page).expect("the page can be written");
            continue;
        }
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        let line = page.lines().zip(written.lines()).position(|(is, was)| is != was);
        let line = line.unwrap_or_else(|| page.lines().count().min(written.lines().count())) + 1;
        assert!(page == written, "docs/{name} is out of date from line {line} on. Run:\n  {COMMAND}");
    }
}

#[test]
fn every_link_in_the_pages_leads_somewhere() {
    let pages = pages();
    for (name, page) in &pages {
        for link in markdown::links(page).filter(|link| !link.starts_with("http")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { name } else { file };
            match pages.iter().find(|(name, _)| *name == file) {
                Some((_, page)) if !anchor.is_empty() => {
                    let found = markdown::anchors(page).filter(|found| found == anchor).count();
                    assert_eq!(found, 1, "{name} links to {link}");
                }
                Some(_) => {}
                None => {
                    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file);
                    assert!(file.exists(), "{name} links to {link}");
                }
            }
        }
    }
}
