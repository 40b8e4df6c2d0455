//! Who calls, and for which client. What an operator's key does is written to the audit log.

use delivery::model::Scope;
use message::id::ClientId;
use tonic::{Request, Status};

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

/// The verified principal. Only a request that went around the `authenticate` layer has none.
pub fn principal<T>(request: &Request<T>) -> Result<Principal, Status> {
    request.extensions().get::<Principal>().cloned().ok_or_else(|| AuthError::Missing.into())
}

/// The caller of a client's method. A client's own key proves that its client exists; the one that an operator
/// names is looked up.
pub async fn client<T>(
    app: &App,
    request: &Request<T>,
    scope: Scope,
    method: &'static str,
) -> Result<Caller, Status> {
    let principal = principal(request)?;
    principal.require(scope)?;
    let client = principal.client().ok_or(AuthError::ClientNotNamed)?;
    if principal.owner.is_none() {
        if app.store.client(client).await.map_err(status::store_error)?.is_none() {
            return Err(status::not_found("Client", &client.to_string()));
        }
        audit(&principal, Some(client), method);
    }
    Ok(Caller { principal, client })
}

/// The caller of an operators' method.
pub fn operator<T>(request: &Request<T>) -> Result<Principal, Status> {
    let principal = principal(request)?;
    principal.require(Scope::Admin)?;
    Ok(principal)
}

/// One line for each use of an operator's key: which key, for or on which client, and what.
pub fn audit(operator: &Principal, client: Option<ClientId>, method: &'static str) {
    let key = &operator.key_id;
    let client = client.map(tracing::field::display);
    tracing::info!(
        target: "herald::audit",
        key_id = %key, client_id = client, method,
        "operator's key {key} called {method}"
    );
}
