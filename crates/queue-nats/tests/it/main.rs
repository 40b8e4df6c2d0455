//! The queue and the bell on real NATS servers: what every queue and bell must satisfy, and what happens when NATS fails.
//! Needs a server: `make test` brings one.
#![allow(clippy::unwrap_used)]

mod bells;
mod connection;
mod dead_letters;
mod loss;
mod nodes;
mod server;

use std::sync::Arc;

use conformance::bell::BellFixture;
use conformance::queue::QueueFixture;
use delivery::port::{Bell, Queue};
use queue_nats::NatsBell;

use server::Installation;

struct NatsFixture;

impl QueueFixture for NatsFixture {
    async fn fresh() -> Arc<dyn Queue> {
        Arc::new(Installation::on_shared_server().node().await)
    }
}

impl BellFixture for NatsFixture {
    async fn fresh() -> Arc<dyn Bell> {
        let installation = Installation::on_shared_server();
        let connection = installation.connect().await;
        Arc::new(NatsBell::start(&connection, &installation.options.prefix).await.unwrap())
    }
}

conformance::queue_suite!(NatsFixture);
conformance::bell_suite!(NatsFixture);
