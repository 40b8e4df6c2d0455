//! How many streams each API key may have open on this node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tonic::Status;

use crate::status;

/// The places that streams take.
pub struct StreamPlaces {
    per_key: usize,
    /// Of the keys that have one open.
    taken: Mutex<HashMap<String, usize>>,
}

/// One stream's place, which is free again when this is dropped. The task that writes the stream holds it.
pub struct StreamPlace {
    places: Arc<StreamPlaces>,
    key_id: String,
}

impl StreamPlaces {
    pub fn new(per_key: usize) -> Arc<Self> {
        Arc::new(Self { per_key, taken: Mutex::default() })
    }

    /// A place for one more stream of this key; TOO_MANY_STREAMS if it has as many as it may.
    pub fn take(self: &Arc<Self>, key_id: &str) -> Result<StreamPlace, Status> {
        let mut taken = self.taken();
        let open = taken.get(key_id).copied().unwrap_or(0);
        if open >= self.per_key {
            return Err(status::too_many_streams(self.per_key));
        }
        taken.insert(key_id.to_owned(), open + 1);
        Ok(StreamPlace { places: self.clone(), key_id: key_id.to_owned() })
    }

    /// Streams that a key may have open.
    pub fn per_key(&self) -> usize {
        self.per_key
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(open) = taken.get_mut(&self.key_id) {
            *open -= 1;
            if *open == 0 {
                taken.remove(&self.key_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;

    #[test]
    fn a_key_has_its_places_others_have_theirs_and_what_ends_is_given_back() {
        let places = StreamPlaces::new(2);
        let (first, second) = (places.take("test1").unwrap(), places.take("test1").unwrap());
        let refused = places.take("test1").err().unwrap();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let details = refused.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "TOO_MANY_STREAMS");
        assert!(details.retry_info().is_some() && details.quota_failure().is_some());
        let other = places.take("test2").unwrap();
        drop(first);
        let third = places.take("test1").unwrap();
        drop((second, third, other));
        assert!(places.taken().is_empty(), "keys without a stream are still remembered");
    }
}
