//! `BillingService`: the balance, its movements, what a campaign would cost.

mod book;
mod quote;
mod statement;
mod transactions;
mod watch;

use std::sync::Arc;

use delivery::model::Scope;
use tonic::{Request, Response, Status};

use super::convert::event::balance;
use super::stream::FrameStream;
use super::{caller, find_client, replayed};
use crate::app::App;
use crate::proto::v1;
use crate::proto::v1::billing_service_server::BillingService;

pub struct Billing {
    app: Arc<App>,
}

impl Billing {
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl BillingService for Billing {
    async fn get_balance(
        &self,
        request: Request<v1::GetBalanceRequest>,
    ) -> Result<Response<v1::GetBalanceResponse>, Status> {
        let caller = caller::client(&self.app, &request, Scope::Billing, "BillingService.GetBalance").await?;
        let (client, head) = find_client(&self.app, caller.client).await?;
        Ok(Response::new(v1::GetBalanceResponse { balance: Some(balance(&client, &head)) }))
    }

    type WatchBalanceStream = FrameStream<v1::WatchBalanceResponse>;

    async fn watch_balance(
        &self,
        request: Request<v1::WatchBalanceRequest>,
    ) -> Result<Response<Self::WatchBalanceStream>, Status> {
        let caller =
            caller::client(&self.app, &request, Scope::Billing, "BillingService.WatchBalance").await?;
        Ok(Response::new(watch::open(self.app.clone(), caller, request.get_ref()).await?))
    }

    async fn list_transactions(
        &self,
        request: Request<v1::ListTransactionsRequest>,
    ) -> Result<Response<v1::ListTransactionsResponse>, Status> {
        let caller =
            caller::client(&self.app, &request, Scope::Billing, "BillingService.ListTransactions").await?;
        Ok(Response::new(transactions::page(&self.app, caller.client, request.get_ref()).await?))
    }

    async fn get_statement(
        &self,
        request: Request<v1::GetStatementRequest>,
    ) -> Result<Response<v1::GetStatementResponse>, Status> {
        let caller =
            caller::client(&self.app, &request, Scope::Billing, "BillingService.GetStatement").await?;
        let statement = statement::of(&self.app, caller.client, request.get_ref()).await?;
        Ok(Response::new(v1::GetStatementResponse { statement: Some(statement) }))
    }

    async fn quote(&self, request: Request<v1::QuoteRequest>) -> Result<Response<v1::QuoteResponse>, Status> {
        let caller = caller::client(&self.app, &request, Scope::Billing, "BillingService.Quote").await?;
        Ok(Response::new(quote::price(&self.app, caller.client, request.into_inner()).await?))
    }

    async fn top_up(
        &self,
        request: Request<v1::TopUpRequest>,
    ) -> Result<Response<v1::TopUpResponse>, Status> {
        let operator = caller::operator(&self.app, &request)?;
        let booked = book::top_up(&self.app, &operator, request.into_inner()).await?;
        let (transaction, replay) = (Some(booked.transaction), booked.is_replay);
        Ok(replayed(v1::TopUpResponse { transaction, replayed: replay }, replay))
    }

    async fn adjust_balance(
        &self,
        request: Request<v1::AdjustBalanceRequest>,
    ) -> Result<Response<v1::AdjustBalanceResponse>, Status> {
        let operator = caller::operator(&self.app, &request)?;
        let booked = book::adjust(&self.app, &operator, request.into_inner()).await?;
        let (transaction, replay) = (Some(booked.transaction), booked.is_replay);
        Ok(replayed(v1::AdjustBalanceResponse { transaction, replayed: replay }, replay))
    }
}
