//! Who calls, and for which client. A call that an operator's key makes for a client is written to the audit trail.

use delivery::model::Scope;
use message::id::ClientId;
use tonic::{Request, Status};

use super::trail::{self, Deed};
use crate::app::App;
use crate::auth::{AuthError, Principal};
use crate::status;

/// A caller that may use a client's method.
#[derive(Clone, Debug)]
pub struct Caller {
    pub principal: Principal,
    /// The client whose rows the call may touch.
    pub client: ClientId,
}

impl Caller {
    /// Whether the key of an open stream is still good. Without an answer it counts as good: it was a moment ago, and
    /// what the stream does needs the same store.
    pub async fn is_key_good(&self, app: &App) -> bool {
        !matches!(app.authenticator.is_still_valid(&self.principal).await, Ok(false))
    }
}

/// The verified principal, whose key is in use. Only a request that went around the `authenticate` layer has none.
pub fn principal<T>(app: &App, request: &Request<T>) -> Result<Principal, Status> {
    let principal: &Principal = request.extensions().get().ok_or(AuthError::Missing)?;
    app.key_usage.note(&principal.key_id);
    Ok(principal.clone())
}

/// The caller of a client's method, as in `MessagingService.SendMessage`. A client's own key proves that its client
/// exists; the one that an operator names is looked up, and the call is written to the audit trail before it does
/// anything.
pub async fn client<T>(
    app: &App,
    request: &Request<T>,
    scope: Scope,
    method: &'static str,
) -> Result<Caller, Status> {
    let principal = principal(app, request)?;
    principal.require(scope)?;
    let client = principal.client().ok_or(AuthError::ClientNotNamed)?;
    if principal.owner.is_none() {
        record_acting(app, &principal, client, method).await?;
    }
    Ok(Caller { principal, client })
}

/// The operator acts for the client, which must exist.
pub async fn record_acting(
    app: &App,
    operator: &Principal,
    client: ClientId,
    method: &'static str,
) -> Result<(), Status> {
    if app.store.client(client).await.map_err(status::store_error)?.is_none() {
        return Err(status::not_found("Client", &client.to_string()));
    }
    let entry = trail::entry(app, operator, Deed::new(method, Some(client))).await?;
    app.store.record(&entry).await.map_err(status::store_error)
}

/// The caller of an operators' method.
pub fn operator<T>(app: &App, request: &Request<T>) -> Result<Principal, Status> {
    let principal = principal(app, request)?;
    principal.require(Scope::Admin)?;
    Ok(principal)
}
