//! `docs/reference.md`: every service, RPC, message and enum.

use prost_reflect::{
    Cardinality, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};

use super::described::{REASONS, RPCS, Rpc, comment, services};
use super::markdown::{anchor, link, origin, table, text};
use crate::support::raw::{API, PACKAGE};

pub(super) fn page() -> String {
    let mut page = origin("proto/herald/v1");
    page += "# Reference\n\n";
    page += &format!(
        "Every RPC, message and enum of `{PACKAGE}`. How they fit together is told in [api.md](api.md), what each error means in \
         [errors.md](errors.md).\n\n"
    );
    let contents = services().map(|service| {
        let rpcs = service.methods().map(|method| here(method.name()));
        vec![here(service.name()), rpcs.collect::<Vec<_>>().join(", ")]
    });
    page += &table(&["service", "RPCs"], contents);
    for service in services() {
        page += &service_section(&service);
    }
    page += "## Messages\n\n";
    for message in files().flat_map(|file| messages(&file)) {
        page += &message_section(&message);
    }
    page += "## Enums\n\n";
    for described in files().flat_map(|file| enums(&file)) {
        page += &enum_section(&described);
    }
    page.truncate(page.trim_end().len());
    page + "\n"
}

fn files() -> impl Iterator<Item = FileDescriptor> {
    API.files().filter(|file| file.package_name() == PACKAGE)
}

fn here(name: &str) -> String {
    link(name, &format!("#{}", anchor(name)))
}

// ---- services

fn service_section(service: &ServiceDescriptor) -> String {
    let said = text(&comment(&service.parent_file(), service.path()));
    let mut section = format!("## {}\n\n{}\n\n", service.name(), reasons_linked(&said));
    for rpc in RPCS.iter().filter(|rpc| rpc.method.parent_service().name() == service.name()) {
        section += &rpc_section(rpc);
    }
    section
}

fn rpc_section(rpc: &Rpc) -> String {
    let about = text(&rpc.about.join("\n\n"));
    let mut rows =
        vec![vec!["request".to_owned(), sent(&rpc.method)], vec!["answer".to_owned(), answered(&rpc.method)]];
    let mut tell = |what: &str, words: &str| {
        if !words.is_empty() {
            rows.push(vec![what.to_owned(), reasons_linked(&text(words))]);
        }
    };
    tell("permission", &rpc.permission);
    tell("repeating", &rpc.repeating);
    for (of, words) in &rpc.error_words {
        let of = of.strip_prefix("Errors").map(|of| format!("errors{of}"));
        tell(&of.expect("it begins so"), words);
    }
    format!("### {}\n\n{}\n\n{}", rpc.method.name(), reasons_linked(&about), table(&["", ""], rows))
}

fn sent(method: &MethodDescriptor) -> String {
    streamed(method.is_client_streaming(), &method.input())
}

fn answered(method: &MethodDescriptor) -> String {
    streamed(method.is_server_streaming(), &method.output())
}

fn streamed(is_stream: bool, message: &MessageDescriptor) -> String {
    let stream = if is_stream { "stream of " } else { "" };
    format!("{stream}{}", here(message.name()))
}

/// Each reason as a link to what it means.
fn reasons_linked(words: &str) -> String {
    let is_of_word = |letter: char| letter.is_ascii_uppercase() || letter == '_';
    let mut linked = String::new();
    let mut rest = words;
    while let Some(begin) = rest.find(is_of_word) {
        let end =
            rest[begin..].find(|letter| !is_of_word(letter)).map_or(rest.len(), |length| begin + length);
        let (before, word) = (&rest[..begin], &rest[begin..end]);
        linked += before;
        let is_reason = REASONS.iter().any(|reason| reason.name == word);
        linked +=
            &if is_reason { link(word, &format!("errors.md#{}", anchor(word))) } else { word.to_owned() };
        rest = &rest[end..];
    }
    linked + rest
}

// ---- messages

/// The messages of a file, each followed by those in it.
fn messages(file: &FileDescriptor) -> Vec<MessageDescriptor> {
    let mut messages = Vec::new();
    for message in file.messages() {
        let inner = message.child_messages().filter(|inner| !inner.is_map_entry());
        let inner: Vec<_> = inner.collect();
        messages.push(message);
        messages.extend(inner);
    }
    messages
}

fn message_section(message: &MessageDescriptor) -> String {
    let said = text(&comment(&message.parent_file(), message.path()));
    let mut section = format!("### {}\n\n{said}\n\n", short(message.full_name()));
    let rows: Vec<Vec<String>> = message.fields().map(|field| field_row(&field)).collect();
    if rows.is_empty() {
        section += "No fields.\n\n";
    } else {
        section += &table(&["field", "type", "meaning"], rows);
    }
    section
}

fn field_row(field: &FieldDescriptor) -> Vec<String> {
    let said = text(&comment(&field.parent_file(), field.path()));
    let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
    let one_of = oneof.map(|oneof| format!(", one of `{}`", oneof.name())).unwrap_or_default();
    vec![format!("`{}`", field.name()), format!("{}{one_of}", type_of(field)), said]
}

fn type_of(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(entry) if entry.is_map_entry() => {
            let [key, value] =
                [entry.map_entry_key_field(), entry.map_entry_value_field()].map(|of| type_of(&of));
            format!("map of {key} to {value}")
        }
        kind if field.cardinality() == Cardinality::Repeated => format!("repeated {}", kind_name(&kind)),
        kind => kind_name(&kind),
    }
}

fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => type_link(message.full_name()),
        Kind::Enum(described) => type_link(described.full_name()),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

fn type_link(full_name: &str) -> String {
    let name = short(full_name);
    if name == full_name { format!("`{name}`") } else { here(name) }
}

/// Without our package, as in `Message.Status`.
fn short(full_name: &str) -> &str {
    full_name.strip_prefix(PACKAGE).and_then(|name| name.strip_prefix('.')).unwrap_or(full_name)
}

// ---- enums

/// The enums of a file, also those in its messages. The reasons of errors have a page of their own.
fn enums(file: &FileDescriptor) -> Vec<EnumDescriptor> {
    let inner = file.messages().flat_map(|message| message.child_enums().collect::<Vec<_>>());
    let all = file.enums().chain(inner);
    all.filter(|described| described.name() != "ErrorReason").collect()
}

fn enum_section(described: &EnumDescriptor) -> String {
    let said = text(&comment(&described.parent_file(), described.path()));
    let rows = described.values().map(|value| {
        let meaning = text(&comment(&described.parent_file(), value.path()));
        vec![format!("`{}`", value.name()), value.number().to_string(), meaning]
    });
    let values = table(&["value", "number", "meaning"], rows);
    format!("### {}\n\n{said}\n\n{values}", short(described.full_name()))
}
