//! Who am I.

use super::{Client, present, unary};
use crate::error::Error;
use crate::v1;

impl Client {
    /// What the key is and whom it belongs to.
    pub async fn account(&self) -> Result<v1::Account, Error> {
        let answer = unary!(self, Safe, accounts.get_account(v1::GetAccountRequest {}))?;
        present(answer.account, "account")
    }
}
