//! Who calls, and for whom.

use delivery::model::Scope;
use message::id::ClientId;

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
    /// An operator may do everything, for whomever it names.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || (self.owner.is_none() && self.scopes.contains(&Scope::Admin))
    }

    /// Whose rows the call may see.
    pub fn client(&self) -> Option<ClientId> {
        self.owner.or(self.acting_for)
    }
}
