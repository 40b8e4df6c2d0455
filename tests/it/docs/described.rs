//! The API as its descriptors and their comments describe it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use herald_sdk::v1::ErrorReason;
use prost_reflect::{FileDescriptor, MethodDescriptor, ServiceDescriptor};

use super::prose::{comma_list, paragraphs, sentences};
use crate::support::raw::{self, API};

/// The service whose comment names the errors of every RPC.
const NAMING: &str = "MessagingService";

/// Where an error is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The call, or the stream, ends with it.
    Call,
    /// The call is answered, and one item of the answer has it.
    Item,
}

/// An RPC as its comment describes it.
pub(crate) struct Rpc {
    pub(crate) method: MethodDescriptor,
    /// What it does, in paragraphs.
    pub(crate) about: Vec<String>,
    /// As in `scope SEND`.
    pub(crate) permission: String,
    /// Whether it may be repeated; empty = nothing is said.
    pub(crate) repeating: String,
    /// What is said of its errors, by what it is said of, as in (`Errors of an outcome`, `those of SendMessage`).
    pub(crate) error_words: Vec<(String, String)>,
    /// The same, read: those of any RPC are not among them.
    pub(crate) errors: BTreeSet<(Place, &'static str)>,
}

/// A reason of an error as its comment describes it.
pub(crate) struct Reason {
    /// As in `INVALID_FIELD`.
    pub(crate) name: &'static str,
    pub(crate) value: ErrorReason,
    /// As in `INVALID_ARGUMENT`.
    pub(crate) code: String,
    pub(crate) cause: String,
    pub(crate) cure: String,
    pub(crate) example: String,
    /// What the example has in its metadata.
    pub(crate) metadata: BTreeSet<String>,
}

/// Every RPC, service by service.
pub(crate) static RPCS: LazyLock<Vec<Rpc>> = LazyLock::new(|| {
    let mut rpcs: Vec<Rpc> = services().flat_map(|service| read_service(&service)).collect();
    for at in 0..rpcs.len() {
        let read = rpcs[at].error_words.iter().flat_map(|(of, words)| read_errors(&rpcs, of, words));
        rpcs[at].errors = read.collect();
    }
    rpcs
});

/// Every reason but UNSPECIFIED, by number.
pub(crate) static REASONS: LazyLock<Vec<Reason>> = LazyLock::new(|| {
    let reasons = API.get_enum_by_name("herald.v1.ErrorReason").expect("the API has reasons");
    let mut reasons: Vec<Reason> = reasons
        .values()
        .filter(|value| value.number() != 0)
        .map(|value| read_reason(value.name(), &comment(&value.parent_enum().parent_file(), value.path())))
        .collect();
    reasons.sort_by_key(|reason| reason.value as i32);
    reasons
});

/// The errors of any RPC.
pub(crate) static OF_ANY: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    let naming = services().find(|service| service.name() == NAMING).expect("the service is there");
    let text = comment(&naming.parent_file(), naming.path());
    let named = sentences(&text).into_iter().find_map(|said| said.strip_prefix("Errors of any RPC: "));
    comma_list(named.expect("it names the errors of any RPC")).into_iter().map(reason_name).collect()
});

/// The services of the API: first those of clients, most used first.
pub(crate) fn services() -> impl Iterator<Item = ServiceDescriptor> {
    const FIRST: [&str; 4] = ["MessagingService", "EventService", "BillingService", "AccountService"];
    let ours = API.services().filter(|service| service.parent_file().package_name() == raw::PACKAGE);
    let mut services: Vec<_> = ours.collect();
    services
        .sort_by_key(|service| FIRST.iter().position(|name| *name == service.name()).unwrap_or(FIRST.len()));
    services.into_iter()
}

/// What is documented of the reason.
pub(crate) fn reason(value: ErrorReason) -> &'static Reason {
    REASONS.iter().find(|reason| reason.value == value).expect("every reason is described")
}

/// The comment at a place of a file, its lines joined; paragraphs stay apart.
pub(crate) fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let source = file.file_descriptor_proto().source_code_info.as_ref().expect("the build keeps comments");
    let location = source.location.iter().find(|location| location.path == path);
    let comment = location.map(|location| location.leading_comments()).unwrap_or_default();
    paragraphs(comment).join("\n\n")
}

fn read_service(service: &ServiceDescriptor) -> Vec<Rpc> {
    let said = comment(&service.parent_file(), service.path());
    let of_every =
        sentences(&said).into_iter().find_map(|said| said.strip_prefix("Permission of every RPC: "));
    service.methods().map(|method| read_rpc(method, of_every.unwrap_or_default())).collect()
}

