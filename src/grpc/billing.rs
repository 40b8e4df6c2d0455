//! `BillingService`: the balance, its movements, top-ups.

use std::sync::Arc;

use delivery::accept::prepare::{is_idempotency_key, is_printable};
use delivery::model::Scope;
use delivery::port::TransactionFilter;
use delivery::top_up::{self, TopUp};
use message::event::Event;
use message::id::{ClientId, MessageId};
use tonic::{Request, Response, Status};

use super::convert::event::{read_transaction_types, transaction};
use super::faults::{Faults, read_id};
use super::{caller, find_client, page, replayed};
use crate::app::App;
use crate::proto::v1;
use crate::proto::v1::billing_service_server::BillingService;
use crate::status;
use crate::token::PageOf;

/// Longest note, in characters.
const NOTE_MAX: usize = 256;

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
        let caller = caller::client(&self.app, &request, Scope::Billing, "GetBalance").await?;
        let (client, head) = find_client(&self.app, caller.client).await?;
        let balance = v1::Balance {
            available_micros: head.balance.available(),
            held_micros: head.balance.held(),
            currency: client.currency,
            seq: head.last_seq,
        };
        Ok(Response::new(v1::GetBalanceResponse { balance: Some(balance) }))
    }

    async fn list_transactions(
        &self,
        request: Request<v1::ListTransactionsRequest>,
    ) -> Result<Response<v1::ListTransactionsResponse>, Status> {
        let caller = caller::client(&self.app, &request, Scope::Billing, "ListTransactions").await?;
        let asked = request.into_inner();
        let mut faults = Faults::default();
        let size = page::size(&mut faults, asked.page_size);
        let kinds = read_transaction_types(&mut faults, "types", &asked.types);
        let message = (!asked.message_id.is_empty())
            .then(|| faults.take("message_id", asked.message_id.parse::<MessageId>()))
            .flatten();
        faults.into_result()?;
        let list = list_of(&kinds, message);
        let tokens = &self.app.tokens;
        let before = page::cursor(tokens, caller.client, &list, &asked.page_token)?;
        let before = before.map_or(i64::MAX, i64::from_be_bytes);

        let store = &self.app.store;
        let filter = TransactionFilter { kinds, message };
        let events = store.transactions(caller.client, &filter, before, page::read_limit(size)).await;
        let mut events = events.map_err(status::store_error)?;
        let cursor = |last: &Event| last.seq.to_be_bytes().to_vec();
        let next_page_token = page::cut(tokens, caller.client, &list, &mut events, size, cursor);
        let (client, _) = find_client(&self.app, caller.client).await?;
        let transactions = events.iter().filter_map(|event| transaction(event, &client.currency)).collect();
        Ok(Response::new(v1::ListTransactionsResponse { transactions, next_page_token }))
    }

    async fn top_up(
        &self,
        request: Request<v1::TopUpRequest>,
    ) -> Result<Response<v1::TopUpResponse>, Status> {
        let operator = caller::operator(&request)?;
        let request = read_top_up(request.into_inner())?;
        caller::audit(&operator, Some(request.client), "TopUp");
        let app = &self.app;
        let booked = top_up::top_up(app.store.as_ref(), app.bell.as_ref(), &app.timing, &request).await;
        let receipt = booked.map_err(|error| status::top_up_error(error, &request.client.to_string()))?;
        let transaction = transaction(&receipt.event, &receipt.currency);
        Ok(replayed(v1::TopUpResponse { transaction, replayed: receipt.is_replay }, receipt.is_replay))
    }
}

fn list_of(kinds: &[message::event::TransactionType], message: Option<MessageId>) -> PageOf {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let message = message.map(|id| id.to_string()).unwrap_or_default();
    PageOf::new("transactions", &[&kinds.join(","), &message])
}

fn read_top_up(asked: v1::TopUpRequest) -> Result<TopUp, Status> {
    let client: ClientId = read_id("client_id", &asked.client_id)?;
    if asked.idempotency_key.is_empty() {
        return Err(status::idempotency_key_required());
    }
    let mut faults = Faults::default();
    let is_key = is_idempotency_key(&asked.idempotency_key);
    faults.check("idempotency_key", is_key, "must be 1 to 128 visible ASCII characters");
    faults.check("amount_micros", asked.amount_micros > 0, "must be above 0");
    let is_currency = asked.currency.is_empty() || ledger::is_currency(&asked.currency);
    faults.check("currency", is_currency, "must be three upper-case letters (ISO 4217)");
    let is_note = asked.note.chars().count() <= NOTE_MAX && is_printable(&asked.note);
    faults.check("note", is_note, "must be at most 256 characters without control characters");
    faults.into_result()?;
    Ok(TopUp {
        client,
        amount_micros: asked.amount_micros,
        currency: asked.currency,
        idempotency_key: asked.idempotency_key,
        note: asked.note,
    })
}
