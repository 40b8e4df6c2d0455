//! The bell: rings merge by client while nobody listens.

use async_trait::async_trait;
use delivery::port::{Bell, Ring};
use delivery::rings::Rings;

/// One listener, any number of ringers.
#[derive(Default)]
pub struct MemoryBell(Rings);

impl MemoryBell {
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Bell for MemoryBell {
    async fn ring(&self, rings: &[Ring]) {
        self.0.put(rings);
    }

    async fn wait(&self) -> Vec<Ring> {
        self.0.take().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use message::Timestamp;
    use message::id::{ClientId, Entropy};

    #[tokio::test]
    async fn rings_of_one_client_merge_to_the_newest() {
        let bell = MemoryBell::new();
        let client = ClientId::new(Timestamp::from_micros(0), Entropy([1; 10]));
        for last_seq in [1, 7, 3] {
            bell.ring(&[Ring { client, last_seq }]).await;
        }
        assert_eq!(bell.wait().await, [Ring { client, last_seq: 7 }]);
    }

    #[tokio::test]
    async fn a_waiter_wakes_when_the_bell_rings() {
        let bell = std::sync::Arc::new(MemoryBell::new());
        let client = ClientId::new(Timestamp::from_micros(0), Entropy([1; 10]));
        let waiter = tokio::spawn({
            let bell = bell.clone();
            async move { bell.wait().await }
        });
        tokio::task::yield_now().await;
        bell.ring(&[Ring { client, last_seq: 1 }]).await;
        assert_eq!(waiter.await.expect("the waiter ends").len(), 1);
    }
}
