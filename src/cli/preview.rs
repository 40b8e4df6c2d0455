//! `herald preview TEXT`: how a text would be sent, and what it would cost.

use herald_sdk::v1;

use super::choice::{self, Encoding, NationalTable};
use super::connect::{Global, Output};
use super::exit::Failed;
use super::output;

/// Arguments of `herald preview`.
#[derive(clap::Args)]
pub struct Args {
    /// The text; `-` reads it from standard input.
    text: String,
    /// The recipient; without one there is no price.
    #[arg(long)]
    to: Option<String>,
    /// The sender; else the client's default.
    #[arg(long)]
    from: Option<String>,
    /// Refused if it cannot write the text; chosen if absent.
    #[arg(long, value_enum, ignore_case = true)]
    encoding: Option<Encoding>,
    /// Replace characters outside GSM-7 if that makes the whole text GSM-7.
    #[arg(long)]
    transliterate: bool,
    /// Try this national table.
    #[arg(long, value_enum, ignore_case = true, value_name = "TABLE")]
    national_table: Option<NationalTable>,
}

pub async fn run(global: &Global, args: Args) -> Result<(), Failed> {
    let has_price = args.to.is_some();
    let request = v1::PreviewMessageRequest {
        to: args.to.unwrap_or_default(),
        text: super::send::text(args.text)?,
        sender: args.from.unwrap_or_default(),
        encoding: choice::or_unspecified(args.encoding),
        transliterate: args.transliterate,
        national_table: choice::or_unspecified(args.national_table),
        ..Default::default()
    };
    let preview = global.client()?.preview(request).await?;
    match global.output {
        Output::Table => output::line(&show(&preview, has_price)),
        mode => output::json(mode, "PreviewMessageResponse", &preview),
    }
}

fn show(preview: &v1::PreviewMessageResponse, has_price: bool) -> String {
    let price = format!("{} {}", output::money(preview.price_micros), preview.currency);
    let facts = output::facts(&[
        ("encoding", output::word(preview.encoding().as_str_name(), "ENCODING_")),
        ("national table", output::word(preview.national_table().as_str_name(), "NATIONAL_TABLE_")),
        ("parts", preview.part_count.to_string()),
        ("units", preview.units.to_string()),
        ("price", if has_price { price } else { String::new() }),
        ("sent as", if preview.is_transliterated { preview.text.clone() } else { String::new() }),
    ]);
    let parts: Vec<_> = preview.parts.iter().map(part_row).collect();
    let mut blocks = vec![facts, output::table(&["PART", "UNITS", "TEXT"], &parts)];
    if !preview.forcing_characters.is_empty() {
        let characters: Vec<_> = preview.forcing_characters.iter().map(character_row).collect();
        blocks.push(output::table(&["OUTSIDE GSM-7", "CODE POINT", "AT", "REPLACEMENT"], &characters));
    }
    blocks.join("\n\n")
}

fn part_row(part: &v1::Part) -> Vec<String> {
    vec![part.number.to_string(), format!("{}/{}", part.units, part.unit_limit), part.text.clone()]
}

fn character_row(forcing: &v1::ForcingCharacter) -> Vec<String> {
    vec![
        forcing.character.clone(),
        forcing.code_point.clone(),
        forcing.index.to_string(),
        forcing.replacement.clone(),
    ]
}
