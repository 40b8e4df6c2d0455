//! Sending a dead letter again: a new message of the same client, at today's price, under the client's rate.

use message::id::{Entropy, MessageId};
use message::parts::Content;

use super::decide::{DeedOf, Submission};
use super::gate::{Gate, OverRate, Pending};
use super::prepare::{self, SendRequest};
use super::{AcceptError, Prepared};
use crate::model::{Client, DeadLetter, Message, MessageRecord};

/// What a replay came to, before it is done.
pub enum Replay {
    /// It would be accepted, as far as can be told without the balance.
    Fine(Box<Prepared>),
    /// It was replayed before, as this message.
    Done(MessageId),
}

impl Gate {
    /// Checks a replay, without any effect.
    pub async fn check_replay(
        &self,
        letter: &DeadLetter,
        message: &Message,
        accept_duplicate_risk: bool,
    ) -> Result<Replay, AcceptError> {
        if let Some(replay) = letter.replayed_as {
            return Ok(Replay::Done(replay));
        }
        if letter.has_unknown_attempt && !accept_duplicate_risk {
            return Err(AcceptError::DuplicateRisk);
        }
        let client = self.client(letter.key.client).await?;
        self.prepare_replay(&client, &message.record).map(|prepared| Replay::Fine(Box::new(prepared)))
    }

    /// Hands a checked replay over. If another was quicker, the answer is the message that it made, and there is no deed.
    pub async fn replay(
        &self,
        prepared: Prepared,
        entropy: Entropy,
        deed: DeedOf,
    ) -> Result<Pending, AcceptError> {
        let client = self.client(prepared.client).await?;
        let submission = Submission { prepared, entropy, deed: Some(deed) };
        let asked = self.ask_limiter(&client, submission, OverRate::Refuse, None).await?;
        self.hand_over(asked)
    }

    fn prepare_replay(&self, client: &Client, record: &MessageRecord) -> Result<Prepared, AcceptError> {
        let rates = self.rates();
        let prepared = prepare::prepare(client, self.setting(&rates), &request_of(record))?;
        Ok(Prepared {
            replay_of: Some(record.key.id),
            is_transliterated: record.is_transliterated,
            ..prepared
        })
    }
}

/// The send that the message came from, without its key, its limits and its time.
fn request_of(record: &MessageRecord) -> SendRequest {
    let (text, data) = match &record.content {
        Content::Text(text) => (text.as_str().to_owned(), Vec::new()),
        Content::Binary(data) => (String::new(), data.clone()),
    };
    SendRequest {
        to: record.to.as_str().to_owned(),
        text,
        data,
        sender: record.sender.clone(),
        reference: record.reference.clone(),
        metadata: record.metadata.clone(),
        encoding: Some(record.encoding),
        national_table: record.shifts.table(),
        on_unknown: Some(record.on_unknown),
        priority: Some(record.priority),
        is_flash: record.is_flash,
        class: Some(record.class),
        ..SendRequest::default()
    }
}
