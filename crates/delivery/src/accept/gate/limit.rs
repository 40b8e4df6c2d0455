//! The limiter, asked once for a send: about the client's rate, and for a copy of the call.

use message::id::{ClientId, MessageId};

use super::{Gate, OverRate};
use crate::accept::{AcceptError, Prepared, Receipt, decide};
use crate::model::{Client, IdempotencyKey};
use crate::port::{Admission, Admitted, Rate};

/// How a send passed the limiter.
pub(super) enum Passage {
    /// Tokens were taken.
    Metered,
    /// It costs none: the client has no limit, or its call is remembered.
    Free,
    /// It is answered already.
    Replay(Box<Receipt>),
}

impl Gate {
    /// A call that the limiter has a copy of is answered from the store, without a transaction. Without tokens, a key
    /// that the store remembers still passes: its replay is free.
    pub(super) async fn pass_limiter(
        &self,
        client: &Client,
        prepared: &Prepared,
        over_rate: OverRate,
    ) -> Result<Passage, AcceptError> {
        let key = prepared.key();
        let call = key.as_ref().map(|key| (key, prepared.fingerprint));
        let mut ask = Admission { client: client.id, rate: rate(client, prepared), call };
        loop {
            let retry_after = match crash_point!("gate.admit", self.limiter.admit(&ask)).await {
                Admitted::Passed if ask.rate.is_some() => return Ok(Passage::Metered),
                Admitted::Passed => return Ok(Passage::Free),
                Admitted::Remembered(id) => match self.first_receipt(client.id, id).await? {
                    Some(receipt) => return Ok(Passage::Replay(receipt)),
                    None if planted!(RedisDecides) => return Err(AcceptError::Uncertain(None)),
                    // A copy of what is not there says nothing: the store decides.
                    None => {
                        ask.call = None;
                        continue;
                    }
                },
                Admitted::RetryAfter(retry_after) => retry_after,
            };
            if self.is_remembered(key.as_ref()).await? {
                return Ok(Passage::Free);
            }
            match over_rate {
                OverRate::Wait => tokio::time::sleep(retry_after).await,
                OverRate::Refuse => {
                    let parts_per_second = ask.rate.map_or(0, |rate| rate.per_second);
                    return Err(AcceptError::RateLimited { retry_after, parts_per_second });
                }
            }
        }
    }

    /// The receipt of a remembered call that made this message, if it is there.
    pub(super) async fn first_receipt(
        &self,
        client: ClientId,
        id: MessageId,
    ) -> Result<Option<Box<Receipt>>, AcceptError> {
        let message = crash_point!("gate.receipt", self.store.message(client, id)).await;
        let message = message.map_err(AcceptError::Store)?;
        Ok(message.map(|message| Box::new(Receipt { message: decide::receipt_of(message), is_replay: true })))
    }

    async fn is_remembered(&self, key: Option<&IdempotencyKey>) -> Result<bool, AcceptError> {
        let Some(key) = key else { return Ok(false) };
        let first = crash_point!("gate.first_call", self.store.remembered(key)).await;
        Ok(first.map_err(AcceptError::Store)?.is_some())
    }
}

/// What the send takes of the client's bucket; `None` = the client has no limit.
fn rate(client: &Client, prepared: &Prepared) -> Option<Rate> {
    let per_second = u32::try_from(client.parts_per_second).ok().filter(|rate| *rate > 0)?;
    let burst = u32::try_from(client.burst_parts).unwrap_or(0).max(1);
    Some(Rate { parts: u32::from(prepared.part_count), per_second, burst })
}
