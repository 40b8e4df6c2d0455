//! The audit trail, to be read.

use delivery::model::AuditEntry;
use delivery::port::AuditFilter;
use message::id::{AuditEntryId, ClientId};
use prost::Message;
use tonic::{Response, Status};
use uuid::Uuid;

use super::{check_word, cursor_of};
use crate::app::App;
use crate::grpc::convert::audit::audit_entry;
use crate::grpc::faults::Faults;
use crate::grpc::page;
use crate::proto::v1;
use crate::status;
use crate::token::PageOf;

pub async fn list(
    app: &App,
    asked: v1::ListAuditEntriesRequest,
) -> Result<Response<v1::ListAuditEntriesResponse>, Status> {
    let mut faults = Faults::default();
    let size = page::size(&mut faults, asked.page_size);
    check_word(&mut faults, "key_id", &asked.key_id);
    check_word(&mut faults, "action", &asked.action);
    let client = (!asked.client_id.is_empty())
        .then(|| faults.take("client_id", asked.client_id.parse::<ClientId>()))
        .flatten();
    faults.into_result()?;
    let client_told = client.map(|id| id.to_string()).unwrap_or_default();
    let filter = [asked.key_id.as_str(), &client_told, &asked.action];
    let (list, tokens) = (PageOf::new("audit_entries", &filter), &app.tokens);
    let before = page::cursor(tokens, page::OPERATORS, &list, &asked.page_token)?;
    let before = before.map(|id| AuditEntryId::from_uuid(Uuid::from_bytes(id)));

    let filter = AuditFilter { key_id: asked.key_id, client, action: asked.action };
    let read = app.store.audit_entries(&filter, before, page::read_limit(size), page::SCAN_MAX).await;
    let read = read.map_err(status::store_error)?;
    let place = |last: &AuditEntry| last.id;
    let cursor = |id: AuditEntryId| cursor_of(id.as_uuid());
    let (entries, mut next_page_token) =
        page::cut_scanned(tokens, page::OPERATORS, &list, read, size, place, cursor);
    let mut audit_entries: Vec<v1::AuditEntry> = entries.iter().map(audit_entry).collect();
    // An entry of thousands of prices is large.
    if page::fit(&mut audit_entries, v1::AuditEntry::encoded_len) {
        let last = &entries[audit_entries.len() - 1];
        next_page_token = tokens.page(page::OPERATORS, &list, &cursor(last.id));
    }
    Ok(Response::new(v1::ListAuditEntriesResponse { audit_entries, next_page_token }))
}
