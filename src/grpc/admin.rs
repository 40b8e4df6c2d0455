//! `AdminService`: clients, keys and the books, for operators.

use std::sync::Arc;

use delivery::model::ApiKey;
use delivery::reconcile::{self, Audit};
use message::id::ClientId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::convert::client::{api_key, check_name, client, read_client, read_scopes};
use super::convert::{entropy, read_timestamp};
use super::faults::{Faults, read_id};
use super::{caller, find_client};
use crate::app::App;
use crate::auth::key::IssuedKey;
use crate::proto::v1;
use crate::proto::v1::admin_service_server::AdminService;
use crate::status;

/// Clients read at once, and audits that wait for a slow reader.
const PAGE: i64 = 100;
const FRAMES: usize = 16;

pub struct Admin {
    app: Arc<App>,
}

impl Admin {
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn create_client(
        &self,
        request: Request<v1::CreateClientRequest>,
    ) -> Result<Response<v1::CreateClientResponse>, Status> {
        let operator = caller::operator(&request)?;
        let told = request.into_inner().client.unwrap_or_default();
        let now = self.app.store.now().await.map_err(status::store_error)?;
        let made = read_client(&told, now, entropy())?;
        self.app.store.create_client(&made).await.map_err(status::store_error)?;
        caller::audit(&operator, Some(made.id), "CreateClient");
        Ok(Response::new(v1::CreateClientResponse { client: Some(client(&made)) }))
    }

    async fn get_client(
        &self,
        request: Request<v1::GetClientRequest>,
    ) -> Result<Response<v1::GetClientResponse>, Status> {
        let operator = caller::operator(&request)?;
        let id: ClientId = read_id("client_id", &request.get_ref().client_id)?;
        caller::audit(&operator, Some(id), "GetClient");
        let (found, _) = find_client(&self.app, id).await?;
        Ok(Response::new(v1::GetClientResponse { client: Some(client(&found)) }))
    }

    async fn create_api_key(
        &self,
        request: Request<v1::CreateApiKeyRequest>,
    ) -> Result<Response<v1::CreateApiKeyResponse>, Status> {
        let operator = caller::operator(&request)?;
        let told = request.into_inner();
        let now = self.app.store.now().await.map_err(status::store_error)?;
        let mut faults = Faults::default();
        check_name(&mut faults, "name", &told.name);
        let is_operators = told.client_id.is_empty();
        let scopes = read_scopes(&mut faults, is_operators, &told.scopes);
        let expire_at = read_timestamp(&mut faults, "expire_time", told.expire_time);
        faults.check("expire_time", expire_at.is_none_or(|at| at > now), "must be in the future");
        let owner =
            (!is_operators).then(|| faults.take("client_id", told.client_id.parse::<ClientId>())).flatten();
        faults.into_result()?;
        let is_sandbox = match owner {
            None => false,
            Some(id) => find_client(&self.app, id).await?.0.is_sandbox,
        };

        let issued = IssuedKey::generate(is_sandbox, &mut rand::rng());
        let row = ApiKey {
            id: issued.id.clone(),
            client: owner,
            name: told.name,
            scopes,
            secret_hash: self.hash(issued.clone()).await?,
            fingerprint: issued.fingerprint(self.app.authenticator.pepper()).to_vec(),
            created_at: now,
            expire_at,
            revoked_at: None,
        };
        self.app.store.create_api_key(&row).await.map_err(status::store_error)?;
        caller::audit(&operator, owner, "CreateApiKey");
        let secret = issued.whole.expose().to_owned();
        Ok(Response::new(v1::CreateApiKeyResponse { api_key: Some(api_key(&row)), secret }))
    }

    type AuditLedgerStream = ReceiverStream<Result<v1::AuditLedgerResponse, Status>>;

    async fn audit_ledger(
        &self,
        request: Request<v1::AuditLedgerRequest>,
    ) -> Result<Response<Self::AuditLedgerStream>, Status> {
        let operator = caller::operator(&request)?;
        let asked = request.into_inner().client_id;
        let one = if asked.is_empty() { None } else { Some(read_id("client_id", &asked)?) };
        if let Some(id) = one {
            find_client(&self.app, id).await?;
        }
        caller::audit(&operator, one, "AuditLedger");
        let (frames, sent) = mpsc::channel(FRAMES);
        tokio::spawn(audit_into(self.app.clone(), one, frames));
        Ok(Response::new(ReceiverStream::new(sent)))
    }
}

impl Admin {
    /// bcrypt takes milliseconds, which are not the runtime's to spend.
    async fn hash(&self, issued: IssuedKey) -> Result<String, Status> {
        let cost = self.app.authenticator.cost;
        let hashed = tokio::task::spawn_blocking(move || issued.hash(cost)).await;
        let hashed = hashed.map_err(|error| status::internal(&error))?;
        hashed.map_err(|error| status::internal(&error))
    }
}

/// Audits one client or all, a frame each, until the caller leaves or the server stops.
async fn audit_into(
    app: Arc<App>,
    one: Option<ClientId>,
    frames: mpsc::Sender<Result<v1::AuditLedgerResponse, Status>>,
) {
    let audited = async {
        if let Some(id) = one {
            return audit_each(&app, &[id], &frames).await;
        }
        let mut after = None;
        loop {
            let clients = app.store.clients(after, PAGE).await.map_err(status::store_error)?;
            let ids: Vec<ClientId> = clients.iter().map(|client| client.id).collect();
            let Some(last) = ids.last() else { return Ok(()) };
            after = Some(*last);
            audit_each(&app, &ids, &frames).await?;
        }
    };
    let ended = tokio::select! {
        ended = audited => ended,
        () = app.streams_end.cancelled() => Err(status::shutting_down()),
        () = frames.closed() => return,
    };
    if let Err(error) = ended {
        let _ = frames.send(Err(error)).await;
    }
}

async fn audit_each(
    app: &App,
    ids: &[ClientId],
    frames: &mpsc::Sender<Result<v1::AuditLedgerResponse, Status>>,
) -> Result<(), Status> {
    for id in ids {
        let audited = reconcile::audit(app.store.as_ref(), &app.timing, *id).await;
        if let Some((audit, _)) = audited.map_err(status::store_error)? {
            // A caller that left is noticed by whoever runs this.
            let _ = frames.send(Ok(told(audit))).await;
        }
    }
    Ok(())
}

fn told(audit: Audit) -> v1::AuditLedgerResponse {
    v1::AuditLedgerResponse {
        client_id: audit.client.to_string(),
        balance_drift_micros: audit.balance_drift,
        held_drift_micros: audit.held_drift,
        last_seq: audit.last_seq,
        violations: audit.violations,
    }
}
