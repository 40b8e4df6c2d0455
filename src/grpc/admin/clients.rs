//! Clients: made, listed, and changed by whoever has seen their last change.

use delivery::accept::prepare::is_idempotency_key;
use delivery::model::{AuditEntry, Client, ClientState};
use delivery::port::{ClientFilter, Created, Creation, StoreError};
use message::id::ClientId;
use tonic::{Response, Status};
use uuid::Uuid;

use super::{check_note, check_word, cursor_of, now};
use crate::app::App;
use crate::auth::Principal;
use crate::grpc::convert::client::{changed, check_mask, client, fingerprint, read_client, read_state};
use crate::grpc::convert::entropy;
use crate::grpc::faults::{Faults, read_id};
use crate::grpc::trail::{self, Deed};
use crate::grpc::{find_client, page, replayed};
use crate::proto::v1;
use crate::proto_json::proto_json;
use crate::status;
use crate::token::PageOf;

/// Tries of a change that others make at the same time.
const TRIES: u32 = 5;

pub async fn create(
    app: &App,
    operator: &Principal,
    asked: v1::CreateClientRequest,
) -> Result<Response<v1::CreateClientResponse>, Status> {
    let told = asked.client.unwrap_or_default();
    let now = now(app).await?;
    let mut faults = Faults::default();
    let key = asked.idempotency_key;
    let is_key = key.is_empty() || is_idempotency_key(&key);
    faults.check("idempotency_key", is_key, "must be 1 to 128 visible ASCII characters");
    let made = read_client(&mut faults, &told, now, entropy());
    faults.into_result()?;

    let creation = (!key.is_empty()).then(|| Creation { key, fingerprint: fingerprint(&told) });
    let deed = Deed::new("AdminService.CreateClient", Some(made.id)).change("", proto_json(&client(&made)));
    let entry = trail::entry(app, operator, deed).await?;
    let (made, is_replay) = match store_created(app, &made, creation.as_ref(), &entry).await? {
        Created::New => (made, false),
        Created::Before(first, was) if creation.is_some_and(|now| now.fingerprint == was) => (*first, true),
        Created::Before(..) => return Err(status::idempotency_key_reused()),
    };
    Ok(replayed(v1::CreateClientResponse { client: Some(client(&made)) }, is_replay))
}

/// One of several that race for a key may lose, and then finds the client that another made.
async fn store_created(
    app: &App,
    made: &Client,
    creation: Option<&Creation>,
    entry: &AuditEntry,
) -> Result<Created, Status> {
    let mut tries = 1;
    loop {
        match app.store.create_client(made, creation, entry).await {
            Err(StoreError::Conflict) if tries < TRIES => tries += 1,
            done => return done.map_err(status::store_error),
        }
    }
}

pub async fn get(
    app: &App,
    operator: &Principal,
    asked: &v1::GetClientRequest,
) -> Result<Response<v1::GetClientResponse>, Status> {
    let id: ClientId = read_id("client_id", &asked.client_id)?;
    trail::log(&operator.key_id, Some(id), "AdminService.GetClient");
    let (found, _) = find_client(app, id).await?;
    Ok(Response::new(v1::GetClientResponse { client: Some(client(&found)) }))
}

pub async fn list(
    app: &App,
    asked: v1::ListClientsRequest,
) -> Result<Response<v1::ListClientsResponse>, Status> {
    let mut faults = Faults::default();
    let size = page::size(&mut faults, asked.page_size);
    let state = read_state(&mut faults, "state", asked.state);
    check_word(&mut faults, "name_prefix", &asked.name_prefix);
    faults.into_result()?;
    let (list, tokens) =
        (PageOf::new("clients", &[&asked.state.to_string(), &asked.name_prefix]), &app.tokens);
    let after = page::cursor(tokens, page::OPERATORS, &list, &asked.page_token)?;
    let after = after.map(|id| ClientId::from_uuid(Uuid::from_bytes(id)));

    let filter = ClientFilter { state, name_prefix: asked.name_prefix };
    let read = app.store.clients(&filter, after, page::read_limit(size), page::SCAN_MAX).await;
    let read = read.map_err(status::store_error)?;
    let cursor = |id: ClientId| cursor_of(id.as_uuid());
    let (clients, next_page_token) =
        page::cut_scanned(tokens, page::OPERATORS, &list, read, size, |last: &Client| last.id, cursor);
    let clients = clients.iter().map(client).collect();
    Ok(Response::new(v1::ListClientsResponse { clients, next_page_token }))
}

