//! `herald send TO TEXT`, and a file of messages.

mod file;

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use herald_sdk::v1::message::Status;
use herald_sdk::{Client, Item, Receipt, new_idempotency_key, v1};
use prost_types::Timestamp;

use super::choice::{self, Class, Encoding, NationalTable, OnUnknown, Priority};
use super::connect::{Global, Output};
use super::exit::{Failed, UNDELIVERED};
use super::output;
use super::parse;

/// Arguments of `herald send`.
#[derive(clap::Args)]
pub struct Args {
    /// The recipient in E.164 form, such as +12025550100.
    #[arg(required_unless_present = "file")]
    to: Option<String>,
    /// The text; `-` reads it from standard input.
    #[arg(required_unless_present = "file")]
    text: Option<String>,
    /// Send the messages of a CSV file in the place of one. Its first row names its columns: to, text, and if you like
    /// from, reference, at and metadata.NAME, which win over the options. Exit code 3: some were refused.
    #[arg(long, value_name = "FILE.csv", conflicts_with_all = ["to", "text", "wait"])]
    file: Option<PathBuf>,
    /// The idempotency key: the same key and message are sent once. With --file the key of each is made of it and the
    /// row's number. Made if absent.
    #[arg(long)]
    key: Option<String>,
    /// Wait until the message is final, and tell each step. Exit code 10: it ended undelivered.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    options: Options,
}

/// How a message is sent.
#[derive(clap::Args)]
struct Options {
    /// A name of up to 11 characters, a number or a short code; else the client's default.
    #[arg(long)]
    from: Option<String>,
    /// Your own reference, told in every report.
    #[arg(long)]
    reference: Option<String>,
    /// Your own label; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse::label)]
    metadata: Vec<(String, String)>,
    /// When it is due: an RFC 3339 time, or a span from now such as +10m.
    #[arg(long, value_name = "TIME", value_parser = parse::time_ahead)]
    at: Option<Timestamp>,
    /// How long attempts may begin, such as 10m or 48h; a bare number is seconds.
    #[arg(long, value_name = "SPAN", value_parser = parse::span)]
    validity: Option<prost_types::Duration>,
    /// Refused if it cannot write the text; chosen if absent.
    #[arg(long, value_enum, ignore_case = true)]
    encoding: Option<Encoding>,
    /// Replace characters outside GSM-7 if that makes the whole text GSM-7.
    #[arg(long)]
    transliterate: bool,
    /// Try this national table.
    #[arg(long, value_enum, ignore_case = true, value_name = "TABLE")]
    national_table: Option<NationalTable>,
    /// Refuse the message if it needs more parts.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=255))]
    max_parts: Option<i32>,
    /// Refuse the message if it costs more, in whole units such as 0.05.
    #[arg(long, value_name = "AMOUNT", value_parser = parse::amount)]
    max_price: Option<i64>,
    /// Which messages it goes before.
    #[arg(long, value_enum, ignore_case = true)]
    priority: Option<Priority>,
    /// Show it at once and do not keep it.
    #[arg(long)]
    flash: bool,
    /// What it is for.
    #[arg(long, value_enum, ignore_case = true)]
    class: Option<Class>,
    /// What happens when nobody knows an attempt's outcome; else the client's default.
    #[arg(long, value_enum, ignore_case = true)]
    on_unknown: Option<OnUnknown>,
}

pub async fn run(global: &Global, args: Args) -> Result<(), Failed> {
    let key = args.key.unwrap_or_else(new_idempotency_key);
    let options = args.options.into_request();
    if let Some(file) = args.file {
        return file::run(global, file, options, key).await;
    }
    let (Some(to), Some(written)) = (args.to, args.text) else {
        return Err(Failed::new(2, anyhow!("a recipient and a text are needed")));
    };
    let request = v1::SendMessageRequest { to, text: text(written)?, idempotency_key: key, ..options };
    send_one(global, request, args.wait).await
}

async fn send_one(global: &Global, request: v1::SendMessageRequest, wait: bool) -> Result<(), Failed> {
    let client = global.client()?;
    // The position before the message exists: nothing of what follows is missed.
    let token = if wait { position(&client, global).await? } else { String::new() };
    let key = request.idempotency_key.clone();
    let sent = client.send(request).await;
    let receipt = sent.map_err(|error| Failed::of_keyed_call(error, &key))?;
    if !wait || global.output != Output::Json {
        print(global.output, &receipt)?;
    }
    if wait { see_through(&client, global.output, &receipt, token).await } else { Ok(()) }
}

