//! API keys and providers' keys.

use delivery::model::{ApiKey, ProviderKey};
use delivery::port::StoreError;
use message::Timestamp;

use super::{State, refused};

impl State {
    pub(super) fn create_api_key(&mut self, key: &ApiKey) -> Result<(), StoreError> {
        if key.client.is_some_and(|client| !self.clients.contains_key(&client)) {
            return Err(refused("no such client"));
        }
        match self.api_keys.insert(key.id.clone(), key.clone()) {
            Some(_) => Err(refused("the key is there already")),
            None => Ok(()),
        }
    }

    /// The old key as it is now; `None` = no such key, and no new one.
    pub(super) fn rotate_api_key(
        &mut self,
        old: &str,
        end_at: Timestamp,
        new: &ApiKey,
    ) -> Result<Option<ApiKey>, StoreError> {
        let Some(key) = self.api_keys.get_mut(old) else { return Ok(None) };
        key.expire_at = Some(key.expire_at.map_or(end_at, |expire_at| expire_at.min(end_at)));
        let ended = key.clone();
        self.create_api_key(new)?;
        Ok(Some(ended))
    }

    pub(super) fn touch_api_keys(&mut self, used: &[(String, Timestamp)]) {
        for (id, at) in used {
            if let Some(key) = self.api_keys.get_mut(id) {
                key.last_used_at = key.last_used_at.max(Some(*at));
            }
        }
    }

    pub(super) fn create_provider_key(&mut self, key: &ProviderKey) -> Result<(), StoreError> {
        match self.provider_keys.insert(key.id.clone(), key.clone()) {
            Some(_) => Err(refused("the key is there already")),
            None => Ok(()),
        }
    }

    pub(super) fn list_provider_keys(&self) -> Vec<ProviderKey> {
        let mut keys: Vec<_> = self.provider_keys.values().cloned().collect();
        keys.sort_by(|one, next| (&one.provider, &one.id).cmp(&(&next.provider, &next.id)));
        keys
    }
}

/// Whether it is revoked by this.
pub(super) fn revoke(revoked_at: &mut Option<Timestamp>, now: Timestamp) -> bool {
    let is_first = revoked_at.is_none();
    revoked_at.get_or_insert(now);
    is_first
}
