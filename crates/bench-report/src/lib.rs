//! Renders the results of the standard benchmark, for docs/performance.md: tables between its markers, and a plot beside it.
//!
//! A folder holds what `herald bench -o json` printed, a file for each run, in the order of their names; and `machine.txt`, a
//! sentence on where and when they ran. It measures nothing.

mod document;
mod plot;
mod run;
mod tables;

use std::path::Path;

use anyhow::{Context, bail};

pub use document::{BEGIN, END};

use run::Results;

/// What the folder's runs are told of: where, when, and at which revision.
const MACHINE: &str = "machine.txt";

/// Rewrites what stands between the markers of `document`, and `plot` (SVG).
pub fn render(folder: &Path, document: &Path, plot: &Path) -> anyhow::Result<()> {
    let machine = folder.join(MACHINE);
    let machine =
        std::fs::read_to_string(&machine).with_context(|| format!("cannot read {}", machine.display()))?;
    let results = Results::read(folder)?;
    if results.is_empty() {
        bail!("{} holds no results", folder.display());
    }
    let text =
        std::fs::read_to_string(document).with_context(|| format!("cannot read {}", document.display()))?;
    let name = plot.file_name().and_then(|name| name.to_str()).context("the plot's name is no text")?;
    let picture = format!("![Latency against throughput, both logarithmic]({name})");
    let told = format!("{}\n\n{picture}\n\n{}", machine.trim(), tables::all(&results));
    let text = document::replace(&text, &told).with_context(|| format!("in {}", document.display()))?;
    let drawn = plot::draw(&results)?;
    std::fs::write(document, text)?;
    std::fs::write(plot, drawn)?;
    Ok(())
}