pub async fn update(
    app: &App,
    operator: &Principal,
    asked: v1::UpdateClientRequest,
) -> Result<Response<v1::UpdateClientResponse>, Status> {
    let told = asked.client.unwrap_or_default();
    let mask = asked.update_mask.unwrap_or_default().paths;
    let mut faults = Faults::default();
    let id = faults.take("client.id", told.id.parse::<ClientId>());
    check_mask(&mut faults, &mask);
    let Some(id) = id else { return Err(faults.into_status()) };
    faults.into_result()?;
    let deed = Deed::new("AdminService.UpdateClient", Some(id));
    let client = change(app, operator, id, deed, |before| {
        let mut faults = Faults::default();
        let after = changed(&mut faults, before, &told, &mask);
        faults.into_result().map(|()| after)
    });
    Ok(Response::new(v1::UpdateClientResponse { client: Some(client.await?) }))
}

pub async fn suspend(
    app: &App,
    operator: &Principal,
    asked: v1::SuspendClientRequest,
) -> Result<Response<v1::SuspendClientResponse>, Status> {
    let (id, note) = read_standing(&asked.client_id, asked.note, 1)?;
    let deed = Deed::new("AdminService.SuspendClient", Some(id)).note(&note);
    let client = change(app, operator, id, deed, |before| {
        let suspended = ClientState::Suspended;
        Ok(Client { state: suspended, suspend_reason: note.clone(), ..before.clone() })
    });
    Ok(Response::new(v1::SuspendClientResponse { client: Some(client.await?) }))
}

pub async fn resume(
    app: &App,
    operator: &Principal,
    asked: v1::ResumeClientRequest,
) -> Result<Response<v1::ResumeClientResponse>, Status> {
    let (id, note) = read_standing(&asked.client_id, asked.note, 0)?;
    let deed = Deed::new("AdminService.ResumeClient", Some(id)).note(note);
    let client = change(app, operator, id, deed, |before| {
        Ok(Client { state: ClientState::Active, suspend_reason: String::new(), ..before.clone() })
    });
    Ok(Response::new(v1::ResumeClientResponse { client: Some(client.await?) }))
}

/// Whose state is to change, and why.
fn read_standing(client_id: &str, note: String, note_min: usize) -> Result<(ClientId, String), Status> {
    let mut faults = Faults::default();
    let id = faults.take("client_id", client_id.parse::<ClientId>());
    check_note(&mut faults, &note, note_min);
    let Some(id) = id else { return Err(faults.into_status()) };
    faults.into_result()?;
    Ok((id, note))
}

/// Reads the client, changes it, and writes it unless someone else did so in the meantime; then begins again. A change
/// of nothing is not written.
async fn change(
    app: &App,
    operator: &Principal,
    id: ClientId,
    deed: Deed,
    change: impl Fn(&Client) -> Result<Client, Status>,
) -> Result<v1::Client, Status> {
    let mut tries = 1;
    loop {
        let (before, _) = find_client(app, id).await?;
        let after = change(&before)?;
        let told = client(&after);
        if after == before {
            return Ok(told);
        }
        let deed = deed.clone().change(proto_json(&client(&before)), proto_json(&told));
        let entry = trail::entry(app, operator, deed).await?;
        match app.store.update_client(&after, &entry).await {
            Ok(true) => {
                app.gate.forget(id);
                return Ok(told);
            }
            Ok(false) => return Err(status::not_found("Client", &id.to_string())),
            Err(StoreError::Conflict) if tries < TRIES => tries += 1,
            Err(error) => return Err(status::store_error(error)),
        }
    }
}
