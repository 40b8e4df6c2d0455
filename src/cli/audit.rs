//! `herald audit`: what operators did.

use herald_sdk::v1;

use super::connect::Global;
use super::exit::Failed;
use super::output;
use super::page::{Limit, Shape};

/// Arguments of `herald audit`.
#[derive(clap::Args)]
pub struct Args {
    /// Only of this operator's key, by its id.
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
    /// Only this action, such as AdminService.UpdateClient.
    #[arg(long)]
    action: Option<String>,
    #[command(flatten)]
    limit: Limit,
}

const ENTRIES: Shape<v1::AuditEntry> = Shape {
    name: "AuditEntry",
    header: &["TIME", "KEY", "ACTION", "CLIENT", "TARGET", "NOTE", "REQUEST ID"],
    row,
};

pub async fn run(global: &Global, args: Args) -> Result<(), Failed> {
    let operator = global.operator()?;
    let filter = v1::ListAuditEntriesRequest {
        key_id: args.key_id.unwrap_or_default(),
        client_id: global.subject(),
        action: args.action.unwrap_or_default(),
        ..Default::default()
    };
    let fetch = async |page_size, page_token| {
        let request = v1::ListAuditEntriesRequest { page_size, page_token, ..filter.clone() };
        operator.list_audit_entries(request).await.map(|page| (page.audit_entries, page.next_page_token))
    };
    ENTRIES.list(global.output, &args.limit, fetch).await
}

fn row(entry: &v1::AuditEntry) -> Vec<String> {
    vec![
        output::time(entry.time.as_ref()),
        if entry.key_id.is_empty() { "server".to_owned() } else { entry.key_id.clone() },
        entry.action.clone(),
        entry.client_id.clone(),
        entry.target.clone(),
        entry.note.clone(),
        entry.request_id.clone(),
    ]
}
