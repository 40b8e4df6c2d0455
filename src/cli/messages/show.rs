//! A message for a person.

use herald_sdk::v1;

use crate::cli::output;

/// As a row of a list.
pub fn row(message: &v1::Message) -> Vec<String> {
    vec![
        message.id.clone(),
        output::status_name(message.status()).to_owned(),
        message.to.clone(),
        message.part_count.to_string(),
        format!("{} {}", output::money(message.price_micros), message.currency),
        output::time(message.create_time.as_ref()),
    ]
}

/// With its parts and its history.
pub fn whole(message: &v1::Message) -> String {
    let mut blocks = vec![facts(message)];
    if !message.parts.is_empty() {
        let parts: Vec<_> = message.parts.iter().map(part_row).collect();
        blocks.push(output::table(&["PART", "STATUS", "UNITS", "PROVIDER ID"], &parts));
    }
    if !message.history.is_empty() {
        let history: Vec<_> = message.history.iter().map(history_row).collect();
        blocks.push(output::table(&["TIME", "STATUS", "ATTEMPT", "PROVIDER", "FAILURE"], &history));
    }
    blocks.join("\n\n")
}

fn facts(message: &v1::Message) -> String {
    let labels: Vec<String> =
        message.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let octets =
        if message.data.is_empty() { String::new() } else { format!("{} octets", message.data.len()) };
    output::facts(&[
        ("id", message.id.clone()),
        ("status", output::status_name(message.status()).to_owned()),
        ("failure", output::failure(message.failure.as_ref())),
        ("to", message.to.clone()),
        ("from", message.sender.clone()),
        ("text", message.text.clone()),
        ("transliterated", output::yes(message.is_transliterated)),
        ("data", octets),
        ("encoding", output::word(message.encoding().as_str_name(), "ENCODING_")),
        ("national table", output::word(message.national_table().as_str_name(), "NATIONAL_TABLE_")),
        ("parts", message.part_count.to_string()),
        ("price", format!("{} {}", output::money(message.price_micros), message.currency)),
        ("credit", output::word(message.credit().as_str_name(), "CREDIT_")),
        ("priority", output::word(message.priority().as_str_name(), "PRIORITY_")),
        ("class", output::word(message.message_class().as_str_name(), "MESSAGE_CLASS_")),
        ("flash", output::yes(message.flash)),
        ("reference", message.reference.clone()),
        ("metadata", labels.join(" ")),
        ("attempts", message.attempt_count.to_string()),
        ("provider", message.provider.clone()),
        ("provider id", message.provider_message_id.clone()),
        ("replay of", message.replay_of.clone()),
        ("accepted", output::time(message.create_time.as_ref())),
        ("due", output::time(message.schedule_time.as_ref())),
        ("expires", output::time(message.expire_time.as_ref())),
    ])
}

fn part_row(part: &v1::Part) -> Vec<String> {
    vec![
        part.number.to_string(),
        output::status_name(part.status()).to_owned(),
        format!("{}/{}", part.units, part.unit_limit),
        part.provider_message_id.clone(),
    ]
}

fn history_row(change: &v1::StatusChange) -> Vec<String> {
    vec![
        output::time(change.time.as_ref()),
        output::status_name(change.status()).to_owned(),
        change.attempt.to_string(),
        change.provider.clone(),
        output::failure(change.failure.as_ref()),
    ]
}
