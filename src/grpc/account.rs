//! `AccountService`: the "who am I" of every first minute.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::convert::client;
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
        let principal = caller::principal(&request)?;
        let key = self.app.store.api_key(&principal.key_id).await.map_err(status::store_error)?;
        // The key was verified a moment ago.
        let key = key.ok_or(AuthError::Invalid)?;
        let owner = match principal.client() {
            None => None,
            Some(id) => Some(find_client(&self.app, id).await?.0),
        };
        let account = v1::Account {
            client: owner.as_ref().map(client::client),
            api_key: Some(client::api_key(&key)),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: self.app.mode.to_owned(),
        };
        Ok(Response::new(v1::GetAccountResponse { account: Some(account) }))
    }
}
