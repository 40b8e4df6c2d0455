//! Who calls, and for whom.

use delivery::model::Scope;
use message::id::ClientId;

use super::AuthError;

/// The owner of a verified key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub key_id: String,
    /// `None` = an operator.
    pub owner: Option<ClientId>,
    pub scopes: Vec<Scope>,
    /// The client that an operator acts for.
    pub acting_for: Option<ClientId>,
}

impl Principal {
    /// The principal that speaks for the client it named in `herald-client-id`. A client's key may name its own
    /// client only.
    pub fn speaking_for(mut self, named: &str) -> Result<Self, AuthError> {
        let named: ClientId = named.parse().map_err(|_| AuthError::MalformedClientId)?;
        match self.owner {
            Some(owner) if owner != named => return Err(AuthError::ActingNotAllowed),
            Some(_) => {}
            None => self.acting_for = Some(named),
        }
        Ok(self)
    }

    /// An operator may do everything, for whomever it names.
    pub fn require(&self, scope: Scope) -> Result<(), AuthError> {
        let is_operator = self.owner.is_none() && self.scopes.contains(&Scope::Admin);
        if is_operator || self.scopes.contains(&scope) { Ok(()) } else { Err(AuthError::ScopeMissing(scope)) }
    }

    /// Whose rows the call may see.
    pub fn client(&self) -> Option<ClientId> {
        self.owner.or(self.acting_for)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use message::Timestamp;
    use message::id::Entropy;

    use super::*;

    fn client(number: u8) -> ClientId {
        ClientId::new(Timestamp::from_micros(0), Entropy([number; 10]))
    }

    fn principal(owner: Option<ClientId>, scopes: &[Scope]) -> Principal {
        Principal { key_id: "test0".into(), owner, scopes: scopes.to_vec(), acting_for: None }
    }

    #[test]
    fn a_clients_key_speaks_for_its_own_client_only() {
        let own = principal(Some(client(1)), &[Scope::Read]);
        assert_eq!(own.clone().speaking_for(&client(1).to_string()).unwrap().client(), Some(client(1)));
        let refused = own.clone().speaking_for(&client(2).to_string());
        assert!(matches!(refused, Err(AuthError::ActingNotAllowed)));
        assert!(matches!(own.speaking_for("me"), Err(AuthError::MalformedClientId)));
    }

    #[test]
    fn an_operator_speaks_for_whom_it_names_and_has_every_scope() {
        let operator = principal(None, &[Scope::Admin]);
        assert_eq!(operator.client(), None);
        assert!(operator.require(Scope::Send).is_ok());
        assert_eq!(operator.speaking_for(&client(2).to_string()).unwrap().client(), Some(client(2)));
    }

    #[test]
    fn a_scope_that_a_key_lacks_is_named() {
        let reader = principal(Some(client(1)), &[Scope::Read]);
        assert!(reader.require(Scope::Read).is_ok());
        assert!(matches!(reader.require(Scope::Send), Err(AuthError::ScopeMissing(Scope::Send))));
        // ADMIN in a row that has a client would be damage: it opens nothing.
        let damaged = principal(Some(client(1)), &[Scope::Admin]);
        assert!(damaged.require(Scope::Send).is_err());
    }
}
