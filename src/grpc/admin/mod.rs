//! `AdminService`: clients, keys, prices, what went wrong, and the books, for operators. Whatever changes something
//! leaves an entry in the audit trail, in the same transaction (a replay of a dead letter: right after it).

mod clients;
mod keys;
mod ledger;
mod letters;
mod providers;
mod rates;
mod replay;
mod retention;
mod trail_list;

use std::sync::Arc;

use delivery::accept::prepare::is_printable;
use message::Timestamp;
use tonic::{Request, Response, Status};

use super::caller;
use super::faults::Faults;
use crate::app::App;
use crate::proto::v1;
use crate::proto::v1::admin_service_server::AdminService;
use crate::status;

/// Longest note, in characters.
const NOTE_MAX: usize = 256;
/// Longest word of a filter, in characters.
const WORD_MAX: usize = 128;

pub struct Admin {
    app: Arc<App>,
}

impl Admin {
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

/// The database's clock.
async fn now(app: &App) -> Result<Timestamp, Status> {
    app.store.now().await.map_err(status::store_error)
}

/// A note of at least `min` characters.
fn check_note(faults: &mut Faults, note: &str, min: usize) {
    let is_fine = (min..=NOTE_MAX).contains(&note.chars().count()) && is_printable(note);
    let problem = format!("must be {min} to 256 characters without control characters");
    faults.check("note", is_fine, &problem);
}

/// A word that a filter looks for; empty = all.
fn check_word(faults: &mut Faults, field: &'static str, word: &str) {
    let is_fine = word.chars().count() <= WORD_MAX && is_printable(word);
    faults.check(field, is_fine, "must be at most 128 characters without control characters");
}

/// A UUID as a page token carries it.
fn cursor_of(id: &uuid::Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn create_client(
        &self,
        request: Request<v1::CreateClientRequest>,
    ) -> Result<Response<v1::CreateClientResponse>, Status> {
        let operator = caller::operator(&self.app, &request)?;
        clients::create(&self.app, &operator, request.into_inner()).await
    }

    async fn get_client(
        &self,
        request: Request<v1::GetClientRequest>,
    ) -> Result<Response<v1::GetClientResponse>, Status> {
        let operator = caller::operator(&self.app, &request)?;
        clients::get(&self.app, &operator, request.get_ref()).await
    }

    async fn list_clients(
        &self,
        request: Request<v1::ListClientsRequest>,
    ) -> Result<Response<v1::ListClientsResponse>, Status> {
        caller::operator(&self.app, &request)?;
        clients::list(&self.app, request.into_inner()).await
    }

    async fn update_client(
        &self,
        request: Request<v1::UpdateClientRequest>,
    ) -> Result<Response<v1::UpdateClientResponse>, Status> {
        let operator = caller::operator(&self.app, &request)?;
        clients::update(&self.app, &operator, request.into_inner()).await
    }

    async fn suspend_client(
        &self,
        request: Request<v1::SuspendClientRequest>,
    ) -> Result<Response<v1::SuspendClientResponse>, Status> {
        let operator = caller::operator(&self.app, &request)?;
        clients::suspend(&self.app, &operator, request.into_inner()).await
    }

    async fn resume_client(
        &self,
        request: Request<v1::ResumeClientRequest>,
    ) -> Result<Response<v1::ResumeClientResponse>, Status> {
        let operator = caller::operator(&self.app, &request)?;
        clients::resume(&self.app, &operator, request.into_inner()).await
    }

    async fn create_api_key(
        &self,
        request: Request<v1::CreateApiKeyRequest>,
    ) -> Result<Response<v1::CreateApiKeyResponse>, Status> {
        let operator = caller::operator(&self.app, &request)?;
        keys::create(&self.app, &operator, request.into_inner()).await
    }

    async fn list_api_keys(
        &self,
        request: Request<v1::ListApiKeysRequest>,
    ) -> Result<Response<v1::ListApiKeysResponse>, Status> {
        caller::operator(&self.app, &request)?;
        keys::list(&self.app, request.get_ref()).await
    }

    async fn rotate_api_key(
        &self,
        request: Request<v1::RotateApiKeyRequest>,
    ) -> Result<Response<v1::RotateApiKeyResponse>, Status> {
        let operator = caller::operator(&self.app, &request)?;
        keys::rotate(&self.app, &operator, request.into_inner()).await
    }

    async fn revoke_api_key(
        &self,
        request: Request<v1::RevokeApiKeyRequest>,
    ) -> Result<Response<v1::RevokeApiKeyResponse>, Status> {
        let operator = caller::operator(&self.app, &request)?;
        keys::revoke(&self.app, &operator, &request.get_ref().key_id).await
    }

    async fn list_rates(
        &self,
        request: Request<v1::ListRatesRequest>,
    ) -> Result<Response<v1::ListRatesResponse>, Status> {
        caller::operator(&self.app, &request)?;
        rates::list(&self.app, request.get_ref()).await
    }

    async fn set_rates(
        &self,
        request: Request<v1::SetRatesRequest>,
    ) -> Result<Response<v1::SetRatesResponse>, Status> {
        let operator = caller::operator(&self.app, &request)?;
        rates::set(&self.app, &operator, request.into_inner().rates).await
    }

    async fn delete_rates(
        &self,
        request: Request<v1::DeleteRatesRequest>,
    ) -> Result<Response<v1::DeleteRatesResponse>, Status> {
        let operator = caller::operator(&self.app, &request)?;
        rates::delete(&self.app, &operator, request.into_inner().rates).await
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        caller::operator(&self.app, &request)?;
        letters::list(&self.app, request.into_inner()).await
    }

    async fn replay_dead_letters(
        &self,
        request: Request<v1::ReplayDeadLettersRequest>,
    ) -> Result<Response<v1::ReplayDeadLettersResponse>, Status> {
        let operator = caller::operator(&self.app, &request)?;
        replay::replay(&self.app, operator, request.into_inner()).await
    }

    async fn list_providers(
        &self,
        request: Request<v1::ListProvidersRequest>,
    ) -> Result<Response<v1::ListProvidersResponse>, Status> {
        caller::operator(&self.app, &request)?;
        Ok(Response::new(providers::list(&self.app)))
    }

    async fn create_provider_key(
        &self,
        request: Request<v1::CreateProviderKeyRequest>,
    ) -> Result<Response<v1::CreateProviderKeyResponse>, Status> {
        let operator = caller::operator(&self.app, &request)?;
        providers::create_key(&self.app, &operator, request.into_inner()).await
    }

    async fn list_provider_keys(
        &self,
        request: Request<v1::ListProviderKeysRequest>,
    ) -> Result<Response<v1::ListProviderKeysResponse>, Status> {
        caller::operator(&self.app, &request)?;
        providers::list_keys(&self.app).await
    }

    async fn revoke_provider_key(
        &self,
        request: Request<v1::RevokeProviderKeyRequest>,
    ) -> Result<Response<v1::RevokeProviderKeyResponse>, Status> {
        let operator = caller::operator(&self.app, &request)?;
        providers::revoke_key(&self.app, &operator, &request.get_ref().key_id).await
    }

    async fn list_unmatched_reports(
        &self,
        request: Request<v1::ListUnmatchedReportsRequest>,
    ) -> Result<Response<v1::ListUnmatchedReportsResponse>, Status> {
        caller::operator(&self.app, &request)?;
        letters::list_unmatched(&self.app, request.into_inner()).await
    }

    async fn get_retention(
        &self,
        request: Request<v1::GetRetentionRequest>,
    ) -> Result<Response<v1::GetRetentionResponse>, Status> {
        caller::operator(&self.app, &request)?;
        retention::get(&self.app).await
    }

    async fn update_retention(
        &self,
        request: Request<v1::UpdateRetentionRequest>,
    ) -> Result<Response<v1::UpdateRetentionResponse>, Status> {
        let operator = caller::operator(&self.app, &request)?;
        retention::update(&self.app, &operator, request.get_ref()).await
    }

    async fn list_audit_entries(
        &self,
        request: Request<v1::ListAuditEntriesRequest>,
    ) -> Result<Response<v1::ListAuditEntriesResponse>, Status> {
        caller::operator(&self.app, &request)?;
        trail_list::list(&self.app, request.into_inner()).await
    }

    type AuditLedgerStream = ledger::Audits;

    async fn audit_ledger(
        &self,
        request: Request<v1::AuditLedgerRequest>,
    ) -> Result<Response<Self::AuditLedgerStream>, Status> {
        let operator = caller::operator(&self.app, &request)?;
        ledger::audit(&self.app, &operator, &request.get_ref().client_id).await
    }
}
