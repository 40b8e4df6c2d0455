//! Credit: what there is, what moved it, what a campaign would cost.

use futures_util::future::TryFutureExt;
use futures_util::stream::{StreamExt, TryStreamExt};
use tonic::Response;

use super::{Client, fill_key, present, unary};
use crate::error::Error;
use crate::subscription::{BalanceSubscription, Subscription};
use crate::v1;

/// Credit that was booked.
#[derive(Clone, Debug)]
pub struct Booking {
    pub transaction: v1::Transaction,
    /// It was booked before, under the same idempotency key.
    pub replayed: bool,
}

impl Client {
    /// The balance as of now.
    pub async fn balance(&self) -> Result<v1::Balance, Error> {
        present(unary!(self, Safe, billing.get_balance(v1::GetBalanceRequest {}))?.balance, "balance")
    }

    /// The balance, live: the current one at once and after each reconnection, then every change, merged into the
    /// newest if they come faster than they are read. It is a state and not a log: its frames have no token. Nothing
    /// happens before it is polled.
    pub fn watch_balance(&self, request: v1::WatchBalanceRequest) -> BalanceSubscription {
        let raw = self.raw.clone();
        let connect = move |_: &str, _: bool| {
            let mut client = raw.billing();
            let frames = async move { client.watch_balance(request).await.map(Response::into_inner) };
            frames.try_flatten_stream().map_ok(Into::into).boxed()
        };
        Subscription::new(connect, String::new(), false, self.settings.retry, self.settings.timeout)
    }

    /// A page of credit movements, newest first.
    pub async fn transactions(
        &self,
        request: v1::ListTransactionsRequest,
    ) -> Result<v1::ListTransactionsResponse, Error> {
        unary!(self, Safe, billing.list_transactions(request))
    }

    /// A period in figures.
    pub async fn statement(&self, request: v1::GetStatementRequest) -> Result<v1::Statement, Error> {
        present(unary!(self, Safe, billing.get_statement(request))?.statement, "statement")
    }

    /// What a campaign would cost, and whether the credit covers it. Without any effect.
    pub async fn quote(&self, request: v1::QuoteRequest) -> Result<v1::QuoteResponse, Error> {
        unary!(self, Safe, billing.quote(request))
    }

    /// Adds credit (operator keys only). A request without an idempotency key gets one, and keeps it across
    /// retries.
    pub async fn top_up(&self, mut request: v1::TopUpRequest) -> Result<Booking, Error> {
        fill_key(&mut request.idempotency_key);
        let answer = unary!(self, Safe, billing.top_up(request))?;
        let transaction = present(answer.transaction, "transaction")?;
        Ok(Booking { transaction, replayed: answer.replayed })
    }

    /// Corrects the available credit, up or down (operator keys only). A request without an idempotency key gets one,
    /// and keeps it across retries.
    pub async fn adjust_balance(&self, mut request: v1::AdjustBalanceRequest) -> Result<Booking, Error> {
        fill_key(&mut request.idempotency_key);
        let answer = unary!(self, Safe, billing.adjust_balance(request))?;
        let transaction = present(answer.transaction, "transaction")?;
        Ok(Booking { transaction, replayed: answer.replayed })
    }
}
