//! Prices.

use std::collections::HashSet;

use delivery::accept::gate::read_rates;
use delivery::port::RateRow;
use tonic::{Response, Status};

use crate::app::App;
use crate::auth::Principal;
use crate::grpc::convert::count;
use crate::grpc::convert::rate::{self, name, rate};
use crate::grpc::faults::Faults;
use crate::grpc::page;
use crate::grpc::trail::{self, Deed};
use crate::proto::v1;
use crate::proto_json::proto_json_list;
use crate::status;
use crate::token::{BadToken, PageOf};

/// Ends the currency in a cursor.
const SEPARATOR: char = ' ';

pub async fn list(
    app: &App,
    asked: &v1::ListRatesRequest,
) -> Result<Response<v1::ListRatesResponse>, Status> {
    let mut faults = Faults::default();
    let size = page::size(&mut faults, asked.page_size);
    let currency = &asked.currency;
    let is_currency = currency.is_empty() || ledger::is_currency(currency);
    faults.check("currency", is_currency, "must be three upper-case letters (ISO 4217)");
    faults.into_result()?;
    let (list, tokens) = (PageOf::new("rates", &[currency]), &app.tokens);
    let after = page::open(tokens, page::OPERATORS, &list, &asked.page_token)?;
    let after = after.map(String::from_utf8).transpose();
    let after = after.map_err(|_| status::page_token_invalid(BadToken))?;

    // A node has all of them in memory anyway.
    let mut rates = app.store.rates().await.map_err(status::store_error)?;
    rates.sort_unstable_by(|one, next| name(one).cmp(&name(next)));
    rates.retain(|row| currency.is_empty() || row.currency == *currency);
    if let Some(after) = after {
        let after = after.split_once(SEPARATOR).ok_or_else(|| status::page_token_invalid(BadToken))?;
        rates.retain(|row| name(row) > after);
    }
    let cursor = |last: &RateRow| format!("{}{SEPARATOR}{}", last.currency, last.prefix).into_bytes();
    let next_page_token = page::cut(tokens, page::OPERATORS, &list, &mut rates, size, cursor);
    let rates = rates.iter().map(rate).collect();
    Ok(Response::new(v1::ListRatesResponse { rates, next_page_token }))
}

pub async fn set(
    app: &App,
    operator: &Principal,
    told: Vec<v1::Rate>,
) -> Result<Response<v1::SetRatesResponse>, Status> {
    let mut asked = rate::read_rates(told)?;
    let set_count = count(asked.len());
    let before = named_by(app, &asked).await?;
    // Those that stand already are left alone, also in the trail.
    asked.retain(|row| !before.contains(row));
    let changed = HashSet::<_>::from_iter(asked.iter().map(name));
    let before = before.iter().filter(|row| changed.contains(&name(row)));
    if !asked.is_empty() {
        let deed = Deed::new("AdminService.SetRates", None)
            .change(proto_json_list(before.map(rate)), proto_json_list(asked.iter().map(rate)));
        let entry = trail::entry(app, operator, deed).await?;
        app.store.put_rates(&asked, &entry).await.map_err(status::store_error)?;
        refresh(app).await;
    }
    Ok(Response::new(v1::SetRatesResponse { set_count }))
}

pub async fn delete(
    app: &App,
    operator: &Principal,
    told: Vec<v1::Rate>,
) -> Result<Response<v1::DeleteRatesResponse>, Status> {
    let asked = rate::read_rate_names(told)?;
    let before = named_by(app, &asked).await?;
    if before.is_empty() {
        return Ok(Response::new(v1::DeleteRatesResponse { deleted_count: 0 }));
    }
    let deed = Deed::new("AdminService.DeleteRates", None)
        .change(proto_json_list(before.iter().map(rate)), String::new());
    let entry = trail::entry(app, operator, deed).await?;
    let deleted = app.store.delete_rates(&asked, &entry).await.map_err(status::store_error)?;
    refresh(app).await;
    let deleted_count = i32::try_from(deleted).unwrap_or(i32::MAX);
    Ok(Response::new(v1::DeleteRatesResponse { deleted_count }))
}

/// The rates of these currencies and prefixes, as they are now.
async fn named_by(app: &App, asked: &[RateRow]) -> Result<Vec<RateRow>, Status> {
    let names = HashSet::<_>::from_iter(asked.iter().map(name));
    let mut rates = app.store.rates().await.map_err(status::store_error)?;
    rates.retain(|row| names.contains(&name(row)));
    Ok(rates)
}

/// Puts the new rates in force here. They are committed: if they cannot be read now, they come into force when this node
/// reads them next.
async fn refresh(app: &App) {
    match read_rates(app.store.as_ref()).await {
        Ok(rates) => app.gate.set_rates(rates),
        Err(error) => tracing::warn!(error = ?error, "the rates were not read; they will be"),
    }
}
