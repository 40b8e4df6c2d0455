//! `herald quote`: what a campaign would cost.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use herald_sdk::{Client, v1};

use super::choice::{self, Encoding};
use super::connect::{Global, Output};
use super::exit::{Failed, summary};
use super::output;

/// Most recipients of one call.
const RECIPIENTS: usize = 1_000;

/// Arguments of `herald quote`.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("recipients").required(true).args(["to", "file"]))]
#[command(group = clap::ArgGroup::new("size").required(true).args(["text", "parts"]))]
pub struct Args {
    /// The text of each message; `-` reads it from standard input.
    text: Option<String>,
    /// Parts of each message, in the place of a text.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=255))]
    parts: Option<i32>,
    /// A recipient; may be repeated.
    #[arg(long)]
    to: Vec<String>,
    /// A file of recipients, one a line. Empty lines and lines that begin with # are passed over.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Refused if it cannot write the text; chosen if absent.
    #[arg(long, value_enum, ignore_case = true, conflicts_with = "parts")]
    encoding: Option<Encoding>,
}

pub async fn run(global: &Global, args: Args) -> Result<(), Failed> {
    let recipients = match &args.file {
        Some(file) => read(file).map_err(|error| Failed::new(2, error))?,
        None => args.to,
    };
    let campaign = v1::QuoteRequest {
        to: Vec::new(),
        text: args.text.map(super::send::text).transpose()?.unwrap_or_default(),
        part_count: args.parts.unwrap_or_default(),
        encoding: choice::or_unspecified(args.encoding),
    };
    let quote = price(&global.client()?, &campaign, &recipients).await?;
    match global.output {
        Output::Table => output::line(&show(&quote)),
        mode => output::json(mode, "QuoteResponse", &quote),
    }
}

/// Asks as often as it takes, and adds up.
async fn price(
    client: &Client,
    campaign: &v1::QuoteRequest,
    recipients: &[String],
) -> Result<v1::QuoteResponse, Failed> {
    let mut whole = v1::QuoteResponse::default();
    for some in recipients.chunks(RECIPIENTS) {
        let answer = client.quote(v1::QuoteRequest { to: some.to_vec(), ..campaign.clone() }).await?;
        let total = whole.total_micros.checked_add(answer.total_micros);
        let total = total.ok_or_else(|| anyhow!("the sum is too large"))?;
        let mut lines = std::mem::take(&mut whole.lines);
        lines.extend(answer.lines);
        whole = v1::QuoteResponse { lines, total_micros: total, ..answer };
    }
    whole.is_affordable =
        whole.total_micros <= whole.available_micros && whole.lines.iter().all(|line| line.error.is_none());
    Ok(whole)
}

fn read(file: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let recipients: Vec<String> =
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect();
    if recipients.is_empty() {
        anyhow::bail!("{} has no recipients", file.display());
    }
    Ok(recipients)
}

fn show(quote: &v1::QuoteResponse) -> String {
    let with_currency = |micros| format!("{} {}", output::money(micros), quote.currency);
    let rows: Vec<_> = quote.lines.iter().map(row).collect();
    let header = ["TO", "COUNTRY", "RATE", "PARTS", "PART PRICE", "PRICE", "REFUSED"];
    let facts = output::facts(&[
        ("recipients", quote.lines.len().to_string()),
        ("total", with_currency(quote.total_micros)),
        ("available", with_currency(quote.available_micros)),
        ("affordable", if quote.is_affordable { "yes" } else { "no" }.to_owned()),
    ]);
    format!("{}\n\n{facts}", output::table(&header, &rows))
}

fn row(line: &v1::QuoteLine) -> Vec<String> {
    if let Some(error) = &line.error {
        let refused = summary(&error.clone().into());
        let mut row = vec![line.to.clone(), line.country.clone()];
        row.resize(6, String::new());
        row.push(refused);
        return row;
    }
    vec![
        line.to.clone(),
        line.country.clone(),
        if line.rate_prefix.is_empty() { "default".to_owned() } else { format!("+{}", line.rate_prefix) },
        line.part_count.to_string(),
        output::money(line.part_price_micros),
        output::money(line.price_micros),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_has_one_recipient_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("numbers.txt");
        std::fs::write(&file, "\u{feff}+12025550100\r\n\n# these, too\n +12025550101 \n").unwrap();
        assert_eq!(read(&file).unwrap(), ["+12025550100", "+12025550101"]);
        std::fs::write(&file, "# nobody\n").unwrap();
        assert!(read(&file).is_err());
    }
}
