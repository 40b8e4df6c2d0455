//! Operators' work: every call needs an operator's key. What changes something is not repeated by itself, except where
//! an idempotency key makes it safe.

use futures_util::stream::{Stream, TryStreamExt};
use tonic::Streaming;

use super::{Client, fill_key, present, unary};
use crate::error::Error;
use crate::v1;

/// Clients.
impl Client {
    /// Makes a client. A request without an idempotency key gets one, and keeps it across retries.
    pub async fn create_client(&self, mut request: v1::CreateClientRequest) -> Result<v1::Client, Error> {
        fill_key(&mut request.idempotency_key);
        present(unary!(self, Safe, admin.create_client(request))?.client, "client")
    }

    /// One client.
    pub async fn get_client(&self, client_id: impl Into<String>) -> Result<v1::Client, Error> {
        let request = v1::GetClientRequest { client_id: client_id.into() };
        present(unary!(self, Safe, admin.get_client(request))?.client, "client")
    }

    /// A page of clients, oldest first.
    pub async fn list_clients(
        &self,
        request: v1::ListClientsRequest,
    ) -> Result<v1::ListClientsResponse, Error> {
        unary!(self, Safe, admin.list_clients(request))
    }

    /// Changes the settings that `update_mask` names.
    pub async fn update_client(&self, request: v1::UpdateClientRequest) -> Result<v1::Client, Error> {
        present(unary!(self, Never, admin.update_client(request))?.client, "client")
    }

    /// Refuses the client's new sends; the note says why.
    pub async fn suspend_client(&self, request: v1::SuspendClientRequest) -> Result<v1::Client, Error> {
        present(unary!(self, Never, admin.suspend_client(request))?.client, "client")
    }

    /// Lets the client send again.
    pub async fn resume_client(&self, request: v1::ResumeClientRequest) -> Result<v1::Client, Error> {
        present(unary!(self, Never, admin.resume_client(request))?.client, "client")
    }
}

/// API keys and providers' credentials.
impl Client {
    /// Makes an API key; the answer alone holds the secret.
    pub async fn create_api_key(
        &self,
        request: v1::CreateApiKeyRequest,
    ) -> Result<v1::CreateApiKeyResponse, Error> {
        unary!(self, Never, admin.create_api_key(request))
    }

    /// A page of API keys, by id.
    pub async fn list_api_keys(
        &self,
        request: v1::ListApiKeysRequest,
    ) -> Result<v1::ListApiKeysResponse, Error> {
        unary!(self, Safe, admin.list_api_keys(request))
    }

    /// Makes a key in the place of another, which goes on for a while; the answer alone holds the secret.
    pub async fn rotate_api_key(
        &self,
        request: v1::RotateApiKeyRequest,
    ) -> Result<v1::RotateApiKeyResponse, Error> {
        unary!(self, Never, admin.rotate_api_key(request))
    }

    /// Ends a key.
    pub async fn revoke_api_key(&self, key_id: impl Into<String>) -> Result<v1::ApiKey, Error> {
        let request = v1::RevokeApiKeyRequest { key_id: key_id.into() };
        present(unary!(self, Never, admin.revoke_api_key(request))?.api_key, "api_key")
    }

    /// Makes a credential with which a provider may push reports; the answer alone holds the secret.
    pub async fn create_provider_key(
        &self,
        request: v1::CreateProviderKeyRequest,
    ) -> Result<v1::CreateProviderKeyResponse, Error> {
        unary!(self, Never, admin.create_provider_key(request))
    }

    /// Every provider's credentials.
    pub async fn list_provider_keys(&self) -> Result<Vec<v1::ProviderKey>, Error> {
        Ok(unary!(self, Safe, admin.list_provider_keys(v1::ListProviderKeysRequest {}))?.provider_keys)
    }

    /// Ends a provider's credential.
    pub async fn revoke_provider_key(&self, key_id: impl Into<String>) -> Result<v1::ProviderKey, Error> {
        let request = v1::RevokeProviderKeyRequest { key_id: key_id.into() };
        present(unary!(self, Never, admin.revoke_provider_key(request))?.provider_key, "provider_key")
    }
}

/// Prices.
impl Client {
    /// A page of prices, by currency and prefix.
    pub async fn list_rates(&self, request: v1::ListRatesRequest) -> Result<v1::ListRatesResponse, Error> {
        unary!(self, Safe, admin.list_rates(request))
    }

    /// Sets up to 5,000 prices, all or none; how many.
    pub async fn set_rates(&self, rates: Vec<v1::Rate>) -> Result<i32, Error> {
        Ok(unary!(self, Never, admin.set_rates(v1::SetRatesRequest { rates }))?.set_count)
    }

    /// Removes prices; how many there were.
    pub async fn delete_rates(&self, rates: Vec<v1::Rate>) -> Result<i32, Error> {
        Ok(unary!(self, Never, admin.delete_rates(v1::DeleteRatesRequest { rates }))?.deleted_count)
    }
}

/// Operation.
impl Client {
    /// A page of messages that ended by exhaustion, newest first.
    pub async fn list_dead_letters(
        &self,
        request: v1::ListDeadLettersRequest,
    ) -> Result<v1::ListDeadLettersResponse, Error> {
        unary!(self, Safe, admin.list_dead_letters(request))
    }

    /// Sends dead letters again: the outcomes are as many as letters, in their order.
    pub async fn replay_dead_letters(
        &self,
        request: v1::ReplayDeadLettersRequest,
    ) -> Result<v1::ReplayDeadLettersResponse, Error> {
        unary!(self, Never, admin.replay_dead_letters(request))
    }

    /// How the providers of the answering node do.
    pub async fn list_providers(&self) -> Result<Vec<v1::Provider>, Error> {
        Ok(unary!(self, Safe, admin.list_providers(v1::ListProvidersRequest {}))?.providers)
    }

    /// A page of provider reports that match no message, newest first.
    pub async fn list_unmatched_reports(
        &self,
        request: v1::ListUnmatchedReportsRequest,
    ) -> Result<v1::ListUnmatchedReportsResponse, Error> {
        unary!(self, Safe, admin.list_unmatched_reports(request))
    }

    /// How long things are kept.
    pub async fn retention(&self) -> Result<v1::Retention, Error> {
        let answer = unary!(self, Safe, admin.get_retention(v1::GetRetentionRequest {}))?;
        present(answer.retention, "retention")
    }

    /// Sets how long things are kept: all of them.
    pub async fn update_retention(&self, retention: v1::Retention) -> Result<v1::Retention, Error> {
        let request = v1::UpdateRetentionRequest { retention: Some(retention) };
        present(unary!(self, Never, admin.update_retention(request))?.retention, "retention")
    }

    /// A page of what operators did, newest first.
    pub async fn list_audit_entries(
        &self,
        request: v1::ListAuditEntriesRequest,
    ) -> Result<v1::ListAuditEntriesResponse, Error> {
        unary!(self, Safe, admin.list_audit_entries(request))
    }

    /// Checks the books; one item a client. It has no deadline, and does not resume.
    pub async fn audit_ledger(
        &self,
        request: v1::AuditLedgerRequest,
    ) -> Result<impl Stream<Item = Result<v1::AuditLedgerResponse, Error>> + Send + Unpin + use<>, Error>
    {
        let frames: Streaming<_> = self.raw.admin().audit_ledger(request).await?.into_inner();
        Ok(frames.map_err(Error::from))
    }
}