fn read_rpc(method: MethodDescriptor, permission: &str) -> Rpc {
    let said = comment(&method.parent_service().parent_file(), method.path());
    let mut rpc = Rpc {
        method,
        about: Vec::new(),
        permission: permission.to_owned(),
        repeating: String::new(),
        error_words: Vec::new(),
        errors: BTreeSet::new(),
    };
    for paragraph in said.split("\n\n") {
        let mut about = Vec::new();
        for sentence in sentences(paragraph) {
            if let Some(permission) = sentence.strip_prefix("Permission: ") {
                rpc.permission = permission.to_owned();
            } else if sentence.starts_with("Idempotent") || sentence.starts_with("Not idempotent") {
                rpc.repeating = sentence.to_owned();
            } else if let Some((of, words)) =
                sentence.split_once(": ").filter(|(of, _)| of.starts_with("Errors"))
            {
                rpc.error_words.push((of.to_owned(), words.to_owned()));
            } else if sentence != "Errors are those that MessagingService names" {
                about.push(format!("{sentence}."));
            }
        }
        if !about.is_empty() {
            rpc.about.push(about.join(" "));
        }
    }
    rpc
}

/// `A, B (remark), and those of SendMessage but C and D; a remark`.
fn read_errors(rpcs: &[Rpc], of: &str, words: &str) -> Vec<(Place, &'static str)> {
    let place = match of {
        "Errors" | "Errors of the call" | "Errors of the stream" => Place::Call,
        "Errors of an outcome" | "Errors of a line" => Place::Item,
        other => panic!("{other:?}: of what are these errors?"),
    };
    let listed = words.split(';').next().unwrap_or_default();
    let mut errors = Vec::new();
    for item in comma_list(listed) {
        let Some(others) = item.strip_prefix("those of ") else {
            errors.push((place, reason_name(item)));
            continue;
        };
        let (other, but) = others.split_once(" but ").unwrap_or((others, ""));
        let other = rpcs.iter().find(|rpc| rpc.method.name() == other).expect("it names another RPC");
        let (_, words) = other.error_words.first().expect("the other RPC has errors");
        let but: Vec<&str> = but.split(" and ").collect();
        let named = comma_list(words).into_iter().map(reason_name).filter(|name| !but.contains(name));
        errors.extend(named.map(|name| (place, name)));
    }
    errors
}

fn reason_name(word: &str) -> &'static str {
    let known = REASONS.iter().find(|reason| reason.name == word);
    known.unwrap_or_else(|| panic!("{word:?} is no reason of an error")).name
}

/// `CODE. The cause.`, then `Cure: ...` and `Example: ...`.
fn read_reason(name: &str, said: &str) -> Reason {
    let value = ErrorReason::from_str_name(name).expect("the SDK knows every reason");
    let (said, example) = said.split_once(" Example: ").unwrap_or_else(|| panic!("{name} has no example"));
    let (said, cure) = said.split_once(" Cure: ").unwrap_or_else(|| panic!("{name} has no cure"));
    let (code, cause) = said.split_once(". ").unwrap_or_else(|| panic!("{name} has no code"));
    let metadata =
        example.split_once("metadata: {").map(|(_, rest)| rest.trim_end_matches('}')).unwrap_or_default();
    // A value in quotes may hold anything, but the names stand outside of them.
    let outside = metadata.split('"').step_by(2);
    let names = outside.filter_map(|text| text.trim_start_matches([',', ' ']).strip_suffix(": "));
    Reason {
        name: value.as_str_name().trim_start_matches("ERROR_REASON_"),
        value,
        code: code.to_owned(),
        cause: cause.to_owned(),
        cure: cure.to_owned(),
        example: example.to_owned(),
        metadata: names.map(str::to_owned).collect(),
    }
}

#[test]
fn the_comments_can_be_read() {
    let errors = |name: &str| {
        let rpc = RPCS.iter().find(|rpc| rpc.method.name() == name).expect("the RPC exists");
        rpc.errors.clone()
    };
    assert!(errors("SendMessage").contains(&(Place::Call, "OUTCOME_UNCERTAIN")), "a remark is no reason");
    let streamed = errors("StreamMessages");
    assert!(streamed.contains(&(Place::Item, "IDEMPOTENCY_KEY_REQUIRED")));
    assert!(
        streamed.contains(&(Place::Item, "NO_RATE")) && !streamed.contains(&(Place::Item, "RATE_LIMITED"))
    );
    assert!(streamed.contains(&(Place::Call, "INVALID_FIELD")));
    assert!(errors("GetBalance").is_empty());
    assert!(OF_ANY.contains("SHUTTING_DOWN"));
    let metadata = &reason(ErrorReason::InsufficientCredit).metadata;
    assert_eq!(metadata.iter().collect::<Vec<_>>(), ["available_micros", "currency", "need_micros"]);
    assert_eq!(reason(ErrorReason::TextNotEncodable).metadata.iter().collect::<Vec<_>>(), ["characters"]);
    assert!(RPCS.iter().all(|rpc| !rpc.about.is_empty()));
}
