//! `docs/errors.md`: every reason of an error.

use super::described::{OF_ANY, Place, REASONS, RPCS, Reason, comment};
use super::markdown::{anchor, link, origin, table, text};
use crate::support::raw::API;

pub(super) fn page() -> String {
    let mut page = origin("proto/herald/v1/error_reason.proto");
    page += "# Errors\n\n";
    let reasons = API.get_enum_by_name("herald.v1.ErrorReason").expect("the API has reasons");
    page += &format!("{}\n\n", text(&comment(&reasons.parent_file(), reasons.path())));
    page += "The reasons are grouped by what the caller can do: correct the request, change something first, use another \
             key, wait and repeat.\n\n";
    let row = |reason: &Reason| {
        vec![
            link(reason.name, &format!("#{}", anchor(reason.name))),
            reason.code.clone(),
            text(&reason.cause),
        ]
    };
    page += &table(&["reason", "code", "cause"], REASONS.iter().map(row));
    for reason in REASONS.iter() {
        page += &section(reason);
    }
    page.truncate(page.trim_end().len());
    page + "\n"
}

fn section(reason: &Reason) -> String {
    let Reason { name, code, cause, cure, example, .. } = reason;
    format!(
        "## {name}\n\n{code}. {}\n\n**Cure.** {}\n\n**Who answers it.** {}\n\n```text\n{example}\n```\n\n",
        text(cause),
        text(cure),
        tellers(reason)
    )
}

/// The RPCs that document it.
fn tellers(reason: &Reason) -> String {
    if OF_ANY.contains(reason.name) {
        return "Any RPC.".to_owned();
    }
    let at = |place: Place| {
        let telling = RPCS.iter().filter(|rpc| rpc.errors.contains(&(place, reason.name)));
        let links = telling.map(|rpc| {
            let name = rpc.method.name();
            link(name, &format!("reference.md#{}", anchor(name)))
        });
        links.collect::<Vec<_>>().join(", ")
    };
    match (at(Place::Call), at(Place::Item)) {
        (calls, items) if calls.is_empty() && items.is_empty() => {
            "The server, where there is no such RPC.".to_owned()
        }
        (calls, items) if items.is_empty() => format!("{calls}."),
        (calls, items) if calls.is_empty() => format!("In an item of an answer: {items}."),
        (calls, items) => format!("{calls}. In an item of an answer: {items}."),
    }
}
