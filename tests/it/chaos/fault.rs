//! What is done to a cluster.

use std::time::Duration;

use crate::support::Cluster;

/// How long what is dead stays dead, and what hangs hangs: past the lease of a claim.
const OUTAGE: Duration = Duration::from_secs(4);

/// Something dies or hangs for a while, and comes back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// SIGKILL.
    Kill(&'static [Part]),
    /// SIGSTOP, then SIGCONT: it comes back and believes that no time has passed.
    Hang(&'static [Part]),
    /// Killed, and what it had on disk is gone.
    Wipe(&'static [Part]),
    /// The stream that carries the ids is deleted; whoever misses it makes it anew.
    DeleteStream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Node(&'static str),
    Postgres,
    Nats,
    Redis,
}

use Part::{Nats, Node, Postgres, Redis};

/// Each of them once.
pub(super) const ROUND: &[Fault] = &[
    Fault::Kill(&[Node("api-1")]),
    Fault::Kill(&[Node("api-2")]),
    Fault::Kill(&[Node("worker-1")]),
    Fault::Kill(&[Node("worker-2")]),
    Fault::Kill(&[Node("worker-1"), Node("worker-2")]),
    Fault::Kill(&[Postgres]),
    Fault::Kill(&[Nats]),
    Fault::Kill(&[Redis]),
    Fault::Kill(&[Node("api-1"), Postgres]),
    Fault::Kill(&[Nats, Redis]),
    Fault::Hang(&[Node("api-1")]),
    Fault::Hang(&[Node("worker-1")]),
    Fault::Hang(&[Nats]),
    Fault::Hang(&[Redis]),
    Fault::Wipe(&[Nats]),
    Fault::Wipe(&[Redis]),
    Fault::Wipe(&[Nats, Redis]),
    Fault::DeleteStream,
];

impl Fault {
    /// When this returns, everything runs again.
    pub(super) async fn inject(self, cluster: &mut Cluster) {
        let (Self::Kill(parts) | Self::Hang(parts) | Self::Wipe(parts)) = self else {
            return cluster.delete_stream().await;
        };
        for part in parts {
            match self {
                Self::Hang(_) => part.pause(cluster).await,
                _ => part.kill(cluster).await,
            }
        }
        if matches!(self, Self::Wipe(_)) {
            for part in parts {
                part.wipe(cluster).await;
            }
        }
        // The outage itself, not a wait for anything.
        tokio::time::sleep(OUTAGE).await;
        // Engines before nodes, which cannot start without them.
        let mut parts = parts.to_vec();
        parts.sort_by_key(|part| matches!(part, Node(_)));
        for part in parts {
            match self {
                Self::Hang(_) => part.resume(cluster).await,
                _ => part.restart(cluster).await,
            }
        }
    }
}

impl Part {
    async fn kill(self, cluster: &mut Cluster) {
        match self {
            Node(name) => cluster.kill_node(name).await,
            Postgres => cluster.postgres.kill().await,
            Nats => cluster.nats.kill().await,
            Redis => cluster.redis.kill().await,
        }
    }

    async fn restart(self, cluster: &mut Cluster) {
        match self {
            Node(name) => cluster.start_node(name).await,
            Postgres => cluster.postgres.restart().await,
            Nats => cluster.nats.restart().await,
            Redis => cluster.redis.restart().await,
        }
    }

    async fn pause(self, cluster: &mut Cluster) {
        match self {
            Node(name) => cluster.pause_node(name),
            Postgres => panic!("its backends are processes of their own"),
            Nats => cluster.nats.pause().await,
            Redis => cluster.redis.pause().await,
        }
    }

    async fn resume(self, cluster: &mut Cluster) {
        match self {
            Node(name) => cluster.resume_node(name),
            Postgres => panic!("its backends are processes of their own"),
            Nats => cluster.nats.resume().await,
            Redis => cluster.redis.resume().await,
        }
    }

    async fn wipe(self, cluster: &mut Cluster) {
        match self {
            Nats => cluster.nats.wipe().await,
            Redis => cluster.redis.wipe().await,
            Node(_) | Postgres => panic!("{self:?} is what must not be lost"),
        }
    }
}
