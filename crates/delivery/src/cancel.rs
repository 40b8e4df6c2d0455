//! Cancel: a message that no attempt has taken ends, and its credit goes back.

use message::status::Status;

use crate::change::{Learned, Mover};
use crate::model::{Message, MessageKey};
use crate::port::StoreError;

/// Why a message is not canceled.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    #[error("no such message")]
    NoSuchMessage,
    /// An attempt is or may be under way, or it is final.
    #[error("a message that is {0} cannot be canceled")]
    NotCancelable(Status),
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// Cancels, and answers the message as it is then. One that is canceled already is answered as it is.
pub async fn cancel(mover: &Mover, key: MessageKey) -> Result<Message, CancelError> {
    mover.apply(&[Learned::Cancel { key }]).await?;
    let message = crash_point!("cancel.read", mover.store.message(key.client, key.id)).await?;
    let message = message.ok_or(CancelError::NoSuchMessage)?;
    match message.state.status {
        Status::Canceled => Ok(message),
        status => Err(CancelError::NotCancelable(status)),
    }
}
