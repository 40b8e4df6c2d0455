//! The rows of a CSV file as messages, counted as a spreadsheet counts them: the one with the columns is row 1.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, bail};
use csv::{ReaderBuilder, StringRecord, StringRecordsIntoIter};
use herald_sdk::v1;

use crate::cli::parse;

/// What a column holds.
#[derive(Debug, PartialEq, Eq)]
enum Column {
    To,
    Text,
    From,
    Reference,
    At,
    Metadata(String),
}

/// One message, with its key.
pub struct Row {
    pub message: v1::SendMessageRequest,
}

/// The messages of a file, one by one.
pub struct Rows {
    name: String,
    columns: Vec<Column>,
    records: StringRecordsIntoIter<File>,
    /// The number of the row that was read last.
    number: u64,
    options: v1::SendMessageRequest,
    key: String,
}

impl Rows {
    /// Reads the row with the columns. `options` hold for each row that does not say otherwise.
    pub fn open(file: &Path, options: v1::SendMessageRequest, key: String) -> anyhow::Result<Self> {
        let name = file.display().to_string();
        let mut reader =
            ReaderBuilder::new().from_path(file).with_context(|| format!("cannot read {name}"))?;
        let header = reader.headers().with_context(|| format!("cannot read {name}"))?;
        let columns = columns(header).with_context(|| format!("{name}, row 1"))?;
        Ok(Self { name, columns, records: reader.into_records(), number: 1, options, key })
    }

    fn row(&self, record: &StringRecord) -> anyhow::Result<Row> {
        let mut message = self.options.clone();
        message.idempotency_key = format!("{}/{}", self.key, self.number);
        for (column, value) in self.columns.iter().zip(record) {
            put(&mut message, column, value)
                .with_context(|| format!("{}, row {}", self.name, self.number))?;
        }
        Ok(Row { message })
    }
}

impl Iterator for Rows {
    type Item = anyhow::Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.records.next()?;
        self.number += 1;
        let record = record.with_context(|| format!("{}, row {}", self.name, self.number));
        Some(record.and_then(|record| self.row(&record)))
    }
}

fn columns(header: &StringRecord) -> anyhow::Result<Vec<Column>> {
    let mut columns = Vec::new();
    for name in header {
        let column = match name.trim() {
            "to" => Column::To,
            "text" => Column::Text,
            "from" => Column::From,
            "reference" => Column::Reference,
            "at" => Column::At,
            other => match other.strip_prefix("metadata.") {
                Some(label) => Column::Metadata(label.to_owned()),
                None => bail!(
                    "there is no column {other:?}: they are to, text, from, reference, at and metadata.NAME"
                ),
            },
        };
        if columns.contains(&column) {
            bail!("the column {:?} is there twice", name.trim());
        }
        columns.push(column);
    }
    if !columns.contains(&Column::To) || !columns.contains(&Column::Text) {
        bail!("the columns to and text are needed");
    }
    Ok(columns)
}

/// An empty cell leaves what the options say.
fn put(message: &mut v1::SendMessageRequest, column: &Column, value: &str) -> anyhow::Result<()> {
    match column {
        Column::To => value.trim().clone_into(&mut message.to),
        Column::Text => value.clone_into(&mut message.text),
        _ if value.is_empty() => {}
        Column::From => value.clone_into(&mut message.sender),
        Column::Reference => value.clone_into(&mut message.reference),
        Column::At => {
            let time = parse::time_ahead(value.trim()).map_err(anyhow::Error::msg);
            message.schedule_time = Some(time.context("at")?);
        }
        Column::Metadata(label) => {
            message.metadata.insert(label.clone(), value.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(content: &str) -> anyhow::Result<Vec<v1::SendMessageRequest>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.csv");
        std::fs::write(&file, content).unwrap();
        let options = v1::SendMessageRequest { sender: "ACME".into(), flash: true, ..Default::default() };
        Rows::open(&file, options, "k".into())?.map(|row| row.map(|row| row.message)).collect()
    }

    #[test]
    fn a_row_is_a_message_with_a_key_of_its_own() {
        let content = "\u{feff}to,text,from,metadata.order\r\n+12025550100,\"Hello, you\nthere\",,7\r\n\
            +12025550101,Bye,Me,\r\n";
        let messages = read(content).unwrap();
        let texts: Vec<_> = messages.iter().map(|message| message.text.as_str()).collect();
        assert_eq!(texts, ["Hello, you\nthere", "Bye"]);
        let keys: Vec<_> = messages.iter().map(|message| message.idempotency_key.as_str()).collect();
        assert_eq!(keys, ["k/2", "k/3"], "a row of two lines is one");
        assert_eq!((messages[0].sender.as_str(), messages[1].sender.as_str()), ("ACME", "Me"));
        assert_eq!(messages[0].metadata["order"], "7");
        assert!(messages[1].metadata.is_empty() && messages[1].flash);
    }

    #[test]
    fn a_file_that_is_not_as_it_must_be_is_refused_with_its_row_and_without_its_texts() {
        for (content, told) in [
            ("to,text,colour\n", "row 1: there is no column \"colour\""),
            ("to,to,text\n", "row 1: the column \"to\" is there twice"),
            ("to\n+12025550100\n", "row 1: the columns to and text are needed"),
            ("", "row 1: the columns to and text are needed"),
            ("to,text\n+12025550100,secret,more\n", "row 2"),
            ("to,text,at\n+12025550100,secret,tomorrow\n", "row 2: at: it must be a time"),
        ] {
            let error = format!("{:#}", read(content).unwrap_err());
            assert!(error.contains(told), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
