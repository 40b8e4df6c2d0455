//! Senders and subscribers at work while things break, and what is known of it in the end.

use std::sync::Arc;

use delivery::timing::Timing;
use herald_sdk::Client;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::evidence::{Evidence, submits};
use super::progress::Progress;
use super::{end, load, subscriber};
use crate::support::{SimulatorProcess, soon, until};

/// How many send at once.
#[derive(Clone)]
pub(crate) struct Senders {
    pub(crate) connections: usize,
    pub(crate) per_connection: usize,
    /// Messages to send at the least; they go on until the progress is calm.
    pub(crate) messages: usize,
    /// They wait while so many are under way: what waits when all is repaired is what takes time to settle.
    pub(crate) under_way: usize,
}

pub(crate) struct Traffic {
    progress: Arc<Progress>,
    followers: JoinSet<()>,
    senders: JoinSet<()>,
    tell_last: watch::Sender<Option<i64>>,
    by_sdk: JoinHandle<(Vec<i64>, u64)>,
}

impl Traffic {
    /// `connect` makes a client of its own connection that never tires.
    pub(crate) fn start(
        connect: impl Fn() -> Client,
        progress: Arc<Progress>,
        seed: u64,
        wanted: &Senders,
    ) -> Self {
        let mut followers = JoinSet::new();
        followers.spawn(subscriber::follow_by_hand(connect(), progress.clone()));
        let (tell_last, last) = watch::channel(None);
        let by_sdk = tokio::spawn(subscriber::follow_by_sdk(connect(), last));
        let mut senders = JoinSet::new();
        for _ in 0..wanted.connections {
            let client = connect();
            for _ in 0..wanted.per_connection {
                senders.spawn(load::send_all(client.clone(), progress.clone(), seed, wanted.clone()));
            }
        }
        Self { progress, followers, senders, tell_last, by_sdk }
    }

    /// Fails with the sender that has failed.
    pub(crate) fn check_senders(&mut self) {
        if let Some(Err(error)) = self.senders.try_join_next() {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    /// Waits until so many more are accepted, and more end, with twice `in_flight` under way.
    pub(crate) async fn work_on(&mut self, messages: usize, in_flight: usize) {
        let wanted = self.progress.acked() + messages;
        let seen = self.progress.last_seq();
        until("work to go on", async || {
            self.check_senders();
            let is_working = self.progress.acked() >= wanted && self.progress.last_seq() > seen;
            (is_working && self.progress.in_flight() >= 2 * in_flight).then_some(())
        })
        .await;
    }

    /// Nothing more is broken: waits until all is sent, settled and seen, and tells all that is known but what was done to
    /// the server.
    pub(crate) async fn end(
        mut self,
        client: &Client,
        simulator: &SimulatorProcess,
        topped_up: i64,
    ) -> Evidence {
        self.progress.calm();
        while let Some(sent) = soon("the last acknowledgement", self.senders.join_next()).await {
            sent.expect("no sender was refused");
        }
        let (balance, listed) = end::settle(client, simulator).await;
        until("the subscriber's last event", async || {
            assert!(self.followers.try_join_next().is_none(), "the subscriber ended");
            (self.progress.last_seq() >= balance.seq).then_some(())
        })
        .await;
        self.tell_last.send_replace(Some(balance.seq));
        let (seqs, connections) = soon("the SDK's last event", self.by_sdk).await.expect("it ends well");
        assert!(seqs.iter().copied().eq(1..=balance.seq), "the SDK's subscription has a gap or a repetition");
        assert!(connections > 1, "the SDK's subscription never had to resume");
        Evidence {
            acks: self.progress.acks(),
            submits: submits(&simulator.witness()),
            listed,
            seen: self.progress.seen(),
            available: balance.available_micros,
            held: balance.held_micros,
            last_seq: balance.seq,
            topped_up,
            max_attempts: Timing::default().max_attempts(),
            ..Evidence::default()
        }
    }
}
