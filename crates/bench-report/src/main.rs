//! Arguments: the folder of the results, the document, the plot.

use std::path::PathBuf;

use anyhow::bail;

fn main() -> anyhow::Result<()> {
    let words: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [folder, document, plot] = words.as_slice() else {
        bail!("usage: bench-report FOLDER DOCUMENT PLOT")
    };
    bench_report::render(folder, document, plot)
}
