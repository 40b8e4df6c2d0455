//! `herald send TO TEXT`.

use anyhow::{Context, anyhow};
use herald_sdk::v1::message::Status;
use herald_sdk::{Client, Item, Receipt, v1};

use super::connect::{Global, Output};
use super::exit::{Failed, UNDELIVERED};
use super::output;

/// Arguments of `herald send`.
#[derive(clap::Args)]
pub struct Args {
    /// The recipient in E.164 form, such as +12025550100.
    to: String,
    /// The text; `-` reads it from standard input.
    text: String,
    /// A name of up to 11 characters, a number or a short code; else the client's default.
    #[arg(long)]
    from: Option<String>,
    /// The idempotency key: the same key and message are sent once. Made if absent.
    #[arg(long)]
    key: Option<String>,
    /// Your own reference, told in every report.
    #[arg(long)]
    reference: Option<String>,
    /// Your own label; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    metadata: Vec<(String, String)>,
    /// How long attempts may begin.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(1..=604_800))]
    validity: Option<i64>,
    /// Refused if it cannot write the text; chosen if absent.
    #[arg(long, value_enum)]
    encoding: Option<Encoding>,
    /// Refuse the message if it needs more parts.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=255))]
    max_parts: Option<i32>,
    /// Refuse the message if it costs more.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    max_price_micros: Option<i64>,
    /// What happens when nobody knows an attempt's outcome; else the client's default.
    #[arg(long, value_enum)]
    on_unknown: Option<OnUnknown>,
    /// Wait until the message is final, and tell each step. Exit code 10: it ended undelivered.
    #[arg(long)]
    wait: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Encoding {
    Gsm7,
    Ucs2,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum OnUnknown {
    /// Never sent again: a report or the settlement decides.
    Wait,
    /// Sent again after a time; the recipient may get it twice.
    Resend,
}

pub async fn run(global: &Global, args: Args) -> Result<(), Failed> {
    let client = global.client()?;
    let wait = args.wait;
    let request = request(args)?;
    // The position before the message exists: nothing of what follows is missed.
    let token = if wait { position(&client, global).await? } else { String::new() };
    let receipt = client.send(request).await?;
    if !wait || global.output != Output::Json {
        print(global.output, &receipt)?;
    }
    if !wait {
        return Ok(());
    }
    let id = &receipt.message.id;
    let ended = match ended_before(&client, &receipt).await? {
        Some(status) => {
            if global.output == Output::Table {
                output::line(&format!("it is {} already", output::status_name(status)))?;
            }
            status
        }
        None => follow(&client, global.output, id, token).await?,
    };
    if global.output == Output::Json {
        output::json(global.output, "Message", &client.get_message(id).await?)?;
    }
    if ended == Status::Delivered {
        return Ok(());
    }
    Err(Failed::new(UNDELIVERED, anyhow!("message {id} ended as {}", output::status_name(ended))))
}

fn request(args: Args) -> Result<v1::SendMessageRequest, Failed> {
    let text = if args.text == "-" { read_text()? } else { args.text };
    let encoding = match args.encoding {
        Some(Encoding::Gsm7) => v1::Encoding::Gsm7,
        Some(Encoding::Ucs2) => v1::Encoding::Ucs2,
        None => v1::Encoding::Unspecified,
    };
    let on_unknown = match args.on_unknown {
        Some(OnUnknown::Wait) => v1::OnUnknown::Wait,
        Some(OnUnknown::Resend) => v1::OnUnknown::Resend,
        None => v1::OnUnknown::Unspecified,
    };
    Ok(v1::SendMessageRequest {
        to: args.to,
        text,
        sender: args.from.unwrap_or_default(),
        idempotency_key: args.key.unwrap_or_default(),
        reference: args.reference.unwrap_or_default(),
        metadata: args.metadata.into_iter().collect(),
        encoding: encoding.into(),
        max_parts: args.max_parts.unwrap_or_default(),
        max_price_micros: args.max_price_micros.unwrap_or_default(),
        validity_period: args.validity.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
        on_unknown: on_unknown.into(),
        ..Default::default()
    })
}

/// The text on standard input, without the line end that `echo` adds.
fn read_text() -> Result<String, Failed> {
    let text =
        std::io::read_to_string(std::io::stdin()).context("cannot read the text from standard input")?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
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
    let encoding = message.encoding().as_str_name();
    output::line(&output::facts(&[
        ("id", message.id.clone()),
        ("status", output::status_name(message.status()).to_owned()),
        ("encoding", encoding.strip_prefix("ENCODING_").unwrap_or(encoding).to_owned()),
        ("parts", message.part_count.to_string()),
        ("price", format!("{} {}", output::money(message.price_micros), message.currency)),
        (
            "replayed",
            if receipt.replayed { "yes: the same key was used before".into() } else { String::new() },
        ),
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
    fn a_label_is_split_at_its_first_equals_sign() {
        assert_eq!(label("order=a=b"), Ok(("order".to_owned(), "a=b".to_owned())));
        assert!(label("order").is_err());
    }

    #[test]
    fn ten_and_up_is_final() {
        assert!(is_final(Status::Delivered) && is_final(Status::FailedPerm) && is_final(Status::Expired));
        assert!(!is_final(Status::Queued) && !is_final(Status::Sent) && !is_final(Status::Unknown));
    }
}