/// Follows the message to its end.
async fn see_through(client: &Client, mode: Output, receipt: &Receipt, token: String) -> Result<(), Failed> {
    let id = &receipt.message.id;
    let ended = match ended_before(client, receipt).await? {
        Some(status) => {
            if mode == Output::Table {
                output::line(&format!("it is {} already", output::status_name(status)))?;
            }
            status
        }
        None => follow(client, mode, id, token).await?,
    };
    if mode == Output::Json {
        output::json(mode, "Message", &client.get_message(id).await?)?;
    }
    if ended == Status::Delivered {
        return Ok(());
    }
    Err(Failed::new(UNDELIVERED, anyhow!("message {id} ended as {}", output::status_name(ended))))
}

impl Options {
    /// A request that lacks its recipient, its text and its key.
    fn into_request(self) -> v1::SendMessageRequest {
        v1::SendMessageRequest {
            sender: self.from.unwrap_or_default(),
            reference: self.reference.unwrap_or_default(),
            metadata: self.metadata.into_iter().collect(),
            encoding: choice::or_unspecified(self.encoding),
            transliterate: self.transliterate,
            national_table: choice::or_unspecified(self.national_table),
            max_parts: self.max_parts.unwrap_or_default(),
            max_price_micros: self.max_price.unwrap_or_default(),
            schedule_time: self.at,
            validity_period: self.validity,
            priority: choice::or_unspecified(self.priority),
            flash: self.flash,
            message_class: choice::or_unspecified(self.class),
            on_unknown: choice::or_unspecified(self.on_unknown),
            ..Default::default()
        }
    }
}

/// The text as given; `-` stands for standard input, without the line end that `echo` adds.
pub fn text(given: String) -> Result<String, Failed> {
    if given != "-" {
        return Ok(given);
    }
    let text =
        std::io::read_to_string(std::io::stdin()).context("cannot read the text from standard input")?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// The end of the client's log as of now.
async fn position(client: &Client, global: &Global) -> Result<String, Failed> {
    let reports = client.subscribe_delivery_reports(v1::SubscribeDeliveryReportsRequest::default());
    let first = reports.give_up_after(Some(global.patience())).next().await;
    Ok(first.context("the server ended the stream")??.resume_token)
}

fn print(mode: Output, receipt: &Receipt) -> Result<(), Failed> {
    let message = &receipt.message;
    if mode != Output::Table {
        return output::json(mode, "Message", message);
    }
    output::line(&output::facts(&[
        ("id", message.id.clone()),
        ("status", output::status_name(message.status()).to_owned()),
        ("encoding", output::word(message.encoding().as_str_name(), "ENCODING_")),
        ("parts", message.part_count.to_string()),
        ("price", format!("{} {}", output::money(message.price_micros), message.currency)),
        ("due", output::time(message.schedule_time.as_ref())),
        ("replayed", output::replayed(receipt.replayed)),
    ]))
}

/// A replayed message may have ended long ago, and then no report follows.
async fn ended_before(client: &Client, receipt: &Receipt) -> Result<Option<Status>, Failed> {
    if !receipt.replayed {
        return Ok(None);
    }
    let status = client.get_message(&receipt.message.id).await?.status();
    Ok(is_final(status).then_some(status))
}

/// Tells each step of the message until it is final.
async fn follow(client: &Client, mode: Output, id: &str, resume_token: String) -> Result<Status, Failed> {
    let message_ids = vec![id.to_owned()];
    let request = v1::SubscribeDeliveryReportsRequest { resume_token, message_ids, ..Default::default() };
    let mut reports = client.subscribe_delivery_reports(request);
    while let Some(frame) = reports.next().await {
        let Item::Entry(report) = frame?.item else { continue };
        match mode {
            Output::Table => output::line(&super::watch::report_line(&report))?,
            Output::Jsonl => output::json(mode, "DeliveryReport", &report)?,
            Output::Json => {}
        }
        if report.is_final && !report.ignored {
            return Ok(report.status());
        }
    }
    Err(anyhow!("the stream ended before the message did").into())
}

/// 10 and up is final.
fn is_final(status: Status) -> bool {
    i32::from(status) >= 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_and_up_is_final() {
        assert!(is_final(Status::Delivered) && is_final(Status::FailedPerm) && is_final(Status::Expired));
        assert!(!is_final(Status::Queued) && !is_final(Status::Sent) && !is_final(Status::Unknown));
    }
}
