//! The limiter on Redis, with this node's own behind it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use delivery::model::RememberedCall;
use delivery::port::{Admission, Admitted, Limiter};
use message::id::ClientId;
use tokio_util::task::AbortOnDropHandle;

use crate::link::Link;
use crate::local::Local;
use crate::notes::Notes;
use crate::options::{Options, OptionsError};
use crate::script::Scripts;

/// Exact over all nodes while Redis answers; else each node allows its share.
pub struct RedisLimiter {
    link: Arc<Link>,
    scripts: Arc<Scripts>,
    notes: Notes,
    local: Local,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl RedisLimiter {
    /// Tries to reach Redis for a second at most, and starts in any case: without it, `local` limits until it is there.
    pub async fn start(options: &Options, local: Arc<dyn Limiter>) -> Result<Self, OptionsError> {
        options.check_prefix()?;
        let link = Arc::new(Link::new(options)?);
        let scripts = Arc::new(Scripts::new(options));
        link.open(&scripts).await;
        let (notes, writer) = Notes::new(link.clone(), scripts.clone());
        let keeper = {
            let (link, scripts) = (link.clone(), scripts.clone());
            async move { link.keep(&scripts).await }
        };
        let tasks = [tokio::spawn(writer), tokio::spawn(keeper)].map(AbortOnDropHandle::new);
        Ok(Self { link, scripts, notes, local: Local::new(local, options.nodes), _tasks: tasks })
    }

    /// Whether limits are shared at the moment.
    pub fn is_shared(&self) -> bool {
        self.link.is_up()
    }

    /// Waits until limits are shared, or are not.
    pub async fn wait_until(&self, is_shared: bool) {
        self.link.wait_until(is_shared).await;
    }

    /// Waits until all that was told so far is written, or dropped.
    pub async fn settled(&self) {
        self.notes.settled().await;
    }
}

#[async_trait]
impl Limiter for RedisLimiter {
    async fn admit(&self, ask: &Admission<'_>) -> Admitted {
        if ask.rate.is_none() && ask.call.is_none() {
            return Admitted::Passed;
        }
        match self.link.call(|connection| self.scripts.admit(connection, ask)).await {
            Ok(admitted) => admitted,
            Err(_) => {
                metrics::counter!("herald_limiter_degraded_total").increment(1);
                self.local.admit(ask).await
            }
        }
    }

    /// Tokens may go back to another bucket than they were taken from, when Redis went or came in between: no bucket
    /// ever holds more than its burst.
    fn give_back(&self, client: ClientId, parts: u32) {
        if self.link.is_up() {
            self.notes.give_back(client, parts);
        } else {
            self.local.give_back(client, parts);
        }
    }

    fn remember(&self, calls: &[RememberedCall], lifetime: Duration) {
        if self.link.is_up() {
            self.notes.remember(&self.scripts, calls, lifetime);
        }
    }
}
