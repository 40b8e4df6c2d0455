//! Clients: made once, and changed by whoever has seen their last change.

use delivery::model::{Client, Head};
use delivery::port::{Checkpoint, ClientFilter, Created, Creation, Scanned, StoreError};
use ledger::Balance;
use message::id::ClientId;

use super::scan::scanned;
use super::{State, check, refused};

impl State {
    pub(super) fn create_client(
        &mut self,
        client: &Client,
        creation: Option<&Creation>,
    ) -> Result<Created, StoreError> {
        if let Some(creation) = creation {
            if let Some((id, fingerprint)) = self.creations.get(&creation.key) {
                return Ok(Created::Before(Box::new(self.clients[id].clone()), *fingerprint));
            }
            self.creations.insert(creation.key.clone(), (client.id, creation.fingerprint));
        }
        check::client(client)?;
        if self.clients.insert(client.id, client.clone()).is_some() {
            return Err(refused("the client is there already"));
        }
        self.heads.insert(client.id, Head { balance: Balance::default(), last_seq: 0, oldest_seq: 1 });
        self.checkpoints.insert(client.id, Checkpoint::default());
        Ok(Created::New)
    }

    /// `false` = no such client.
    pub(super) fn update_client(&mut self, client: &Client) -> Result<bool, StoreError> {
        let Some(stored) = self.clients.get_mut(&client.id) else { return Ok(false) };
        if stored.revision != client.revision {
            return Err(StoreError::Conflict);
        }
        *stored = Client {
            currency: stored.currency.clone(),
            is_sandbox: stored.is_sandbox,
            created_at: stored.created_at,
            revision: client.revision + 1,
            ..client.clone()
        };
        check::client(stored)?;
        Ok(true)
    }

    pub(super) fn list_clients(
        &self,
        filter: &ClientFilter,
        after: Option<ClientId>,
        limit: i64,
        scan: i64,
    ) -> Scanned<Client, ClientId> {
        let newer = self.clients.values().filter(|client| after.is_none_or(|after| client.id > after));
        scanned(newer.map(|client| (client.id, shows(filter, client).then(|| client.clone()))), limit, scan)
    }
}

fn shows(filter: &ClientFilter, client: &Client) -> bool {
    filter.state.is_none_or(|state| client.state == state) && client.name.starts_with(&filter.name_prefix)
}
