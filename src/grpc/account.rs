//! `AccountService`: the "who am I" of every first minute.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::convert::client::client;
use super::convert::key::api_key;
use super::convert::{count, duration};
use super::{caller, find_client};
use crate::app::App;
use crate::auth::AuthError;
use crate::proto::v1;
use crate::proto::v1::account_service_server::AccountService;
use crate::status;

pub struct Account {
    app: Arc<App>,
}

impl Account {
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl AccountService for Account {
    async fn get_account(
        &self,
        request: Request<v1::GetAccountRequest>,
    ) -> Result<Response<v1::GetAccountResponse>, Status> {
        let principal = caller::principal(&self.app, &request)?;
        let key = self.app.store.api_key(&principal.key_id).await.map_err(status::store_error)?;
        // The key was verified a moment ago.
        let key = key.ok_or(AuthError::Invalid)?;
        if let Some(client) = principal.acting_for {
            caller::record_acting(&self.app, &principal, client, "AccountService.GetAccount").await?;
        }
        let owner = match principal.client() {
            None => None,
            Some(id) => Some(find_client(&self.app, id).await?.0),
        };
        let retention = self.app.store.retention().await.map_err(status::store_error)?;
        let account = v1::Account {
            client: owner.as_ref().map(client),
            api_key: Some(api_key(&key)),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: self.app.mode.to_owned(),
            event_retention: retention.events.map(duration),
            max_streams: count(self.app.places.per_key()),
        };
        Ok(Response::new(v1::GetAccountResponse { account: Some(account) }))
    }
}
